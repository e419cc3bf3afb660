//! Reference store.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_contracts::{
    Collected, Compression, Content, Error, Holder, Page, PutContent, PutOutcome,
    ReferenceCapability, ReferenceId, ReferenceInfo, ReferenceQuery, ReferenceStats,
    ReferenceStore, Result,
};

use super::{Guard, limits};

impl Guard<dyn ReferenceStore> {
    fn check(&self, content: &PutContent) -> Result<()> {
        let can = self.inner.capability();
        if content.bytes.is_empty() {
            return Err(Error::invalid(
                "the content is empty; empty content is never stored",
            ));
        }
        limits::at_most(
            "size of the content",
            content.bytes.len(),
            "max_content",
            can.max_content,
        )?;
        if content.cache && content.holder.is_some() {
            return Err(Error::invalid(
                "cache content is held by nobody; leave the holder out",
            ));
        }
        self.check_ttl(content.ttl)?;
        let able = match content.compression {
            Compression::Auto | Compression::None => true,
            Compression::Gzip => can.gzip,
            Compression::Zstd => can.zstd,
            Compression::Lz4 => can.lz4,
        };
        if able {
            Ok(())
        } else {
            Err(Error::unsupported(self.backend, "this compression"))
        }
    }

    fn check_ttl(&self, ttl: Option<Duration>) -> Result<()> {
        if ttl.is_some() && !self.inner.capability().ttl {
            return Err(Error::unsupported(self.backend, "ttl"));
        }
        limits::ttl(ttl)
    }
}

#[async_trait]
impl ReferenceStore for Guard<dyn ReferenceStore> {
    fn capability(&self) -> ReferenceCapability {
        self.inner.capability()
    }

    async fn put(&self, content: PutContent) -> Result<PutOutcome> {
        self.check(&content)
            .map_err(|error| error.with_operation("put"))?;
        self.inner.put(content).await
    }

    async fn retain(
        &self,
        id: &ReferenceId,
        holder: &Holder,
        expires: Option<Duration>,
    ) -> Result<()> {
        limits::ttl(expires)?;
        self.inner.retain(id, holder, expires).await
    }

    async fn release(&self, id: &ReferenceId, holder: &Holder) -> Result<bool> {
        self.inner.release(id, holder).await
    }

    async fn resolve(&self, id: &ReferenceId) -> Result<Content> {
        self.inner.resolve(id).await
    }

    async fn resolve_range(&self, id: &ReferenceId, range: Range<u64>) -> Result<Bytes> {
        if range.start > range.end {
            return Err(Error::invalid(format!(
                "the range {}..{} ends before its start",
                range.start, range.end
            )));
        }
        self.inner.resolve_range(id, range).await
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
        self.inner.collect_garbage().await
    }

    async fn touch(&self, id: &ReferenceId, ttl: Option<Duration>) -> Result<()> {
        self.check_ttl(ttl)?;
        self.inner.touch(id, ttl).await
    }

    async fn delete(&self, id: &ReferenceId) -> Result<bool> {
        self.inner.delete(id).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
