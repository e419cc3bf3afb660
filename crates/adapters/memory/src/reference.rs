//! The reference store: encodes and decodes without a lock, and keeps the books under one.

mod contents;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_content::{Encoded, Window, encode};
use statehouse_contracts::{
    Collected, Content, Durability, Error, Holder, Page, PutContent, PutOutcome,
    ReferenceCapability, ReferenceId, ReferenceInfo, ReferenceQuery, ReferenceStats,
    ReferenceStore, Result,
};

use crate::page::{self, MAX_SCAN};
pub(crate) use crate::reference::contents::Contents;
use crate::store::Handle;
use crate::time::Time;

/// The largest content in bytes.
const MAX_CONTENT: usize = 256 * 1024 * 1024;

/// From this many bytes on, hashing and compressing would hold up the async runtime.
const HEAVY: usize = 256 * 1024;

/// A handle on the contents of one namespace.
#[derive(Debug)]
struct MemoryReferences(Handle);

impl MemoryReferences {
    /// Runs `act` on the contents, after holders whose time has passed were let go.
    fn with<T>(&self, act: impl FnOnce(&mut Contents, Time) -> Result<T>) -> Result<T> {
        self.0.gate.check()?;
        let mut contents = self.0.space.contents.lock();
        let now = self.0.store.clock.now();
        contents.advance(now);
        act(&mut contents, now)
    }
}

/// Runs `work` where it holds up nobody, if it takes long.
async fn compute<T: Send + 'static>(
    size: usize,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if size < HEAVY {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(Error::internal("hashing or compressing was interrupted").with_source(error))
    })
}

#[async_trait]
impl ReferenceStore for MemoryReferences {
    fn capability(&self) -> ReferenceCapability {
        ReferenceCapability {
            durability: Durability::NONE,
            max_content: MAX_CONTENT,
            ttl: true,
            gzip: true,
            zstd: true,
            lz4: true,
            ranges: true,
            quota: self.0.store.config.quota,
        }
    }

    async fn put(&self, content: PutContent) -> Result<PutOutcome> {
        self.0.gate.check()?;
        let (bytes, size) = (content.bytes.clone(), content.bytes.len());
        let id = compute(size, move || Ok(ReferenceId::of(&bytes))).await?;
        if let Some(known) =
            self.with(|contents, now| Ok(contents.put_again(&id, &content, now)))?
        {
            return Ok(known);
        }
        let (bytes, compression) = (content.bytes.clone(), content.compression);
        let encoded = compute(size, move || encode(&bytes, compression)).await?;
        self.with(
            |contents, now| match contents.put_again(&id, &content, now) {
                // Somebody else was faster.
                Some(known) => Ok(known),
                None => contents.put_new(id, &content, encoded, now),
            },
        )
    }

    async fn retain(
        &self,
        id: &ReferenceId,
        holder: &Holder,
        expires: Option<Duration>,
    ) -> Result<()> {
        self.with(|contents, now| {
            contents.must_live(id, now)?;
            let until = expires.map_or(Time::NEVER, |length| now.after(length));
            contents.hold(id, holder, until);
            Ok(())
        })
    }

    async fn release(&self, id: &ReferenceId, holder: &Holder) -> Result<bool> {
        self.with(|contents, now| {
            Ok(contents.live(id, now).is_some() && contents.release(id, holder))
        })
    }

    async fn resolve(&self, id: &ReferenceId) -> Result<Content> {
        let (encoded, info) = self.read(id)?;
        let (id, size) = (*id, encoded.plain_len as usize);
        let bytes = compute(size, move || encoded.decode(&id)).await;
        let bytes = bytes.map_err(|error| error.with_context("reference", id))?;
        Ok(Content { bytes, info })
    }

    async fn resolve_range(&self, id: &ReferenceId, range: Range<u64>) -> Result<Bytes> {
        let (encoded, _) = self.read(id)?;
        let window = Window::of(encoded.plain_len, range)?;
        let size = window.plain_len();
        let decode = move || {
            let chunks = encoded.chunks.get(window.chunks()).unwrap_or_default();
            window.decode(encoded.compression, chunks)
        };
        let bytes = compute(size, decode).await;
        bytes.map_err(|error| error.with_context("reference", id))
    }

    async fn stat(&self, id: &ReferenceId) -> Result<ReferenceInfo> {
        self.with(|contents, now| Ok(contents.must_live(id, now)?.show()))
    }

    async fn list(&self, query: ReferenceQuery) -> Result<Page<ReferenceInfo>> {
        self.with(|contents, now| list(contents, &query, now))
    }

    async fn stats(&self) -> Result<ReferenceStats> {
        self.with(|contents, now| Ok(contents.stats(now)))
    }

    async fn collect_garbage(&self) -> Result<Collected> {
        self.with(|contents, now| Ok(contents.collect(now)))
    }

    async fn touch(&self, id: &ReferenceId, ttl: Option<Duration>) -> Result<()> {
        self.with(|contents, now| contents.touch(id, ttl, now))
    }

    async fn delete(&self, id: &ReferenceId) -> Result<bool> {
        self.with(|contents, now| {
            let was_live = contents.live(id, now).is_some();
            contents.remove(id);
            Ok(was_live)
        })
    }

    async fn close(&self) -> Result<()> {
        self.0.gate.close();
        Ok(())
    }
}

impl MemoryReferences {
    fn read(&self, id: &ReferenceId) -> Result<(Arc<Encoded>, ReferenceInfo)> {
        self.with(|contents, now| {
            let entry = contents.read(id, now)?;
            Ok((entry.encoded.clone(), entry.show()))
        })
    }
}

fn list(contents: &Contents, query: &ReferenceQuery, now: Time) -> Result<Page<ReferenceInfo>> {
    let after = match &query.after {
        Some(cursor) => Some(page::last("references", cursor)?.parse::<ReferenceId>()?),
        None => None,
    };
    let size = page::size(query.limit);
    let mut items = Vec::new();
    let mut last = None;
    for (scanned, id) in contents.ids_after(query.holder.as_ref(), after).enumerate() {
        if items.len() == size || scanned == MAX_SCAN {
            let next = last.map(|last: ReferenceId| page::cursor("references", &last.to_string()));
            return Ok(Page { items, next });
        }
        last = Some(id);
        let info = contents.live(&id, now).map(|entry| entry.show());
        items.extend(info.filter(|info| query.kind.is_none_or(|kind| kind == info.kind)));
    }
    Ok(Page { items, next: None })
}

impl Contents {
    fn ids_after(
        &self,
        holder: Option<&Holder>,
        after: Option<ReferenceId>,
    ) -> Box<dyn Iterator<Item = ReferenceId> + '_> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = (after.map_or(Unbounded, Excluded), Unbounded);
        match holder {
            None => Box::new(self.entries.range(from).map(|(id, _)| *id)),
            Some(holder) => {
                let held = self.by_holder.get(holder).into_iter();
                Box::new(held.flat_map(move |ids| ids.range(from)).copied())
            }
        }
    }
}

/// A reference store of one namespace.
pub(crate) fn open(handle: Handle) -> Arc<dyn ReferenceStore> {
    Arc::new(MemoryReferences(handle))
}
