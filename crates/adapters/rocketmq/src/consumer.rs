//! The consumer: receives, settles, listens, and looks after groups.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;
use statehouse_contracts::{
    AdminCapability, Broadcast, Consumer, ConsumerCapability, Counts, DeadLetter, Declared,
    Delivery, Error, Fencing, GroupName, GroupSpec, GroupStatus, KeyBlocking, MessageId, Namespace,
    Page, PageCursor, Pattern, QueueAdmin, Receive, Received, Result, Scope, Settle, Settled, Wake,
};
use tokio_util::sync::CancellationToken;

use crate::broadcast::Hub;
use crate::cluster::Cluster;
use crate::counts;
use crate::dead;
use crate::groups::Group;
use crate::peek;
use crate::pop::engine::{MAX_LEASE, MIN_LEASE, Pop, check_lease};
use crate::pop::source::MOST;

/// How many deliveries are settled side by side.
const SIDE_BY_SIDE: usize = 32;

const ADMIN: AdminCapability = AdminCapability {
    list: true,
    pause: true,
    delete: true,
    counts: true,
    counts_exact: false,
    oldest_age: true,
    peek: true,
    dead_letters: true,
    redrive: true,
    purge: false,
};

/// What the brokers' settings let a consumer do.
pub(crate) fn capability(cluster: &Cluster) -> ConsumerCapability {
    let settings = &cluster.settings;
    ConsumerCapability {
        durability: settings.durability(),
        max_receive: MOST,
        fencing: Fencing::Client,
        ack_confirmed: false,
        settle_anywhere: true,
        min_lease: MIN_LEASE,
        max_lease: MAX_LEASE,
        redelivery_lag: settings.redelivery_lag(),
        wake: Wake::Push,
        start_earliest: true,
        priorities: 10,
        strict_priorities: true,
        equal_priorities: false,
        ordering_keys: true,
        keys_with_priorities: false,
        key_blocking: KeyBlocking::Queue,
        nack_delay: true,
        drop_counts_no_attempt: false,
        overflow_reject: false,
        overflow_drop_oldest: false,
        expired_dead_letters: true,
        broadcast: true,
        max_retention: Some(settings.retention()),
        admin: ADMIN,
    }
}

/// A handle that receives in one namespace.
#[derive(Debug)]
pub(crate) struct RocketmqConsumer {
    pop: Arc<Pop>,
    hub: Arc<Hub>,
    namespace: Namespace,
    closing: CancellationToken,
}

impl RocketmqConsumer {
    pub(crate) fn new(pop: Arc<Pop>, hub: Arc<Hub>, scope: &Scope) -> Self {
        Self {
            closing: pop.cluster.client.closing.child_token(),
            pop,
            hub,
            namespace: scope.namespace.clone(),
        }
    }

    fn open(&self) -> Result<()> {
        match self.closing.is_cancelled() {
            true => Err(Error::closed()),
            false => Ok(()),
        }
    }

    /// The group as the broker keeps it.
    async fn look(&self, name: &GroupName) -> Result<Arc<Group>> {
        self.open()?;
        let group = self.pop.cluster.groups.look(&self.namespace, name).await?;
        group.ok_or_else(|| Error::not_found(format!("there is no group {name}")))
    }
}

/// # Errors
/// `InvalidArgument` for a spec that makes no sense, `Unsupported` for one that cannot be kept.
fn check_spec(spec: &GroupSpec) -> Result<()> {
    if spec.max_deliveries == 0 {
        return Err(Error::invalid(
            "max_deliveries is 0; a message needs at least 1 delivery",
        ));
    }
    match spec.max_length {
        Some(0) => Err(Error::invalid(
            "max_length is 0; a group holds at least 1 message",
        )),
        Some(_) => Err(Error::unsupported(
            "rocketmq",
            "a maximum length of a group",
        )),
        None => check_lease(spec.lease),
    }
}

fn check_receive(receive: &Receive) -> Result<()> {
    if receive.max == 0 {
        return Err(Error::invalid(
            "receive asks for 0 messages; ask for 1 or more",
        ));
    }
    if receive.max > MOST {
        return Err(Error::beyond_limit(
            "the number of messages asked for",
            receive.max as u64,
            "max_receive",
            MOST as u64,
        ));
    }
    receive.lease.map_or(Ok(()), check_lease)
}

