//! The latest version of a key, as the rollback store keeps it until the next one comes.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use statehouse_contracts::{
    ContentType, Error, ErrorKind, Id, Kind, Precondition, Principal, Record, Result, StateKey,
    StateManager, StateManagerExt, Timestamp, Tombstone, Transaction, Version, Write,
};

/// The kind under which the latest versions wait; the id is `kind/id` of the key, hashed when that
/// is too long.
pub(super) const KIND: &str = "statehouse.next";

/// What a record is but for its data. It is stored as one line of JSON, then the data.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    key: StateKey,
    version: Version,
    content_type: ContentType,
    schema: Option<String>,
    created_at: Timestamp,
    created_by: Principal,
    updated_at: Timestamp,
    updated_by: Principal,
    expires_at: Option<Timestamp>,
    tombstone: Option<Tombstone>,
}

fn place(key: &StateKey) -> Result<StateKey> {
    let whole = key.to_string();
    let id = Id::new(&whole).or_else(|_| Id::new(statehouse_contracts::escape_word(&whole)))?;
    Ok(StateKey::new(Kind::new(KIND)?, id))
}

/// The latest version of `key` that the store was told of, and what must hold for it to be
/// replaced: that no other feed did so meanwhile.
pub(super) async fn read(
    store: &dyn StateManager,
    key: &StateKey,
) -> Result<(Option<Record>, Precondition)> {
    match store.get(&place(key)?).await? {
        Some(stored) => {
            let unchanged = Precondition::Version(stored.version);
            Ok((Some(decode(&stored.data)?), unchanged))
        }
        None => Ok((None, Precondition::Absent)),
    }
}

/// The write that makes `record` the latest version that the store was told of.
pub(super) fn write(record: &Record, unchanged: Precondition) -> Result<Transaction> {
    let put = Write::put(place(&record.key)?, encode(record)?, ContentType::BYTES);
    Ok(Transaction::of(put.when(unchanged)))
}

fn encode(record: &Record) -> Result<Bytes> {
    let record = record.clone();
    let head = Head {
        key: record.key,
        version: record.version,
        content_type: record.content_type,
        schema: record.schema,
        created_at: record.created_at,
        created_by: record.created_by,
        updated_at: record.updated_at,
        updated_by: record.updated_by,
        expires_at: record.expires_at,
        tombstone: record.tombstone,
    };
    let mut line = serde_json::to_vec(&head)
        .map_err(|error| Error::internal("a record's head cannot be written").with_source(error))?;
    line.push(b'\n');
    line.extend_from_slice(&record.data);
    Ok(line.into())
}

fn decode(stored: &Bytes) -> Result<Record> {
    let broken = || {
        Error::new(
            ErrorKind::Corrupted,
            format!("a record of kind {KIND} cannot be read"),
        )
    };
    let end = stored
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(broken)?;
    let head: Head =
        serde_json::from_slice(&stored[..end]).map_err(|error| broken().with_source(error))?;
    Ok(Record {
        key: head.key,
        version: head.version,
        data: stored.slice(end + 1..),
        content_type: head.content_type,
        schema: head.schema,
        created_at: head.created_at,
        created_by: head.created_by,
        updated_at: head.updated_at,
        updated_by: head.updated_by,
        expires_at: head.expires_at,
        tombstone: head.tombstone,
    })
}
