//! The sums of a namespace, kept as counters.

use rusqlite::Connection;
use statehouse_contracts::ReferenceStats;

use super::entry::size;
use crate::engine::{Counter, Tx};

/// What is counted per namespace.
#[derive(Clone, Copy, Debug)]
pub(super) enum Count {
    Entries = 400,
    Held = 401,
    Stored = 402,
    Plain = 403,
    Collections = 404,
    Evictions = 405,
}

impl Count {
    pub(super) fn of(self, ns: i64) -> Counter {
        Counter::new(self as u32, ns)
    }
}

/// The last number given to an entry, over all namespaces.
const ENTRIES_EVER: Counter = Counter::new(406, 0);

/// A number that no entry ever had.
pub(super) fn next_entry(tx: &Tx<'_>) -> rusqlite::Result<i64> {
    tx.add(ENTRIES_EVER, 1);
    tx.counter(ENTRIES_EVER)
}

/// The sums of a namespace.
pub(super) fn stats(connection: &Connection, ns: i64) -> rusqlite::Result<ReferenceStats> {
    let sum = |count: Count| -> rusqlite::Result<u64> { Ok(size(count.of(ns).read(connection)?)) };
    Ok(ReferenceStats {
        entries: sum(Count::Entries)?,
        held: sum(Count::Held)?,
        stored_bytes: sum(Count::Stored)?,
        plain_bytes: sum(Count::Plain)?,
        collections: sum(Count::Collections)?,
        evictions: sum(Count::Evictions)?,
    })
}
