//! A reference store with faults.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use statehouse_contracts::{
    Bytes, Collected, Content, Holder, Page, PutContent, PutOutcome, ReferenceCapability,
    ReferenceId, ReferenceInfo, ReferenceQuery, ReferenceStats, ReferenceStore, Result,
};

use crate::Broken;
use crate::faults::Fault;

#[async_trait]
impl ReferenceStore for Broken<dyn ReferenceStore> {
    fn capability(&self) -> ReferenceCapability {
        self.inner.capability()
    }

    async fn put(&self, mut content: PutContent) -> Result<PutOutcome> {
        if self.is(Fault::CountsRepeatedHolders) {
            content.holder = Some(Holder::random());
        }
        self.inner.put(content).await
    }

    async fn retain(
        &self,
        id: &ReferenceId,
        holder: &Holder,
        expires: Option<Duration>,
    ) -> Result<()> {
        self.inner.retain(id, holder, expires).await
    }

    async fn release(&self, id: &ReferenceId, holder: &Holder) -> Result<bool> {
        if self.is(Fault::IgnoresReleases) {
            return Ok(true);
        }
        self.inner.release(id, holder).await
    }

    async fn resolve(&self, id: &ReferenceId) -> Result<Content> {
        self.inner.resolve(id).await
    }

    async fn resolve_range(&self, id: &ReferenceId, range: Range<u64>) -> Result<Bytes> {
        let by = u64::from(self.is(Fault::ShiftsRanges) && range.start > 0);
        self.inner
            .resolve_range(id, range.start - by..range.end - by)
            .await
    }

    async fn stat(&self, id: &ReferenceId) -> Result<ReferenceInfo> {
        self.inner.stat(id).await
    }

    async fn list(&self, query: ReferenceQuery) -> Result<Page<ReferenceInfo>> {
        self.inner.list(query).await
    }

    async fn stats(&self) -> Result<ReferenceStats> {
        self.inner.stats().await
    }

    async fn collect_garbage(&self) -> Result<Collected> {
        let mut collected = self.inner.collect_garbage().await?;
        if self.is(Fault::CollectsHeldContent) {
            for info in self.inner.list(ReferenceQuery::default()).await?.items {
                self.inner.delete(&info.reference.id).await?;
                collected.entries += 1;
            }
        }
        Ok(collected)
    }

    async fn touch(&self, id: &ReferenceId, ttl: Option<Duration>) -> Result<()> {
        self.inner.touch(id, ttl).await
    }

    async fn delete(&self, id: &ReferenceId) -> Result<bool> {
        self.inner.delete(id).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
