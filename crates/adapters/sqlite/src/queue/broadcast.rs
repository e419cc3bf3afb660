//! Subscriptions without a group.
//!
//! While a listener of any process is registered for a topic, each message to it is also written
//! to a short log, in the transaction that accepts it. Listeners follow the log; one that is so
//! far behind that the log was cut off before it hears of a gap.

use std::time::Duration;

use rusqlite::OptionalExtension;
use statehouse_contracts::{MessageId, Pattern};

use super::{meta, prepare::Prepared, registry};
use crate::{
    engine::{Channel, Tx},
    error::Failure,
    time::micros,
};

/// How many messages the log keeps, over all namespaces.
const KEPT: i64 = 16 * 1024;
/// How often, in messages, a sender cuts the log.
const CUT_EVERY: i64 = 1024;
/// For how long the log keeps a message after it is due.
const KEPT_FOR: Duration = Duration::from_secs(120);
/// After this long without a word a listener is taken for dead.
const DEAD_AFTER: Duration = Duration::from_secs(90);

/// Touched by each message for listeners of a namespace.
pub(super) fn channel(ns: i64) -> Channel {
    Channel::of(&("queue cast", ns))
}

/// Writes a message for the listeners.
pub(super) fn cast(
    tx: &Tx<'_>,
    ns: i64,
    message: &Prepared,
    due: i64,
    expires: Option<i64>,
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO queue_cast (ns, sent_at, due, expires, meta, payload)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((
        ns,
        tx.now(),
        due,
        expires,
        &message.meta,
        &message.payload[..],
    ))?;
    tx.notify(channel(ns));
    let n = tx.last_insert_rowid();
    if n % CUT_EVERY == 0 {
        cut(tx, "n <= ?1", n - KEPT)?;
    }
    Ok(())
}

/// Takes a message that is not due yet back from the listeners.
pub(super) fn cancel(tx: &Tx<'_>, ns: i64, id: MessageId) -> rusqlite::Result<bool> {
    let sql = format!(
        "DELETE FROM queue_cast WHERE ns = ?1 AND due > ?2 AND {} = ?3",
        meta::ID_IN_SQL
    );
    let deleted = tx
        .prepare_cached(&sql)?
        .execute((ns, tx.now(), id.0.as_bytes()))?;
    Ok(deleted > 0)
}

/// Removes old messages from the log, and notes up to where.
fn cut(tx: &Tx<'_>, which: &str, bound: i64) -> rusqlite::Result<()> {
    tx.prepare_cached(&format!(
        "INSERT INTO queue_cast_floor (ns, n)
             SELECT ns, max(n) FROM queue_cast WHERE {which} GROUP BY ns
         ON CONFLICT (ns) DO UPDATE SET n = max(n, excluded.n)"
    ))?
    .execute((bound,))?;
    tx.prepare_cached(&format!("DELETE FROM queue_cast WHERE {which}"))?
        .execute((bound,))?;
    Ok(())
}

/// Removes what is too old, and listeners that are gone.
pub(super) fn sweep(tx: &Tx<'_>) -> Result<(), Failure> {
    let now = tx.now();
    let any = tx
        .prepare_cached("SELECT 1 FROM queue_cast LIMIT 1")?
        .exists(())?;
    if any {
        cut(
            tx,
            "max(sent_at, due) <= ?1",
            now.saturating_sub(micros(KEPT_FOR)),
        )?;
    }
    let dead: Vec<i64> = tx
        .prepare_cached("SELECT id FROM queue_listener WHERE seen_at <= ?1")?
        .query_map((now.saturating_sub(micros(DEAD_AFTER)),), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for id in dead {
        leave(tx, id)?;
    }
    Ok(())
}

/// Ends a registration.
pub(super) fn leave(tx: &Tx<'_>, id: i64) -> rusqlite::Result<()> {
    let left = tx
        .prepare_cached("DELETE FROM queue_listener WHERE id = ?1")?
        .execute((id,))?;
    if left > 0 {
        registry::changed(tx, -id)?;
    }
    Ok(())
}

/// Registers a listener: its number, and the end of the log.
pub(super) fn join(tx: &Tx<'_>, ns: i64, pattern: &Pattern) -> Result<(i64, i64), Failure> {
    tx.prepare_cached("INSERT INTO queue_listener (ns, pattern, seen_at) VALUES (?1, ?2, ?3)")?
        .execute((ns, pattern.as_str(), tx.now()))?;
    let id = tx.last_insert_rowid();
    registry::changed(tx, -id)?;
    let end: Option<i64> = tx
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'queue_cast'")?
        .query_row((), |row| row.get(0))
        .optional()?;
    Ok((id, end.unwrap_or(0)))
}

/// Says that a listener is there; false when it was taken for dead and has come back.
pub(super) fn stay(tx: &Tx<'_>, ns: i64, id: i64, pattern: &Pattern) -> rusqlite::Result<bool> {
    let there = tx
        .prepare_cached("UPDATE queue_listener SET seen_at = ?2 WHERE id = ?1")?
        .execute((id, tx.now()))?;
    if there == 0 {
        tx.prepare_cached(
            "INSERT INTO queue_listener (id, ns, pattern, seen_at) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((id, ns, pattern.as_str(), tx.now()))?;
        registry::changed(tx, -id)?;
    }
    Ok(there > 0)
}
