//! Sending.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use statehouse_contracts::{
    Error, Message, MessageId, Producer, ProducerCapability, Result, Scope, SendOptions, Sent,
};

use crate::cluster::Cluster;
use crate::sending;

/// The most messages of one batch.
const MAX_BATCH: usize = 1_000;

/// A handle that sends to one namespace.
#[derive(Debug)]
pub(crate) struct RocketmqProducer {
    cluster: Arc<Cluster>,
    scope: Scope,
    closed: AtomicBool,
}

impl RocketmqProducer {
    pub(crate) fn new(cluster: Arc<Cluster>, scope: Scope) -> Self {
        Self {
            cluster,
            scope,
            closed: AtomicBool::new(false),
        }
    }

    fn open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) || self.cluster.client.closing.is_cancelled() {
            return Err(Error::closed());
        }
        Ok(())
    }
}

/// What the brokers' settings let a producer do.
pub(crate) fn capability(cluster: &Cluster) -> ProducerCapability {
    let settings = &cluster.settings;
    ProducerCapability {
        durability: settings.durability(),
        max_payload: settings.max_payload(),
        max_headers: 64,
        max_header_bytes: 8 * 1024,
        max_batch: MAX_BATCH,
        dedup_window: None,
        max_delay: settings.max_delay(),
        delay_precision: settings.delay_precision(),
        cancel: settings.recalls() && settings.max_delay().is_some(),
        routed: false,
        require_route: false,
        ttl: true,
    }
}

#[async_trait]
impl Producer for RocketmqProducer {
    fn capability(&self) -> ProducerCapability {
        capability(&self.cluster)
    }

    async fn send(&self, batch: Vec<Message>, options: SendOptions) -> Result<Vec<Result<Sent>>> {
        self.open()?;
        sending::send(&self.cluster, &self.scope.namespace, batch, options).await
    }

    async fn cancel(&self, id: MessageId) -> Result<bool> {
        self.open()?;
        let namespace = &self.scope.namespace;
        self.cluster
            .scheduled
            .cancel(&self.cluster, namespace, id)
            .await
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}
