//! The receiving role and its administration. See [`queue`](crate::queue) for how they work.

use std::time::Duration;

use async_trait::async_trait;
use statehouse_contracts::{
    AdminCapability, Broadcast, Consumer, ConsumerCapability, Counts, DeadLetter, Declared,
    Delivery, Fencing, GroupName, GroupSpec, GroupStatus, KeyBlocking, MessageId, Page, PageCursor,
    Pattern, QueueAdmin, Receive, Received, Result, Settle, Settled, Wake,
};

use crate::{
    queue::{self, consume},
    session::Session,
};

/// A handle that receives.
#[derive(Debug)]
pub(crate) struct SqliteConsumer {
    session: Session,
}

impl SqliteConsumer {
    pub(crate) fn new(session: Session) -> Self {
        Self { session }
    }
}

/// Everything, and exactly.
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
impl Consumer for SqliteConsumer {
    fn capability(&self) -> ConsumerCapability {
        let config = self.session.config();
        ConsumerCapability {
            durability: config.durability(),
            max_receive: queue::MAX_RECEIVE,
            fencing: Fencing::Server,
            ack_confirmed: true,
            settle_anywhere: true,
            min_lease: Duration::from_millis(10),
            max_lease: Duration::from_secs(7 * 24 * 3600),
            redelivery_lag: Duration::from_millis(50),
            wake: Wake::Poll(config.engine().foreign_poll),
            start_earliest: false,
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
        consume::declare(&self.session, group, spec).await
    }

    async fn receive(&self, group: &GroupName, receive: Receive) -> Result<Vec<Delivery>> {
        consume::receive(&self.session, group, receive).await
    }

    async fn settle(&self, batch: Vec<Settle>) -> Result<Vec<Result<Settled>>> {
        consume::settle(&self.session, batch).await
    }

    async fn broadcast(&self, pattern: &Pattern) -> Result<Box<dyn Broadcast>> {
        consume::broadcast(&self.session, pattern).await
    }

    async fn close(&self) -> Result<()> {
        self.session.close().await
    }
}

#[async_trait]
impl QueueAdmin for SqliteConsumer {
    async fn groups(&self) -> Result<Vec<GroupStatus>> {
        consume::groups(&self.session).await
    }

    async fn pause(&self, group: &GroupName) -> Result<()> {
        consume::set_paused(&self.session, "pause", group, true).await
    }

    async fn resume(&self, group: &GroupName) -> Result<()> {
        consume::set_paused(&self.session, "resume", group, false).await
    }

    async fn delete_group(&self, group: &GroupName) -> Result<bool> {
        consume::delete(&self.session, group).await
    }

    async fn counts(&self, group: &GroupName) -> Result<Counts> {
        consume::counts(&self.session, group).await
    }

    async fn oldest_ready_age(&self, group: &GroupName) -> Result<Option<Duration>> {
        consume::oldest_ready_age(&self.session, group).await
    }

    async fn peek(&self, group: &GroupName, max: usize) -> Result<Vec<(Received, u32)>> {
        consume::peek(&self.session, group, max).await
    }

    async fn dead_letters(
        &self,
        group: &GroupName,
        limit: usize,
        after: Option<&PageCursor>,
    ) -> Result<Page<DeadLetter>> {
        consume::dead_letters(&self.session, group, limit, after).await
    }

    async fn redrive(&self, group: &GroupName, id: Option<MessageId>) -> Result<u64> {
        consume::redrive(&self.session, group, id).await
    }

    async fn purge(&self, group: &GroupName, dead: bool) -> Result<u64> {
        consume::purge(&self.session, group, dead).await
    }
}
