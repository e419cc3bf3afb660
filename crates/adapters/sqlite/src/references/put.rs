//! Putting content.

use std::sync::Arc;

use bytes::Bytes;
use statehouse_content::{Encoded, encode};
use statehouse_contracts::{
    Error, Holder, PutContent, PutOutcome, Reference, ReferenceId, ReferenceInfo, Result,
};

use super::{
    LARGE, MAX_CONTENT, SqliteReferences, chunk, count,
    entry::{self, Entry, compression_code, kind_code},
    holder, room,
    used::Uses,
};
use crate::{
    engine::Tx,
    error::Failure,
    session::Session,
    time::{after, timestamp},
};

/// Content to put, with its id and who holds it then.
#[derive(Clone, Debug)]
struct Prepared {
    content: PutContent,
    id: ReferenceId,
    holder: Option<Holder>,
}

fn check(content: &PutContent) -> Result<()> {
    if content.bytes.is_empty() {
        return Err(Error::invalid("the content is empty; nothing to refer to"));
    }
    if content.bytes.len() > MAX_CONTENT {
        let (got, most) = (content.bytes.len() as u64, MAX_CONTENT as u64);
        return Err(Error::beyond_limit("the content", got, "max_content", most));
    }
    if content.cache && content.holder.is_some() {
        return Err(Error::invalid(
            "cache content has no holder; leave one of the two out",
        ));
    }
    Ok(())
}

/// Runs `work` on `bytes`: here when it is short, on a thread for such work when it is long.
pub(super) async fn compute<T: Send + 'static>(
    bytes: u64,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    if bytes < LARGE {
        return Ok(work());
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal("the work on large content failed").with_source(error))
}

/// Stores content, or adds a holder to it when it is there.
pub(super) async fn put(store: &SqliteReferences, content: PutContent) -> Result<PutOutcome> {
    check(&content)?;
    let size = content.bytes.len() as u64;
    let bytes = content.bytes.clone();
    let id = compute(size, move || ReferenceId::of(&bytes)).await?;
    let holder = match (&content.holder, content.cache) {
        (None, false) => Some(Holder::random()),
        (given, _) => given.clone(),
    };
    let put = Arc::new(Prepared {
        content,
        id,
        holder,
    });
    if let Some(outcome) = share(store, &put).await? {
        return Ok(outcome);
    }
    let (bytes, compression) = (put.content.bytes.clone(), put.content.compression);
    let encoded = compute(size, move || encode(&bytes, compression)).await??;
    create(store, put, encoded).await
}

/// Holds content that is there already, without bringing the new bytes into any form.
async fn share(store: &SqliteReferences, put: &Arc<Prepared>) -> Result<Option<PutOutcome>> {
    let (ns, id) = (store.session.ns, put.id);
    let known = store
        .session
        .read("put", move |connection| {
            Ok(entry::is_known(connection, ns, &id)?)
        })
        .await?;
    if !known {
        return Ok(None);
    }
    let put = Arc::clone(put);
    store
        .session
        .write("put", move |tx| {
            match Entry::find(tx, ns, &put.id, tx.now())? {
                Some(entry) if entry.is_live(tx.now()) => join(tx, &entry, &put).map(Some),
                _ => Ok(None),
            }
        })
        .await
}

/// A further put of content that is there: its options stand, but it may live longer.
fn join(tx: &Tx<'_>, entry: &Entry, put: &Prepared) -> Result<PutOutcome, Failure> {
    if let Some(holder) = &put.holder {
        holder::hold(tx, entry, holder, None)?;
    }
    let expires = match (entry.expires_at, put.content.ttl) {
        (Some(at), Some(ttl)) => Some(at.max(after(tx.now(), ttl))),
        _ => None,
    };
    if expires != entry.expires_at {
        tx.prepare_cached("UPDATE ref_content SET expires_at = ?2 WHERE entry = ?1")?
            .execute((entry.entry, expires))?;
    }
    if entry.info.cache {
        Uses::mark(tx, entry.entry, tx.now())?;
    }
    Ok(PutOutcome {
        reference: entry.info.reference.clone(),
        holder: put.holder.clone(),
        created: false,
    })
}

/// Stores encoded content. Large content is written in several jobs, of which the last makes it
/// appear.
async fn create(
    store: &SqliteReferences,
    put: Arc<Prepared>,
    encoded: Encoded,
) -> Result<PutOutcome> {
    if let Some(quota) = store.session.config().quota {
        room::check(quota, encoded.stored_len())?;
    }
    let encoded = Arc::new(encoded);
    let written = if encoded.chunks.len() > chunk::STEP {
        Some(write_ahead(&store.session, &encoded).await?)
    } else {
        None
    };
    let (session, uses) = (store.session.clone(), store.uses.take());
    store
        .session
        .write("put", move |tx| {
            uses.write(tx)?;
            finish(tx, &session, &put, &encoded, written)
        })
        .await?
}

