//! The sending role. See [`queue`](crate::queue) for how it works.

use std::time::Duration;

use async_trait::async_trait;
use statehouse_contracts::{
    Message, MessageId, Producer, ProducerCapability, Result, SendOptions, Sent,
};

use crate::{queue, session::Session};

/// A handle that sends.
#[derive(Debug)]
pub(crate) struct SqliteProducer {
    session: Session,
}

impl SqliteProducer {
    pub(crate) fn new(session: Session) -> Self {
        Self { session }
    }
}

#[async_trait]
impl Producer for SqliteProducer {
    fn capability(&self) -> ProducerCapability {
        let config = self.session.config();
        ProducerCapability {
            durability: config.durability(),
            max_payload: 1 << 20,
            max_headers: 64,
            max_header_bytes: 8 << 10,
            max_batch: queue::MAX_BATCH,
            dedup_window: Some(config.message_window),
            max_delay: Some(queue::MAX_DELAY),
            delay_precision: Duration::from_millis(50),
            cancel: true,
            routed: true,
            require_route: true,
            ttl: true,
        }
    }

    async fn send(&self, batch: Vec<Message>, options: SendOptions) -> Result<Vec<Result<Sent>>> {
        queue::produce::send(&self.session, batch, options).await
    }

    async fn cancel(&self, id: MessageId) -> Result<bool> {
        queue::produce::cancel(&self.session, id).await
    }

    async fn close(&self) -> Result<()> {
        self.session.close().await
    }
}
