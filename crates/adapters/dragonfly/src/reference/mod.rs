//! The reference store: chunks in a hash of their own per content, entries and holders in a book.
//!
//! Large content is uploaded under a key that expires by itself, and made visible last, by a
//! script that finds all of its chunks there. What a crash leaves behind is an upload that
//! expires, or trash that the next collection frees.

mod chunk;
mod contents;
mod entry;
mod put;
mod script;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_content::{CHUNK_LEN, Encoded, Window};
use statehouse_contracts::{
    Collected, Content, Error, Holder, Page, PageCursor, PutContent, PutOutcome,
    ReferenceCapability, ReferenceId, ReferenceInfo, ReferenceQuery, ReferenceStats,
    ReferenceStore, Result,
};

use crate::keys::Keys;
use crate::reference::contents::Contents;
use crate::reply::Reply;
use crate::session::Session;
use crate::time::micros;

/// The largest content in bytes.
const MAX_CONTENT: usize = 256 * 1024 * 1024;

/// From this many bytes on, hashing and compressing would hold up the async runtime.
const HEAVY: usize = 256 * 1024;

const MAX_PAGE: usize = 1_000;

/// How many entries one page looks at before it is cut short.
const MAX_SCAN: i64 = 1_000;

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

fn absent(id: &ReferenceId) -> Error {
    Error::not_found(format!("there is no content {id}, or it has expired"))
}

/// A duration for a script; empty for none.
fn length(duration: Option<Duration>) -> fred::types::Value {
    match duration {
        Some(duration) => micros(duration).into(),
        None => fred::types::Value::from_static_str(""),
    }
}

/// A handle on the contents of one namespace.
#[derive(Debug)]
struct DragonflyReferences {
    session: Session,
    contents: Contents,
}

#[async_trait]
impl ReferenceStore for DragonflyReferences {
    fn capability(&self) -> ReferenceCapability {
        ReferenceCapability {
            durability: self.session.store.server.durability,
            max_content: MAX_CONTENT,
            ttl: true,
            gzip: true,
            zstd: true,
            lz4: true,
            ranges: true,
            quota: self.session.config().quota,
        }
    }

    async fn put(&self, content: PutContent) -> Result<PutOutcome> {
        self.session.check_open("put")?;
        put::put(&self.contents, content).await
    }

    async fn retain(
        &self,
        id: &ReferenceId,
        holder: &Holder,
        expires: Option<Duration>,
    ) -> Result<()> {
        self.session.check_open("retain")?;
        let arguments = vec![
            id.to_string().into(),
            holder.as_str().into(),
            length(expires),
        ];
        let there = self
            .contents
            .call("retain", &script::RETAIN, id, arguments)
            .await?;
        if there.number::<u8>()? == 1 {
            Ok(())
        } else {
            Err(absent(id))
        }
    }

    async fn release(&self, id: &ReferenceId, holder: &Holder) -> Result<bool> {
        self.session.check_open("release")?;
        let arguments = vec![id.to_string().into(), holder.as_str().into()];
        let held = self
            .contents
            .call("release", &script::RELEASE, id, arguments)
            .await?;
        Ok(held.number::<u8>()? == 1)
    }

    async fn resolve(&self, id: &ReferenceId) -> Result<Content> {
        self.session.check_open("resolve")?;
        let read = self
            .contents
            .read("resolve", id, 0..u64::MAX, |entry, chunks| {
                let (id, size) = (*id, entry.info.reference.size);
                let encoded = Encoded {
                    compression: entry.info.compression,
                    plain_len: size,
                    chunks,
                };
                compute(size as usize, move || encoded.decode(&id))
            });
        let (info, bytes) = read.await?;
        Ok(Content { bytes, info })
    }

    async fn resolve_range(&self, id: &ReferenceId, range: Range<u64>) -> Result<Bytes> {
        self.session.check_open("resolve_range")?;
        let chunk = CHUNK_LEN as u64;
        let wanted = range.start / chunk..range.end.div_ceil(chunk).max(range.start / chunk);
        let read = self
            .contents
            .read("resolve_range", id, wanted, |entry, chunks| {
                let (size, compression) = (entry.info.reference.size, entry.info.compression);
                let window = Window::of(size, range.clone());
                async move {
                    let window = window?;
                    let plain_len = window.plain_len();
                    compute(plain_len, move || window.decode(compression, &chunks)).await
                }
            });
        Ok(read.await?.1)
    }

