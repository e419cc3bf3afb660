//! Taking over records of another store.

use std::collections::HashSet;

use fred::types::Value;
use statehouse_contracts::{Error, Record, Result, Timestamp, Tombstone};

use super::apply::text;
use super::{DragonflyState, scripts};
use crate::reply::Reply;

/// Imports what is newer than what is here, as one commit.
pub(super) async fn import(state: &DragonflyState, records: Vec<Record>) -> Result<Vec<bool>> {
    check(&records)?;
    let names = &state.names;
    let mut keys = names.commit();
    let mut arguments = vec![text(state.session.principal.as_str())];
    for record in &records {
        keys.extend([
            names.record_of(&record.key),
            names.versions_of(&record.key),
            names.index_of(&record.key.kind),
        ]);
    }
    for record in records {
        arguments.extend(of_record(record));
    }
    let answer = state
        .session
        .script("import", &scripts::IMPORT, keys, arguments)
        .await?;
    let written = Reply::from(answer).list()?;
    Ok(written.map(|reply| reply.is("1")).collect())
}

/// # Errors
/// `InvalidArgument` for version 0 or one key twice.
fn check(records: &[Record]) -> Result<()> {
    let mut seen = HashSet::with_capacity(records.len());
    for record in records {
        if record.version == 0 || i64::try_from(record.version).is_err() {
            return Err(Error::invalid(format!(
                "{} has version {}; versions count from 1 to {}",
                record.key,
                record.version,
                i64::MAX
            )));
        }
        if !seen.insert(&record.key) {
            return Err(Error::invalid(format!(
                "{} stands twice in one import; give each key once",
                record.key
            )));
        }
    }
    Ok(())
}

/// A record as the script takes it: kind, id, version, life, content type, whether it has a schema,
/// the schema, created at and by, updated at and by, when it expires, the content.
fn of_record(record: Record) -> [Value; 13] {
    let life = match record.tombstone {
        None => "l",
        Some(Tombstone::Deleted) => "d",
        Some(Tombstone::Expired) => "x",
    };
    let expires = record.expires_at.filter(|_| record.tombstone.is_none());
    [
        text(record.key.kind.as_str()),
        text(record.key.id.as_str()),
        text(record.version),
        text(life),
        text(record.content_type.as_str()),
        text(if record.schema.is_some() { "1" } else { "" }),
        text(record.schema.unwrap_or_default()),
        text(record.created_at.as_nanosecond()),
        text(record.created_by.as_str()),
        text(record.updated_at.as_nanosecond()),
        text(record.updated_by.as_str()),
        text(expires.map_or(String::new(), expiry)),
        Value::Bytes(record.data),
    ]
}

/// When a record expires: in nanoseconds, and in microseconds rounded up for the server's clock.
fn expiry(at: Timestamp) -> String {
    let nanos = at.as_nanosecond();
    let micros = nanos.div_euclid(1000) + i128::from(nanos.rem_euclid(1000) > 0);
    format!("{nanos}/{micros}")
}
