//! Producer and consumer.

use std::time::Duration;

use async_trait::async_trait;
use statehouse_contracts::{
    Broadcast, Consumer, ConsumerCapability, Counts, DeadLetter, Declared, Delivery, GroupName,
    GroupSpec, GroupStatus, Message, MessageId, Page, PageCursor, Pattern, Producer,
    ProducerCapability, QueueAdmin, Receive, Received, Result, SendOptions, Sent, Settle, Settled,
};

use super::{Around, span};
use crate::{Layer, Repeat, Role};

#[async_trait]
impl<L: Layer> Producer for Around<dyn Producer, L> {
    fn capability(&self) -> ProducerCapability {
        self.inner.capability()
    }

    async fn send(&self, batch: Vec<Message>, options: SendOptions) -> Result<Vec<Result<Sent>>> {
        let repeat = Repeat::idempotent_if(self.inner.capability().dedup_window.is_some());
        let call = self
            .call(Role::Producer, "send", span!("queue.enqueue"), repeat)
            .waiting(options.admission)
            .carrying(batch.len());
        self.layer
            .batch(&call, batch, |batch| self.inner.send(batch, options))
            .await
    }

    async fn cancel(&self, id: MessageId) -> Result<bool> {
        let call = self.call(
            Role::Producer,
            "cancel",
            span!("queue.cancel"),
            Repeat::Unsafe,
        );
        self.layer.call(&call, || self.inner.cancel(id)).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

#[async_trait]
impl<L: Layer> Consumer for Around<dyn Consumer, L> {
    fn capability(&self) -> ConsumerCapability {
        self.inner.capability()
    }

    async fn declare(&self, group: &GroupName, spec: &GroupSpec) -> Result<Declared> {
        let call = self.call(
            Role::Consumer,
            "declare",
            span!("queue.declare"),
            Repeat::Idempotent,
        );
        self.layer
            .call(&call, || self.inner.declare(group, spec))
            .await
    }

    async fn receive(&self, group: &GroupName, receive: Receive) -> Result<Vec<Delivery>> {
        // What an unclear receive took comes back when its lease ends.
        let call = self
            .call(
                Role::Consumer,
                "receive",
                span!("queue.dequeue"),
                Repeat::Idempotent,
            )
            .waiting(receive.wait)
            .carrying(receive.max);
        self.layer
            .call(&call, || self.inner.receive(group, receive))
            .await
    }

    async fn settle(&self, batch: Vec<Settle>) -> Result<Vec<Result<Settled>>> {
        let call = self
            .call(
                Role::Consumer,
                "settle",
                span!("queue.ack"),
                Repeat::Idempotent,
            )
            .carrying(batch.len());
        self.layer
            .batch(&call, batch, |batch| self.inner.settle(batch))
            .await
    }

    async fn broadcast(&self, pattern: &Pattern) -> Result<Box<dyn Broadcast>> {
        let call = self.call(
            Role::Consumer,
            "broadcast",
            span!("bus.subscribe"),
            Repeat::Reads,
        );
        self.layer
            .call(&call, || self.inner.broadcast(pattern))
            .await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

#[async_trait]
impl<L: Layer> QueueAdmin for Around<dyn Consumer, L> {
    async fn groups(&self) -> Result<Vec<GroupStatus>> {
        let call = self.call(
            Role::Consumer,
            "groups",
            span!("queue.groups"),
            Repeat::Reads,
        );
        self.layer.call(&call, || self.inner.groups()).await
    }

    async fn pause(&self, group: &GroupName) -> Result<()> {
        let call = self.call(
            Role::Consumer,
            "pause",
            span!("queue.pause"),
            Repeat::Idempotent,
        );
        self.layer.call(&call, || self.inner.pause(group)).await
    }

    async fn resume(&self, group: &GroupName) -> Result<()> {
        let call = self.call(
            Role::Consumer,
            "resume",
            span!("queue.resume"),
            Repeat::Idempotent,
        );
        self.layer.call(&call, || self.inner.resume(group)).await
    }

    async fn delete_group(&self, group: &GroupName) -> Result<bool> {
        let call = self.call(
            Role::Consumer,
            "delete_group",
            span!("queue.delete"),
            Repeat::Unsafe,
        );
        self.layer
            .call(&call, || self.inner.delete_group(group))
            .await
    }

    async fn counts(&self, group: &GroupName) -> Result<Counts> {
        let call = self.call(
            Role::Consumer,
            "counts",
            span!("queue.counts"),
            Repeat::Reads,
        );
        self.layer.call(&call, || self.inner.counts(group)).await
    }

    async fn oldest_ready_age(&self, group: &GroupName) -> Result<Option<Duration>> {
        let call = self.call(
            Role::Consumer,
            "oldest_ready_age",
            span!("queue.oldest"),
            Repeat::Reads,
        );
        self.layer
            .call(&call, || self.inner.oldest_ready_age(group))
            .await
    }

    async fn peek(&self, group: &GroupName, max: usize) -> Result<Vec<(Received, u32)>> {
        let call = self.call(Role::Consumer, "peek", span!("queue.peek"), Repeat::Reads);
        self.layer.call(&call, || self.inner.peek(group, max)).await
    }

    async fn dead_letters(
        &self,
        group: &GroupName,
        limit: usize,
        after: Option<&PageCursor>,
    ) -> Result<Page<DeadLetter>> {
        let call = self.call(
            Role::Consumer,
            "dead_letters",
            span!("queue.dead_letters"),
            Repeat::Reads,
        );
        self.layer
            .call(&call, || self.inner.dead_letters(group, limit, after))
            .await
    }

    async fn redrive(&self, group: &GroupName, id: Option<MessageId>) -> Result<u64> {
        let call = self.call(
            Role::Consumer,
            "redrive",
            span!("queue.requeue"),
            Repeat::Unsafe,
        );
        self.layer
            .call(&call, || self.inner.redrive(group, id))
            .await
    }

    async fn purge(&self, group: &GroupName, dead: bool) -> Result<u64> {
        let call = self.call(
            Role::Consumer,
            "purge",
            span!("queue.purge"),
            Repeat::Unsafe,
        );
        self.layer
            .call(&call, || self.inner.purge(group, dead))
            .await
    }
}
