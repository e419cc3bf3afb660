//! A messenger without a place for content.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use statehouse_contracts::{
    Bytes, Collected, Content, Durability, Error, ErrorKind, Holder, Page, PutContent, PutOutcome,
    ReferenceCapability, ReferenceId, ReferenceInfo, ReferenceQuery, ReferenceStats,
    ReferenceStore, Result,
};

/// Stores nothing, and says so.
#[derive(Debug)]
pub(super) struct Nowhere;

fn no_store<T>() -> Result<T> {
    Err(Error::new(
        ErrorKind::Unsupported,
        "there is no reference store here, so every payload travels inline",
    ))
}

#[async_trait]
impl ReferenceStore for Nowhere {
    fn capability(&self) -> ReferenceCapability {
        ReferenceCapability {
            durability: Durability::NONE,
            max_content: 0,
            ttl: false,
            gzip: false,
            zstd: false,
            lz4: false,
            ranges: false,
            quota: None,
        }
    }

    async fn put(&self, _: PutContent) -> Result<PutOutcome> {
        no_store()
    }

    async fn retain(&self, _: &ReferenceId, _: &Holder, _: Option<Duration>) -> Result<()> {
        no_store()
    }

    async fn release(&self, _: &ReferenceId, _: &Holder) -> Result<bool> {
        no_store()
    }

    async fn resolve(&self, _: &ReferenceId) -> Result<Content> {
        no_store()
    }

    async fn resolve_range(&self, _: &ReferenceId, _: Range<u64>) -> Result<Bytes> {
        no_store()
    }

    async fn stat(&self, _: &ReferenceId) -> Result<ReferenceInfo> {
        no_store()
    }

    async fn list(&self, _: ReferenceQuery) -> Result<Page<ReferenceInfo>> {
        no_store()
    }

    async fn stats(&self) -> Result<ReferenceStats> {
        no_store()
    }

    async fn collect_garbage(&self) -> Result<Collected> {
        no_store()
    }

    async fn touch(&self, _: &ReferenceId, _: Option<Duration>) -> Result<()> {
        no_store()
    }

    async fn delete(&self, _: &ReferenceId) -> Result<bool> {
        no_store()
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
