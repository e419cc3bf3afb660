//! The sending role. See [`queue`](crate::queue) for how it works.

use std::time::Duration;

use async_trait::async_trait;
use statehouse_contracts::{
    Message, MessageId, Producer, ProducerCapability, Result, SendOptions, Sent,
};

use crate::queue::{self, Desk};
use crate::session::Session;

/// A handle that sends.
#[derive(Debug)]
pub(crate) struct DragonflyProducer {
    desk: Desk,
}

impl DragonflyProducer {
    pub(crate) fn new(session: Session) -> Self {
        Self {
            desk: Desk::new(session),
        }
    }
}

#[async_trait]
impl Producer for DragonflyProducer {
    fn capability(&self) -> ProducerCapability {
        let store = &self.desk.session().store;
        ProducerCapability {
            durability: store.server.durability,
            max_payload: 1 << 20,
            max_headers: 64,
            max_header_bytes: 8 << 10,
            max_batch: queue::MAX_BATCH,
            dedup_window: Some(store.config.message_window),
            max_delay: Some(queue::MAX_DELAY),
            delay_precision: Duration::from_millis(50),
            cancel: true,
            routed: true,
            require_route: true,
            ttl: true,
        }
    }

    async fn send(&self, batch: Vec<Message>, options: SendOptions) -> Result<Vec<Result<Sent>>> {
        queue::produce::send(&self.desk, batch, options).await
    }

    async fn cancel(&self, id: MessageId) -> Result<bool> {
        queue::produce::cancel(&self.desk, id).await
    }

    async fn close(&self) -> Result<()> {
        self.desk.session().close();
        Ok(())
    }
}
