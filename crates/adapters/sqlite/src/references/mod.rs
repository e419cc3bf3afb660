//! Large content.

mod chunk;
mod count;
mod entry;
mod holder;
mod put;
mod read;
mod room;
mod used;

#[cfg(test)]
mod plans;

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_contracts::{
    Collected, Content, Holder, Page, PutContent, PutOutcome, ReferenceCapability, ReferenceId,
    ReferenceInfo, ReferenceQuery, ReferenceStats, ReferenceStore, Result, Scope,
};

use self::{entry::Entry, used::Uses};
use crate::{
    engine::Tx,
    housekeeping::{Chore, Progress},
    session::{Session, Store},
    time::{after, now},
};

/// The largest content, in bytes.
const MAX_CONTENT: usize = 64 << 20;

/// From this many bytes on, hashing and compressing leave the caller's thread.
const LARGE: u64 = 128 << 10;

/// The largest page.
const MAX_PAGE: usize = 1000;

/// The role's regular work.
pub(crate) const CHORES: &[Chore] = &[room::COLLECT, room::HOLDERS, chunk::SWEEP];

/// Whether the namespace `namespace.id` holds anything of this role, as an SQL condition.
pub(crate) const HOLDS: &str =
    "EXISTS (SELECT 1 FROM ref_content WHERE ref_content.ns = namespace.id)";

/// A handle on large content.
pub(crate) async fn open(store: &Arc<Store>, scope: &Scope) -> Result<Arc<dyn ReferenceStore>> {
    Ok(Arc::new(SqliteReferences {
        session: store.session(scope).await?,
        uses: Uses::new(),
    }))
}

/// One handle on the content of a namespace.
#[derive(Debug)]
struct SqliteReferences {
    session: Session,
    uses: Uses,
}

impl SqliteReferences {
    /// Remembers the use of cache content; that of other content decides nothing.
    fn note_use(&self, entry: &Entry) {
        if entry.info.cache {
            self.uses.add(&self.session, entry.entry);
        }
    }

    /// Drops expired holders, so that sums and choices are right.
    fn settle_holders(tx: &Tx<'_>) -> Result<(), crate::error::Failure> {
        holder::sweep(tx, i64::MAX).map(|_| ())
    }
}

#[async_trait]
impl ReferenceStore for SqliteReferences {
    fn capability(&self) -> ReferenceCapability {
        let config = self.session.config();
        ReferenceCapability {
            durability: config.durability(),
            max_content: MAX_CONTENT,
            ttl: true,
            gzip: true,
            zstd: true,
            lz4: true,
            ranges: true,
            quota: config.quota,
        }
    }

    async fn put(&self, content: PutContent) -> Result<PutOutcome> {
        put::put(self, content)
            .await
            .map_err(|error| error.with_operation("put"))
    }

    async fn retain(
        &self,
        id: &ReferenceId,
        holder: &Holder,
        expires: Option<Duration>,
    ) -> Result<()> {
        let (ns, id, holder) = (self.session.ns, *id, holder.clone());
        self.session
            .write("retain", move |tx| {
                let expires = expires.map(|span| after(tx.now(), span));
                holder::retain(tx, ns, &id, &holder, expires)
            })
            .await
    }

    async fn release(&self, id: &ReferenceId, holder: &Holder) -> Result<bool> {
        let (ns, id, holder) = (self.session.ns, *id, holder.clone());
        self.session
            .write("release", move |tx| holder::release(tx, ns, &id, &holder))
            .await
    }

    async fn resolve(&self, id: &ReferenceId) -> Result<Content> {
        let (ns, id) = (self.session.ns, *id);
        let (entry, encoded) = self
            .session
            .snapshot("resolve", move |connection| {
                read::whole(connection, ns, &id, now())
            })
            .await?;
        self.note_use(&entry);
        let bytes = put::decoded(id, encoded).await.map_err(|error| {
            error
                .with_operation("resolve")
                .with_context("reference", id)
        })?;
        Ok(Content {
            bytes,
            info: entry.info,
        })
    }

    async fn resolve_range(&self, id: &ReferenceId, range: Range<u64>) -> Result<Bytes> {
        let (ns, id) = (self.session.ns, *id);
        let (entry, window, chunks) = self
            .session
            .snapshot("resolve_range", move |connection| {
                read::range(connection, ns, &id, range, now())
            })
            .await?;
        self.note_use(&entry);
        let compression = entry.info.compression;
        let plain = (chunks.len() * statehouse_content::CHUNK_LEN) as u64;
        let bytes = put::compute(plain, move || window.decode(compression, &chunks)).await?;
        bytes.map_err(|error| {
            error
                .with_operation("resolve_range")
                .with_context("reference", id)
        })
    }

    async fn stat(&self, id: &ReferenceId) -> Result<ReferenceInfo> {
        let (ns, id) = (self.session.ns, *id);
        self.session
            .read("stat", move |connection| {
                Entry::live(connection, ns, &id, now()).map(|entry| entry.info)
            })
            .await
    }

    async fn list(&self, query: ReferenceQuery) -> Result<Page<ReferenceInfo>> {
        let ns = self.session.ns;
        self.session
            .read("list", move |connection| {
                read::list(connection, ns, &query, now())
            })
            .await
    }

    async fn stats(&self) -> Result<ReferenceStats> {
        let ns = self.session.ns;
        self.session.write("stats", Self::settle_holders).await?;
        self.session
            .snapshot("stats", move |connection| Ok(count::stats(connection, ns)?))
            .await
    }

    async fn collect_garbage(&self) -> Result<Collected> {
        let ns = self.session.ns;
        let mut collected = Collected::default();
        loop {
            let (step, progress) = self
                .session
                .write("collect_garbage", move |tx| room::collect(tx, ns))
                .await?;
            collected.entries += step.entries;
            collected.bytes += step.bytes;
            if progress == Progress::Done {
                return Ok(collected);
            }
        }
    }

    async fn touch(&self, id: &ReferenceId, ttl: Option<Duration>) -> Result<()> {
        let (ns, id) = (self.session.ns, *id);
        self.session
            .write("touch", move |tx| {
                let entry = Entry::live(tx, ns, &id, tx.now())?;
                let expires = ttl.map(|ttl| after(tx.now(), ttl));
                tx.prepare_cached(
                    "UPDATE ref_content SET expires_at = ?2, used_at = ?3 WHERE entry = ?1",
                )?
                .execute((entry.entry, expires, tx.now()))?;
                Ok(())
            })
            .await
    }

    async fn delete(&self, id: &ReferenceId) -> Result<bool> {
        let (ns, id) = (self.session.ns, *id);
        self.session
            .write("delete", move |tx| {
                let Some(entry) = Entry::find(tx, ns, &id, tx.now())? else {
                    return Ok(false);
                };
                entry.remove(tx)?;
                Ok(entry.is_live(tx.now()))
            })
            .await
    }

    async fn close(&self) -> Result<()> {
        self.uses.flush(&self.session);
        self.session.close().await
    }
}
