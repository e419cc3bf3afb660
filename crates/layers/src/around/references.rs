//! Reference store.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_contracts::{
    Collected, Content, Holder, Page, PutContent, PutOutcome, ReferenceCapability, ReferenceId,
    ReferenceInfo, ReferenceQuery, ReferenceStats, ReferenceStore, Result,
};

use super::{Around, span};
use crate::{Layer, Repeat, Role};

#[async_trait]
impl<L: Layer> ReferenceStore for Around<dyn ReferenceStore, L> {
    fn capability(&self) -> ReferenceCapability {
        self.inner.capability()
    }

    async fn put(&self, content: PutContent) -> Result<PutOutcome> {
        // Without a holder, each repeat would make one.
        let repeat = Repeat::idempotent_if(content.holder.is_some() || content.cache);
        let call = self.call(Role::References, "put", span!("reference.put"), repeat);
        self.layer
            .call(&call, || self.inner.put(content.clone()))
            .await
    }

    async fn retain(
        &self,
        id: &ReferenceId,
        holder: &Holder,
        expires: Option<Duration>,
    ) -> Result<()> {
        let call = self.call(
            Role::References,
            "retain",
            span!("reference.retain"),
            Repeat::Idempotent,
        );
        self.layer
            .call(&call, || self.inner.retain(id, holder, expires))
            .await
    }

    async fn release(&self, id: &ReferenceId, holder: &Holder) -> Result<bool> {
        let call = self.call(
            Role::References,
            "release",
            span!("reference.release"),
            Repeat::Idempotent,
        );
        self.layer
            .call(&call, || self.inner.release(id, holder))
            .await
    }

    async fn resolve(&self, id: &ReferenceId) -> Result<Content> {
        let call = self.call(
            Role::References,
            "resolve",
            span!("reference.resolve"),
            Repeat::Reads,
        );
        self.layer.call(&call, || self.inner.resolve(id)).await
    }

    async fn resolve_range(&self, id: &ReferenceId, range: Range<u64>) -> Result<Bytes> {
        let call = self.call(
            Role::References,
            "resolve_range",
            span!("reference.resolve"),
            Repeat::Reads,
        );
        self.layer
            .call(&call, || self.inner.resolve_range(id, range.clone()))
            .await
    }

    async fn stat(&self, id: &ReferenceId) -> Result<ReferenceInfo> {
        let call = self.call(
            Role::References,
            "stat",
            span!("reference.stat"),
            Repeat::Reads,
        );
        self.layer.call(&call, || self.inner.stat(id)).await
    }

    async fn list(&self, query: ReferenceQuery) -> Result<Page<ReferenceInfo>> {
        let call = self.call(
            Role::References,
            "list",
            span!("reference.list"),
            Repeat::Reads,
        );
        self.layer
            .call(&call, || self.inner.list(query.clone()))
            .await
    }

    async fn stats(&self) -> Result<ReferenceStats> {
        let call = self.call(
            Role::References,
            "stats",
            span!("reference.stats"),
            Repeat::Reads,
        );
        self.layer.call(&call, || self.inner.stats()).await
    }

    async fn collect_garbage(&self) -> Result<Collected> {
        let call = self.call(
            Role::References,
            "collect_garbage",
            span!("reference.collect_garbage"),
            Repeat::Unsafe,
        );
        self.layer
            .call(&call, || self.inner.collect_garbage())
            .await
    }

    async fn touch(&self, id: &ReferenceId, ttl: Option<Duration>) -> Result<()> {
        let call = self.call(
            Role::References,
            "touch",
            span!("reference.touch"),
            Repeat::Idempotent,
        );
        self.layer.call(&call, || self.inner.touch(id, ttl)).await
    }

    async fn delete(&self, id: &ReferenceId) -> Result<bool> {
        let call = self.call(
            Role::References,
            "delete",
            span!("reference.delete"),
            Repeat::Unsafe,
        );
        self.layer.call(&call, || self.inner.delete(id)).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