    async fn stat(&self, id: &ReferenceId) -> Result<ReferenceInfo> {
        self.session.check_open("stat")?;
        let arguments = vec![id.to_string().into()];
        let found = self
            .contents
            .call("stat", &script::STAT, id, arguments)
            .await?;
        match found.single()? {
            Some(shown) => Ok(entry::entry(shown)?.info),
            None => Err(absent(id)),
        }
    }

    async fn list(&self, query: ReferenceQuery) -> Result<Page<ReferenceInfo>> {
        self.session.check_open("list")?;
        let after = query.after.as_ref().map(last_of).transpose()?;
        let limit = match query.limit {
            0 => MAX_PAGE,
            limit => limit.min(MAX_PAGE),
        };
        let arguments = vec![
            query
                .kind
                .map(entry::word)
                .transpose()?
                .unwrap_or_default()
                .into(),
            query
                .holder
                .as_ref()
                .map_or("", |holder| holder.as_str())
                .into(),
            after.map(|id| id.to_string()).unwrap_or_default().into(),
            (limit as i64).into(),
            MAX_SCAN.into(),
        ];
        let mut row = self
            .contents
            .run("list", &script::LIST, arguments)
            .await?
            .row()?;
        let next = row.optional()?.map(Reply::text).transpose()?;
        let items = row
            .next()?
            .list()?
            .map(|shown| Ok(entry::entry(shown)?.info));
        Ok(Page {
            items: items.collect::<Result<_>>()?,
            next: next.map(|last| PageCursor(format!("references.{last}"))),
        })
    }

    async fn stats(&self) -> Result<ReferenceStats> {
        self.session.check_open("stats")?;
        let mut row = self
            .contents
            .run("stats", &script::STATS, Vec::new())
            .await?
            .row()?;
        Ok(ReferenceStats {
            entries: row.number()?,
            held: row.number()?,
            stored_bytes: row.number()?,
            plain_bytes: row.number()?,
            collections: row.number()?,
            evictions: row.number()?,
        })
    }

    async fn collect_garbage(&self) -> Result<Collected> {
        self.session.check_open("collect_garbage")?;
        self.contents.collect().await
    }

    async fn touch(&self, id: &ReferenceId, ttl: Option<Duration>) -> Result<()> {
        self.session.check_open("touch")?;
        let arguments = vec![id.to_string().into(), length(ttl)];
        let there = self
            .contents
            .call("touch", &script::TOUCH, id, arguments)
            .await?;
        if there.number::<u8>()? == 1 {
            Ok(())
        } else {
            Err(absent(id))
        }
    }

    async fn delete(&self, id: &ReferenceId) -> Result<bool> {
        self.session.check_open("delete")?;
        let arguments = vec![id.to_string().into()];
        let was_there = self
            .contents
            .call("delete", &script::DELETE, id, arguments)
            .await?;
        Ok(was_there.number::<u8>()? == 1)
    }

    async fn close(&self) -> Result<()> {
        self.session.close();
        Ok(())
    }
}

/// The id of the last entry of a page.
fn last_of(cursor: &PageCursor) -> Result<ReferenceId> {
    let id = cursor.0.strip_prefix("references.").map(str::parse);
    id.and_then(Result::ok).ok_or_else(|| {
        let message = format!("{:?} is no page cursor of a list of references", cursor.0);
        Error::invalid(message)
    })
}

/// A reference store of one namespace.
pub(crate) fn open(session: Session) -> Arc<dyn ReferenceStore> {
    let contents = Contents::new(session.clone());
    Arc::new(DragonflyReferences { session, contents })
}

/// The key that exists only while a namespace has content.
pub(crate) fn witness(keys: &Keys) -> String {
    keys.one(script::BOOK_KEYS[0])
}

/// Collects garbage, unless another process has in this interval.
pub(crate) async fn look_after(session: &Session) -> Result<()> {
    Contents::new(session.clone()).look_after().await
}
