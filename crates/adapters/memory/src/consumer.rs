//! The consumer: receives, settles, listens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use statehouse_contracts::{
    AdminCapability, Broadcast, Consumer, ConsumerCapability, Declared, Delivery, Durability,
    Fencing, GroupName, GroupSpec, KeyBlocking, Lease, Pattern, Receive, Result, Settle,
    SettleAction, Settled, Wake,
};

use crate::gate::{Gate, Look, look};
use crate::queue::broadcast::{Listener, Subscription};
use crate::queue::leasing::HandedOut;
use crate::queue::{MAX_BATCH, MAX_LEASE, MIN_LEASE};
use crate::store::Handle;
use crate::time::deadline;

/// A handle that receives in one namespace.
#[derive(Debug)]
pub(crate) struct MemoryConsumer {
    pub(crate) handle: Handle,
    /// Closes the subscriptions with the handle.
    subscriptions: Arc<Gate>,
}

const ADMIN: AdminCapability = AdminCapability {
    list: true,
    pause: true,
    delete: true,
    counts: true,
    counts_exact: true,
    oldest_age: true,
    peek: true,
    dead_letters: true,
    redrive: true,
    purge: true,
};

#[async_trait]
impl Consumer for MemoryConsumer {
    fn capability(&self) -> ConsumerCapability {
        ConsumerCapability {
            durability: Durability::NONE,
            max_receive: MAX_BATCH,
            fencing: Fencing::Server,
            ack_confirmed: true,
            settle_anywhere: true,
            min_lease: MIN_LEASE,
            max_lease: MAX_LEASE,
            redelivery_lag: Duration::ZERO,
            wake: Wake::Push,
            start_earliest: self.handle.store.config.message_retention > 0,
            priorities: 10,
            strict_priorities: true,
            ordering_keys: true,
            equal_priorities: true,
            keys_with_priorities: true,
            key_blocking: KeyBlocking::Key,
            nack_delay: true,
            drop_counts_no_attempt: true,
            overflow_reject: true,
            overflow_drop_oldest: true,
            expired_dead_letters: true,
            broadcast: true,
            max_retention: None,
            admin: ADMIN,
        }
    }

    async fn declare(&self, group: &GroupName, spec: &GroupSpec) -> Result<Declared> {
        self.handle
            .with_queue(|queue, now| queue.declare(group, spec, now))
    }

    async fn receive(&self, group: &GroupName, receive: Receive) -> Result<Vec<Delivery>> {
        let take = || {
            let start = Instant::now();
            self.handle.with_queue(|queue, now| {
                let handed_out = match queue.receive(group, receive.max, receive.lease, now)? {
                    Ok(handed_out) => handed_out,
                    Err(bell) => return Ok(Look::Empty(bell)),
                };
                let lease = receive.lease.or_else(|| queue.lease_of(group));
                let deadline = deadline(start, lease.unwrap_or_default());
                let delivery = |one: HandedOut| Delivery {
                    received: one.received,
                    group: group.clone(),
                    attempt: one.attempt,
                    lease: Lease {
                        token: one.token,
                        deadline,
                    },
                };
                Ok(Look::Found(handed_out.into_iter().map(delivery).collect()))
            })
        };
        Ok(look(&self.handle.gate, receive.wait, take)
            .await?
            .unwrap_or_default())
    }

    async fn settle(&self, batch: Vec<Settle>) -> Result<Vec<Result<Settled>>> {
        let start = Instant::now();
        self.handle.with_queue(|queue, now| {
            let settle = |Settle { token, action }| {
                let length = match action {
                    SettleAction::Extend { lease } => lease,
                    _ => Duration::ZERO,
                };
                let token = queue.settle(&token, action, now)?;
                let deadline = deadline(start, length);
                Ok(Settled {
                    lease: token.map(|token| Lease { token, deadline }),
                })
            };
            Ok(batch.into_iter().map(settle).collect())
        })
    }

    async fn broadcast(&self, pattern: &Pattern) -> Result<Box<dyn Broadcast>> {
        let store = &self.handle.store;
        let listener = Arc::new(Listener::new(store.config.broadcast_buffer));
        let listen = listener.clone();
        let number = self
            .handle
            .with_queue(|queue, _| Ok(queue.listen(pattern, listen)))?;
        Ok(Box::new(Subscription {
            store: store.clone(),
            space: self.handle.space.clone(),
            gate: self.subscriptions.clone(),
            pattern: pattern.clone(),
            listener,
            number,
        }))
    }

    async fn close(&self) -> Result<()> {
        self.handle.gate.close();
        self.subscriptions.close();
        Ok(())
    }
}

/// A consumer of one namespace.
pub(crate) fn consumer(handle: Handle) -> Arc<dyn Consumer> {
    let subscriptions = Arc::new(Gate::below(&handle.store.gate));
    Arc::new(MemoryConsumer {
        handle,
        subscriptions,
    })
}
