//! The receiving role and its administration. See [`queue`](crate::queue) for how they work.

use std::time::Duration;

use async_trait::async_trait;
use statehouse_contracts::{
    AdminCapability, Broadcast, Consumer, ConsumerCapability, Counts, DeadLetter, Declared,
    Delivery, Fencing, GroupName, GroupSpec, GroupStatus, KeyBlocking, MessageId, Page, PageCursor,
    Pattern, QueueAdmin, Receive, Received, Result, Settle, Settled, Wake,
};

use crate::queue::{self, Desk};
use crate::session::Session;

/// A handle that receives.
#[derive(Debug)]
pub(crate) struct DragonflyConsumer {
    desk: Desk,
}

impl DragonflyConsumer {
    pub(crate) fn new(session: Session) -> Self {
        Self {
            desk: Desk::new(session),
        }
    }

    fn open(&self, operation: &'static str) -> Result<&Desk> {
        self.desk.session().check_open(operation)?;
        Ok(&self.desk)
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
impl Consumer for DragonflyConsumer {
    fn capability(&self) -> ConsumerCapability {
        let durability = self.desk.session().store.server.durability;
        ConsumerCapability {
            durability,
            max_receive: queue::MAX_RECEIVE,
            fencing: Fencing::Server,
            // What a crash takes back was never acknowledged as far as the server knows.
            ack_confirmed: durability.process_kill,
            settle_anywhere: true,
            min_lease: Duration::from_millis(10),
            max_lease: Duration::from_secs(7 * 24 * 3600),
            redelivery_lag: Duration::from_millis(50),
            wake: Wake::Push,
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
        queue::declare(self.open("declare")?, group, spec).await
    }

    async fn receive(&self, group: &GroupName, receive: Receive) -> Result<Vec<Delivery>> {
        queue::receive::receive(&self.desk, group, receive).await
    }

    async fn settle(&self, batch: Vec<Settle>) -> Result<Vec<Result<Settled>>> {
        queue::settle::settle(&self.desk, batch).await
    }

    async fn broadcast(&self, pattern: &Pattern) -> Result<Box<dyn Broadcast>> {
        queue::listen(&self.desk, pattern).await
    }

    async fn close(&self) -> Result<()> {
        self.desk.session().close();
        Ok(())
    }
}

#[async_trait]
impl QueueAdmin for DragonflyConsumer {
    async fn groups(&self) -> Result<Vec<GroupStatus>> {
        queue::groups(self.open("groups")?).await
    }

    async fn pause(&self, group: &GroupName) -> Result<()> {
        queue::set_paused(&self.desk, "pause", group, true).await
    }

    async fn resume(&self, group: &GroupName) -> Result<()> {
        queue::set_paused(&self.desk, "resume", group, false).await
    }

    async fn delete_group(&self, group: &GroupName) -> Result<bool> {
        queue::delete(self.open("delete_group")?, group).await
    }

    async fn counts(&self, group: &GroupName) -> Result<Counts> {
        queue::counts(&self.desk, group).await
    }

    async fn oldest_ready_age(&self, group: &GroupName) -> Result<Option<Duration>> {
        queue::oldest_ready_age(&self.desk, group).await
    }

    async fn peek(&self, group: &GroupName, max: usize) -> Result<Vec<(Received, u32)>> {
        queue::peek(&self.desk, group, max).await
    }

    async fn dead_letters(
        &self,
        group: &GroupName,
        limit: usize,
        after: Option<&PageCursor>,
    ) -> Result<Page<DeadLetter>> {
        queue::dead_letters(&self.desk, group, limit, after).await
    }

    async fn redrive(&self, group: &GroupName, id: Option<MessageId>) -> Result<u64> {
        queue::redrive(&self.desk, group, id).await
    }

    async fn purge(&self, group: &GroupName, dead: bool) -> Result<u64> {
        queue::purge(&self.desk, group, dead).await
    }
}