#[async_trait]
impl Consumer for RocketmqConsumer {
    fn capability(&self) -> ConsumerCapability {
        capability(&self.pop.cluster)
    }

    async fn declare(&self, group: &GroupName, spec: &GroupSpec) -> Result<Declared> {
        self.open()?;
        check_spec(spec)?;
        self.pop
            .cluster
            .groups
            .declare(&self.namespace, group, spec)
            .await
    }

    async fn receive(&self, group: &GroupName, receive: Receive) -> Result<Vec<Delivery>> {
        self.open()?;
        check_receive(&receive)?;
        let group = self.pop.cluster.groups.find(&self.namespace, group).await?;
        self.pop.receive(&group, receive, &self.closing).await
    }

    async fn settle(&self, batch: Vec<Settle>) -> Result<Vec<Result<Settled>>> {
        self.open()?;
        let settles = batch
            .into_iter()
            .map(|settle| self.pop.settle(&self.namespace, settle));
        Ok(stream::iter(settles).buffered(SIDE_BY_SIDE).collect().await)
    }

    async fn broadcast(&self, pattern: &Pattern) -> Result<Box<dyn Broadcast>> {
        self.open()?;
        self.hub
            .listen(&self.namespace, pattern, self.closing.clone())
            .await
    }

    async fn close(&self) -> Result<()> {
        self.closing.cancel();
        Ok(())
    }
}

#[async_trait]
impl QueueAdmin for RocketmqConsumer {
    async fn groups(&self) -> Result<Vec<GroupStatus>> {
        self.open()?;
        self.pop.cluster.groups.list(&self.namespace).await
    }

    async fn pause(&self, group: &GroupName) -> Result<()> {
        let found = self.look(group).await?;
        self.pop
            .cluster
            .groups
            .set_paused(&self.namespace, group, true)
            .await?;
        self.pop.give_back(&found).await;
        Ok(())
    }

    async fn resume(&self, group: &GroupName) -> Result<()> {
        let found = self.look(group).await?;
        self.pop
            .cluster
            .groups
            .set_paused(&self.namespace, group, false)
            .await?;
        self.pop.engine(&found).poke();
        Ok(())
    }

    async fn delete_group(&self, group: &GroupName) -> Result<bool> {
        self.open()?;
        let found = self.pop.cluster.groups.look(&self.namespace, group).await?;
        let deleted = self
            .pop
            .cluster
            .groups
            .delete(&self.namespace, group)
            .await?;
        if let Some(found) = found {
            self.pop.forget(&found.native);
        }
        Ok(deleted)
    }

    async fn counts(&self, group: &GroupName) -> Result<Counts> {
        let group = self.look(group).await?;
        counts::counts(&self.pop.cluster.groups, &group).await
    }

    async fn oldest_ready_age(&self, group: &GroupName) -> Result<Option<Duration>> {
        let group = self.look(group).await?;
        let engine = self.pop.engine(&group);
        peek::oldest(&self.pop.cluster, &engine, &group).await
    }

    async fn peek(&self, group: &GroupName, max: usize) -> Result<Vec<(Received, u32)>> {
        let group = self.look(group).await?;
        let engine = self.pop.engine(&group);
        peek::peek(&self.pop.cluster, &engine, &group, max).await
    }

    async fn dead_letters(
        &self,
        group: &GroupName,
        limit: usize,
        after: Option<&PageCursor>,
    ) -> Result<Page<DeadLetter>> {
        let found = self.look(group).await?;
        // What used up its deliveries by silence is found when it would be handed out again.
        self.pop.sweep(&found).await?;
        dead::list(&self.pop.cluster.groups, &found, limit, after).await
    }

    async fn redrive(&self, group: &GroupName, id: Option<MessageId>) -> Result<u64> {
        let found = self.look(group).await?;
        let number = dead::redrive(&self.pop.cluster.groups, &found, id).await?;
        self.pop.engine(&found).given_back(Duration::ZERO);
        Ok(number)
    }
}
