//! Taking over records of another store.

use std::collections::HashSet;

use statehouse_contracts::{ChangeOperation, Error, Record, Result};

use super::{
    commit::{Commit, NewVersion, Stamps, Target},
    current::Current,
    row::{nanos, number},
};
use crate::{
    engine::Tx,
    error::Failure,
    session::{Session, principal_id},
};

/// # Errors
/// `InvalidArgument` for version 0 or one key twice.
pub(crate) fn check(records: &[Record]) -> Result<()> {
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

/// Imports what is newer than what is here, as one commit.
pub(crate) fn import(
    tx: &Tx<'_>,
    session: &Session,
    records: &[Record],
) -> Result<Vec<bool>, Failure> {
    let found = records
        .iter()
        .map(|record| Current::find(tx, session.ns, &record.key))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let newer = |record: &Record, current: &Option<Current>| {
        current.is_none_or(|current| current.version < number(record.version))
    };
    let written: Vec<bool> = records
        .iter()
        .zip(&found)
        .map(|(record, current)| newer(record, current))
        .collect();
    if !written.contains(&true) {
        return Ok(written);
    }
    let mut commit = Commit::begin(tx, session.ns, session.by, None)?;
    for ((record, current), _) in records
        .iter()
        .zip(found)
        .zip(&written)
        .filter(|(_, written)| **written)
    {
        write(tx, &mut commit, record, current)?;
    }
    commit.finish();
    Ok(written)
}

fn write(
    tx: &Tx<'_>,
    commit: &mut Commit<'_>,
    record: &Record,
    current: Option<Current>,
) -> Result<(), Failure> {
    let stamps = Stamps {
        at: nanos(record.updated_at),
        by: principal_id(tx, record.updated_by.as_str())?,
        created_at: nanos(record.created_at),
        created_by: principal_id(tx, record.created_by.as_str())?,
    };
    let version = NewVersion {
        operation: ChangeOperation::Import,
        tombstone: record.tombstone,
        data: record.tombstone.is_none().then_some(&record.data[..]),
        continues: None,
        content_type: &record.content_type,
        schema: record.schema.as_deref(),
        expires_at: record
            .expires_at
            .filter(|_| record.tombstone.is_none())
            .map(nanos),
    };
    let target = match current {
        Some(current) => Target::Known(current),
        // Its earlier versions were somewhere, and are not kept here.
        None => Target::New(&record.key, 1),
    };
    commit.add_stamped(target, number(record.version), &version, stamps)?;
    Ok(())
}
