//! Reading keys and versions.

use std::collections::HashMap;

use bytes::Bytes;
use fred::types::Key;
use statehouse_contracts::{Error, HistoryQuery, Record, Result, StateKey, Version};

use super::apply::{never, pruned, text};
use super::glance::glance;
use super::version::{Stored, damaged, tombstone_of};
use super::{DragonflyState, MAX_PAGE, MAX_PAGE_BYTES, scripts};
use crate::reply::Reply;

/// How many records one script reads.
const BATCH: usize = 500;

/// Which current records are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Live,
    /// Tombstones as well.
    All,
}

/// The live records of `keys`.
pub(super) async fn get_many(
    state: &DragonflyState,
    keys: &[StateKey],
) -> Result<Vec<Option<Record>>> {
    if let [key] = keys
        && let Some(found) = glance(state, key).await?
    {
        return Ok(vec![found]);
    }
    let mut found = Vec::with_capacity(keys.len());
    while found.len() < keys.len() {
        let rest = &keys[found.len()..];
        found.extend(current(state, "get", rest, Wanted::Live).await?);
    }
    Ok(found)
}

/// The current records of the first of `keys`, at least one: as many as one answer should hold.
pub(super) async fn current(
    state: &DragonflyState,
    operation: &'static str,
    keys: &[StateKey],
    wanted: Wanted,
) -> Result<Vec<Option<Record>>> {
    let batch = &keys[..keys.len().min(BATCH)];
    let records: Vec<Key> = batch.iter().map(|key| state.names.record_of(key)).collect();
    let wanted = match wanted {
        Wanted::Live => "live",
        Wanted::All => "all",
    };
    let arguments = vec![text(wanted), text(MAX_PAGE_BYTES)];
    let answer = state
        .session
        .script(operation, &scripts::GET, records, arguments)
        .await?;
    let found: Vec<Option<Record>> = batch
        .iter()
        .zip(Reply::from(answer).list()?)
        .map(|(key, reply)| record(key, reply))
        .collect::<Result<_>>()?;
    if found.is_empty() && !batch.is_empty() {
        return Err(damaged("no record is answered".to_owned()));
    }
    Ok(found)
}

/// Version, what it is, and its content; or nothing.
fn record(key: &StateKey, reply: Reply) -> Result<Option<Record>> {
    if reply.is_none() {
        return Ok(None);
    }
    let mut answer = reply.row()?;
    let version = answer.number()?;
    let stored = Stored::of(answer.next()?)?;
    Ok(Some(stored.record(key.clone(), version, answer.bytes()?)))
}

/// One version of a key, also a tombstone.
pub(super) async fn version(
    state: &DragonflyState,
    key: &StateKey,
    version: Version,
) -> Result<Record> {
    let keys = vec![state.names.record_of(key)];
    let arguments = vec![text(version)];
    let answer = state
        .session
        .script("read_version", &scripts::READ_VERSION, keys, arguments)
        .await?;
    let mut answer = Reply::from(answer).row()?;
    match answer.text()?.as_str() {
        "kept" => {
            let stored = Stored::of(answer.next()?)?;
            Ok(stored.record(key.clone(), version, answer.bytes()?))
        }
        "expired" => {
            let stored = Stored::of(answer.next()?)?;
            let before = stored.record(key.clone(), version - 1, Bytes::new());
            Ok(tombstone_of(before))
        }
        "pruned" => Err(pruned(key, version)),
        _ => Err(never(key, version)),
    }
    .map_err(|error: Error| error.with_operation("read_version"))
}

/// Versions that are written and kept, newest first.
pub(super) async fn history(
    state: &DragonflyState,
    key: &StateKey,
    query: HistoryQuery,
) -> Result<Vec<Record>> {
    let keys = vec![state.names.record_of(key), state.names.versions_of(key)];
    let before = query
        .before
        .map_or(String::new(), |before| before.to_string());
    let arguments = vec![
        text(before),
        text(page_size(query.limit)),
        text(if query.data { "1" } else { "" }),
        text(MAX_PAGE_BYTES),
    ];
    let answer = state
        .session
        .script("history", &scripts::HISTORY, keys, arguments)
        .await?;
    let mut answer = Reply::from(answer).row()?;
    let versions = answer.next()?.list()?;
    let contents = contents(answer.next()?)?;
    let read = |reply: Reply| {
        let mut answer = reply.row()?;
        let version = answer.number()?;
        let stored = Stored::of(answer.next()?)?;
        let data = match contents.get(&stored.base) {
            Some(content) if stored.is_live() => content.slice(..stored.size.min(content.len())),
            _ => Bytes::new(),
        };
        Ok(stored.record(key.clone(), version, data))
    };
    versions.map(read).collect()
}

/// Contents by the version where they begin.
fn contents(reply: Reply) -> Result<HashMap<String, Bytes>> {
    let read = |reply: Reply| {
        let mut answer = reply.row()?;
        Ok((answer.text()?, answer.bytes()?))
    };
    reply.list()?.map(read).collect()
}

/// The most entries of a page that was asked for with `limit`.
pub(super) fn page_size(limit: usize) -> usize {
    if limit == 0 {
        MAX_PAGE
    } else {
        limit.min(MAX_PAGE)
    }
}
