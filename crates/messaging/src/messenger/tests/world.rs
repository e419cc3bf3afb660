//! A backend in memory that a test can crash: from a chosen operation on, nothing answers.

use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use statehouse_contracts::{
    Broadcast, Collected, ConsumerCapability, Content, Counts, DeadLetter, Declared, Endpoint,
    Error, Factory, GroupSpec, GroupStatus, Holder, Page, PageCursor, Pattern, ProducerCapability,
    PutContent, PutOutcome, QueueAdmin, Received, ReferenceCapability, ReferenceId, ReferenceInfo,
    ReferenceQuery, ReferenceStats, Settled,
};

use super::*;

/// How many more operations are done.
#[derive(Debug, Default)]
pub(super) struct Fuse(AtomicI64);

impl Fuse {
    /// Lets `operations` more through.
    pub(super) fn set(&self, operations: i64) {
        self.0.store(operations, Ordering::SeqCst);
    }

    /// Whether it has blown.
    pub(super) fn blown(&self) -> bool {
        self.0.load(Ordering::SeqCst) < 0
    }

    fn burn(&self) -> Result<()> {
        if self.0.fetch_sub(1, Ordering::SeqCst) <= 0 {
            self.set(-1);
            return Err(Error::new(ErrorKind::Unavailable, "crashed").with_ambiguous(true));
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) producer: Arc<dyn Producer>,
    pub(super) consumer: Arc<dyn Consumer>,
    pub(super) references: Arc<dyn ReferenceStore>,
    pub(super) fuse: Arc<Fuse>,
}

impl World {
    pub(super) async fn new() -> Self {
        let endpoint = Endpoint::parse("memory:").unwrap();
        let backend = statehouse_memory::Memory.open(&endpoint).await.unwrap();
        let backend = statehouse_layers::guard(backend);
        let scope = Scope::parse("default", "tester").unwrap();
        Self {
            producer: backend.producer(&scope).await.unwrap(),
            consumer: backend.consumer(&scope).await.unwrap(),
            references: backend.references(&scope).await.unwrap(),
            fuse: Arc::default(),
        }
    }

    /// A messenger that works, and sweeps at once.
    pub(super) fn messenger(&self) -> Messenger {
        Messenger::new(
            Arc::clone(&self.producer),
            Arc::clone(&self.consumer),
            Arc::clone(&self.references),
            Arc::default(),
            at_once(),
        )
    }

    /// A messenger whose process crashes when the fuse blows.
    pub(super) fn fused(&self) -> Messenger {
        let fuse = || Arc::clone(&self.fuse);
        Messenger::new(
            Arc::new(Fused(Arc::clone(&self.producer), fuse())),
            Arc::new(Fused(Arc::clone(&self.consumer), fuse())),
            Arc::new(Fused(Arc::clone(&self.references), fuse())),
            Arc::default(),
            at_once(),
        )
    }
}

fn at_once() -> MessengerOptions {
    MessengerOptions {
        grace: Duration::ZERO,
        margin: Duration::ZERO,
    }
}

#[derive(Debug)]
struct Fused<T>(T, Arc<Fuse>);

#[async_trait]
impl Producer for Fused<Arc<dyn Producer>> {
    fn capability(&self) -> ProducerCapability {
        self.0.capability()
    }
    async fn send(&self, batch: Vec<Message>, options: SendOptions) -> Result<Vec<Result<Sent>>> {
        self.1.burn()?;
        self.0.send(batch, options).await
    }
    async fn cancel(&self, id: MessageId) -> Result<bool> {
        self.0.cancel(id).await
    }
    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}

#[async_trait]
impl QueueAdmin for Fused<Arc<dyn Consumer>> {
    async fn groups(&self) -> Result<Vec<GroupStatus>> {
        self.1.burn()?;
        self.0.groups().await
    }
    async fn counts(&self, group: &GroupName) -> Result<Counts> {
        self.1.burn()?;
        self.0.counts(group).await
    }
    async fn oldest_ready_age(&self, group: &GroupName) -> Result<Option<Duration>> {
        self.1.burn()?;
        self.0.oldest_ready_age(group).await
    }
    async fn peek(&self, group: &GroupName, max: usize) -> Result<Vec<(Received, u32)>> {
        self.0.peek(group, max).await
    }
    async fn dead_letters(
        &self,
        group: &GroupName,
        limit: usize,
        after: Option<&PageCursor>,
    ) -> Result<Page<DeadLetter>> {
        self.1.burn()?;
        self.0.dead_letters(group, limit, after).await
    }
    async fn redrive(&self, group: &GroupName, id: Option<MessageId>) -> Result<u64> {
        self.1.burn()?;
        self.0.redrive(group, id).await
    }
    async fn purge(&self, group: &GroupName, dead: bool) -> Result<u64> {
        self.1.burn()?;
        self.0.purge(group, dead).await
    }
}

#[async_trait]
impl Consumer for Fused<Arc<dyn Consumer>> {
    fn capability(&self) -> ConsumerCapability {
        self.0.capability()
    }
    async fn declare(&self, group: &GroupName, spec: &GroupSpec) -> Result<Declared> {
        self.0.declare(group, spec).await
    }
    async fn receive(&self, group: &GroupName, receive: Receive) -> Result<Vec<Delivery>> {
        self.1.burn()?;
        self.0.receive(group, receive).await
    }
    async fn settle(&self, batch: Vec<Settle>) -> Result<Vec<Result<Settled>>> {
        self.1.burn()?;
        self.0.settle(batch).await
    }
    async fn broadcast(&self, pattern: &Pattern) -> Result<Box<dyn Broadcast>> {
        self.0.broadcast(pattern).await
    }
    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}

#[async_trait]
impl ReferenceStore for Fused<Arc<dyn ReferenceStore>> {
    fn capability(&self) -> ReferenceCapability {
        self.0.capability()
    }
    async fn put(&self, content: PutContent) -> Result<PutOutcome> {
        self.1.burn()?;
        self.0.put(content).await
    }
    async fn retain(
        &self,
        id: &ReferenceId,
        holder: &Holder,
        expires: Option<Duration>,
    ) -> Result<()> {
        self.1.burn()?;
        self.0.retain(id, holder, expires).await
    }
    async fn release(&self, id: &ReferenceId, holder: &Holder) -> Result<bool> {
        self.1.burn()?;
        self.0.release(id, holder).await
    }
    async fn resolve(&self, id: &ReferenceId) -> Result<Content> {
        self.1.burn()?;
        self.0.resolve(id).await
    }
    async fn resolve_range(&self, id: &ReferenceId, range: Range<u64>) -> Result<Bytes> {
        self.0.resolve_range(id, range).await
    }
    async fn stat(&self, id: &ReferenceId) -> Result<ReferenceInfo> {
        self.0.stat(id).await
    }
    async fn list(&self, query: ReferenceQuery) -> Result<Page<ReferenceInfo>> {
        self.1.burn()?;
        self.0.list(query).await
    }
    async fn stats(&self) -> Result<ReferenceStats> {
        self.0.stats().await
    }
    async fn collect_garbage(&self) -> Result<Collected> {
        self.0.collect_garbage().await
    }
    async fn touch(&self, id: &ReferenceId, ttl: Option<Duration>) -> Result<()> {
        self.0.touch(id, ttl).await
    }
    async fn delete(&self, id: &ReferenceId) -> Result<bool> {
        self.0.delete(id).await
    }
    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}
