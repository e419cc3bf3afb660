//! Reading keys and versions.

use bytes::Bytes;
use rusqlite::Connection;
use statehouse_contracts::{
    ContentType, Error, ErrorKind, HistoryQuery, Record, StateKey, Tombstone,
};

use super::{
    MAX_PAGE, MAX_PAGE_BYTES,
    current::Current,
    row::{self, COLUMNS, Stored},
};
use crate::error::Failure;

/// The live records of `keys`.
pub(crate) fn get_many(
    connection: &Connection,
    ns: i64,
    keys: &[StateKey],
    now: i64,
) -> Result<Vec<Option<Record>>, Failure> {
    keys.iter()
        .map(|key| get(connection, ns, key, now))
        .collect()
}

fn get(
    connection: &Connection,
    ns: i64,
    key: &StateKey,
    now: i64,
) -> Result<Option<Record>, Failure> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS}, v.data FROM state_key k JOIN state_version v ON v.pos = k.pos
         WHERE k.ns = ?1 AND k.kind = ?2 AND k.id = ?3 AND k.life < 3
             AND v.tombstone = 0 AND (k.expires_at IS NULL OR k.expires_at > ?4)"
    ))?;
    let mut rows = select.query((ns, key.kind.as_str(), key.id.as_str(), now))?;
    let Some(found) = rows.next()? else {
        return Ok(None);
    };
    let stored = Stored::of(found)?;
    // `rows` is still open here, so that what an appended record reads besides is of the same state.
    let whole = stored.whole(connection)?;
    drop(rows);
    Ok(Some(whole))
}

/// The record of one version, also of a tombstone.
pub(crate) fn version(
    connection: &Connection,
    key: &StateKey,
    current: Option<&Current>,
    version: i64,
    now: i64,
) -> Result<Record, Failure> {
    let Some(current) =
        current.filter(|current| (current.first..=current.version_now(now)).contains(&version))
    else {
        let message = format!("{key} never had a version {version}");
        return Err(Error::not_found(message).into());
    };
    if version > current.version {
        return expired(connection, current);
    }
    match stored(connection, current.key, version)? {
        Some(stored) => stored.whole(connection),
        None => {
            let message = format!("version {version} of {key} was pruned");
            Err(Error::new(ErrorKind::Pruned, message).into())
        }
    }
}

/// The tombstone of a key that has expired and whose tombstone is not written yet.
fn expired(connection: &Connection, current: &Current) -> Result<Record, Failure> {
    let stored = stored(connection, current.key, current.version)?;
    let stored = stored.ok_or_else(|| row::damaged("a current version is missing".to_owned()))?;
    Ok(tombstone_of(stored.record))
}

/// What a record becomes when it expires.
pub(crate) fn tombstone_of(record: Record) -> Record {
    Record {
        version: record.version + 1,
        data: Bytes::new(),
        content_type: ContentType::BYTES,
        schema: None,
        updated_at: record.expires_at.unwrap_or(record.updated_at),
        expires_at: None,
        tombstone: Some(Tombstone::Expired),
        ..record
    }
}

fn stored(connection: &Connection, key: i64, version: i64) -> Result<Option<Stored>, Failure> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS}, v.data FROM state_version v JOIN state_key k ON k.key = v.key
         WHERE v.key = ?1 AND v.version = ?2 AND v.pruned = 0"
    ))?;
    let mut rows = select.query((key, version))?;
    rows.next()?.map(Stored::of).transpose()
}

/// Versions that are written and kept, newest first.
pub(crate) fn history(
    connection: &Connection,
    ns: i64,
    key: &StateKey,
    query: HistoryQuery,
) -> Result<Vec<Record>, Failure> {
    let Some(current) = Current::find(connection, ns, key)? else {
        return Ok(Vec::new());
    };
    let newest = query
        .before
        .map_or(i64::MAX, |before| row::number(before).saturating_sub(1));
    let data = if query.data { "v.data" } else { "NULL" };
    let limit = page_size(query.limit);
    let mut records = Vec::new();
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS}, {data} FROM state_version v JOIN state_key k ON k.key = v.key
         WHERE v.key = ?1 AND v.version <= ?2 AND v.pruned = 0
         ORDER BY v.version DESC"
    ))?;
    let mut rows = select.query((current.key, newest))?;
    let mut chain = Chain::default();
    let mut room = MAX_PAGE_BYTES;
    while records.len() < limit
        && room > 0
        && let Some(found) = rows.next()?
    {
        let mut stored = Stored::of(found)?;
        if query.data {
            stored.record.data = chain.content(connection, &stored)?;
            room = room.saturating_sub(stored.record.data.len());
        }
        records.push(stored.record);
    }
    Ok(records)
}

/// The content of versions that are built on one another, newest first: each is the beginning of
/// the one before, so that one buffer serves them all.
#[derive(Debug, Default)]
struct Chain {
    base: i64,
    whole: Bytes,
}

impl Chain {
    fn content(&mut self, connection: &Connection, stored: &Stored) -> Result<Bytes, Failure> {
        if stored.record.tombstone.is_some() {
            return Ok(Bytes::new());
        }
        let size = usize::try_from(stored.size).unwrap_or_default();
        if self.base != stored.base || self.whole.len() < size {
            let until = row::number(stored.record.version);
            self.whole = row::content(connection, stored.key, stored.base, until, stored.size)?;
            self.base = stored.base;
        }
        Ok(self.whole.slice(..size))
    }
}

/// The most entries of a page that was asked for with `limit`.
pub(crate) fn page_size(limit: usize) -> usize {
    if limit == 0 {
        MAX_PAGE
    } else {
        limit.min(MAX_PAGE)
    }
}