/// Writes the chunks of an entry that is not there yet. They need not be on disk before the
/// content is: its own commit brings them there.
async fn write_ahead(session: &Session, encoded: &Arc<Encoded>) -> Result<i64> {
    session
        .check_open()
        .map_err(|error| error.with_operation("put"))?;
    let engine = &session.store.engine;
    let begun = engine.write_relaxed(|tx| Ok(chunk::begin(tx)?)).await;
    let entry = begun.map_err(|failure: Failure| failure.of("put"))?;
    for first in (0..encoded.chunks.len()).step_by(chunk::STEP) {
        let encoded = Arc::clone(encoded);
        let step = engine.write_relaxed(move |tx| {
            let end = encoded.chunks.len().min(first + chunk::STEP);
            Ok(chunk::write(tx, entry, first, &encoded.chunks[first..end])?)
        });
        step.await.map_err(|failure: Failure| failure.of("put"))?;
    }
    Ok(entry)
}

/// Makes the content appear, unless somebody else has done so meanwhile. A put that finds no room
/// is an answer here, not a failure: what was found out about uses and holders is kept.
fn finish(
    tx: &Tx<'_>,
    session: &Session,
    put: &Prepared,
    encoded: &Encoded,
    written: Option<i64>,
) -> Result<Result<PutOutcome>, Failure> {
    let give_up = || written.map_or(Ok(()), |written| chunk::abandon(tx, written));
    let ns = session.ns;
    let old = Entry::find(tx, ns, &put.id, tx.now())?;
    if let Some(entry) = old.as_ref().filter(|entry| entry.is_live(tx.now())) {
        give_up()?;
        return join(tx, entry, put).map(Ok);
    }
    if let Some(quota) = session.config().quota {
        holder::sweep(tx, i64::MAX)?;
        match room::make(tx, ns, quota, encoded.stored_len()) {
            Err(Failure::Refused(error)) => {
                give_up()?;
                return Ok(Err(error));
            }
            made => made?,
        }
    }
    // It has expired, and may have been evicted just now.
    if let Some(old) = old
        && entry::is_known(tx, ns, &put.id)?
    {
        old.evict(tx)?;
    }
    let number = match written {
        Some(written) => {
            chunk::adopt(tx, written)?;
            written
        }
        None => {
            let number = count::next_entry(tx)?;
            chunk::write(tx, number, 0, &encoded.chunks)?;
            number
        }
    };
    let entry = entry_of(tx, ns, number, put, encoded);
    appear(tx, &entry, put.holder.as_ref())?;
    Ok(Ok(PutOutcome {
        reference: entry.info.reference,
        holder: put.holder.clone(),
        created: true,
    }))
}

fn appear(tx: &Tx<'_>, entry: &Entry, holder: Option<&Holder>) -> rusqlite::Result<()> {
    insert(tx, entry)?;
    entry.sum(tx, 1);
    match holder {
        Some(holder) => holder::hold(tx, entry, holder, None),
        None => Ok(()),
    }
}

fn entry_of(tx: &Tx<'_>, ns: i64, number: i64, put: &Prepared, encoded: &Encoded) -> Entry {
    let now = tx.now();
    let expires_at = put.content.ttl.map(|ttl| after(now, ttl));
    Entry {
        entry: number,
        ns,
        expires_at,
        holders: 0,
        used_at: now,
        info: ReferenceInfo {
            reference: Reference {
                id: put.id,
                size: encoded.plain_len,
                content_type: put.content.content_type.clone(),
            },
            kind: put.content.kind,
            compression: encoded.compression,
            stored_size: encoded.stored_len(),
            created_at: timestamp(now),
            expires_at: expires_at.map(timestamp),
            holders: 0,
            cache: put.content.cache,
        },
    }
}

fn insert(tx: &Tx<'_>, entry: &Entry) -> rusqlite::Result<()> {
    let info = &entry.info;
    let number = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
    tx.prepare_cached(
        "INSERT INTO ref_content (entry, ns, id, kind, content_type, compression, size, stored,
             created_at, expires_at, cache, used_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?9)",
    )?
    .execute((
        entry.entry,
        entry.ns,
        info.reference.id.digest(),
        kind_code(info.kind),
        info.reference.content_type.as_str(),
        compression_code(info.compression),
        number(info.reference.size),
        number(info.stored_size),
        entry.used_at,
        entry.expires_at,
        info.cache,
    ))?;
    Ok(())
}

/// The bytes of content, once they are read: decoded and verified.
pub(super) async fn decoded(id: ReferenceId, encoded: Encoded) -> Result<Bytes> {
    compute(encoded.plain_len, move || encoded.decode(&id)).await?
}
