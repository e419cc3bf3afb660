//! Declaring, pausing and deleting groups.

use statehouse_contracts::{Declared, Detail, Error, ErrorKind, GroupName, GroupSpec};

use super::{Count, handover, place, place::Held, ready_channel, registry, room_channel, rows};
use crate::{engine::Tx, error::Failure, housekeeping::Progress};

/// The most rows of a deleted group that one job removes.
const AT_ONCE: usize = 512;

/// Makes the group, or checks that it is there with the same spec.
pub(super) fn declare(
    tx: &Tx<'_>,
    ns: i64,
    name: &GroupName,
    spec: &GroupSpec,
) -> Result<Declared, Failure> {
    if let Some(group) = registry::find(tx, ns, name)? {
        return match group.spec.difference(spec) {
            None => Ok(Declared { created: false }),
            Some(field) => Err(other_spec(name, field).into()),
        };
    }
    let text = serde_json::to_string(spec)
        .map_err(|error| Error::internal(format!("a spec as JSON: {error}")))?;
    tx.prepare_cached("INSERT INTO queue_group (ns, name, spec, paused) VALUES (?1, ?2, ?3, 0)")?
        .execute((ns, name.as_str(), text))?;
    registry::changed(tx, tx.last_insert_rowid())?;
    Ok(Declared { created: true })
}

fn other_spec(name: &GroupName, field: &'static str) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("the group was declared before with another {field}"),
    )
    .with_context("group", name)
    .with_detail(Detail::SpecField(field))
}

/// The error of an operation on a group that is not there.
pub(super) fn unknown(name: &GroupName) -> Error {
    Error::not_found("the group was not declared").with_context("group", name)
}

/// Pauses or resumes.
pub(super) fn set_paused(
    tx: &Tx<'_>,
    ns: i64,
    name: &GroupName,
    paused: bool,
) -> Result<(), Failure> {
    let group = registry::find(tx, ns, name)?.ok_or_else(|| unknown(name))?;
    if group.paused == paused {
        return Ok(());
    }
    tx.prepare_cached("UPDATE queue_group SET paused = ?2 WHERE id = ?1")?
        .execute((group.id, paused))?;
    registry::changed(tx, group.id)?;
    tx.notify(ready_channel(ns, name));
    Ok(())
}

/// Deletes a group: it is gone at once, what it held is removed by [`clear_doomed`]. Answers its
/// number.
pub(super) fn delete(tx: &Tx<'_>, ns: i64, name: &GroupName) -> Result<Option<i64>, Failure> {
    let Some(group) = registry::find(tx, ns, name)? else {
        return Ok(None);
    };
    tx.prepare_cached("DELETE FROM queue_group WHERE id = ?1")?
        .execute((group.id,))?;
    tx.prepare_cached("INSERT INTO queue_doomed (grp) VALUES (?1)")?
        .execute((group.id,))?;
    registry::changed(tx, group.id)?;
    tx.notify(ready_channel(ns, name));
    tx.notify(room_channel(group.id));
    Ok(Some(group.id))
}

/// What a deleted group may have rows in, and the order to remove them in.
const HOLDING: [(&str, &str); 5] = [
    ("queue_ready", "attempts, key"),
    ("queue_waiting", "0, key"),
    ("queue_delayed", "attempts, key"),
    ("queue_leased", "attempts, key"),
    ("queue_dead", "attempts, key"),
];
const BESIDE: [&str; 3] = ["queue_key", "queue_expiry", "queue_error"];

/// Removes some of what deleted groups held.
pub(super) fn clear_doomed(tx: &Tx<'_>) -> Result<Progress, Failure> {
    let doomed: Vec<i64> = tx
        .prepare_cached("SELECT grp FROM queue_doomed LIMIT 1")?
        .query_map((), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let Some(&grp) = doomed.first() else {
        return Ok(Progress::Done);
    };
    // What was sent to it in this transaction comes to its place first.
    let registry = registry::fresh(tx)?;
    handover::write_incoming(tx, &mut registry.borrow_mut())?;
    for (table, columns) in HOLDING {
        let held = some_of(tx, table, columns, grp)?;
        let clear = held.len() < AT_ONCE;
        for held in held {
            place::drop_body(tx, held)?;
        }
        if !clear {
            return Ok(Progress::More);
        }
    }
    for table in BESIDE {
        tx.prepare_cached(&format!("DELETE FROM {table} WHERE grp = ?1"))?
            .execute((grp,))?;
    }
    for count in Count::ALL {
        tx.remove_counter(count.of(grp))?;
    }
    tx.prepare_cached("DELETE FROM queue_doomed WHERE grp = ?1")?
        .execute((grp,))?;
    Ok(Progress::More)
}

/// Takes some rows of a group out of a table, in the order of its key.
fn some_of(tx: &Tx<'_>, table: &str, columns: &str, grp: i64) -> rusqlite::Result<Vec<Held>> {
    let key = match table {
        "queue_ready" => "(grp, rank, due, seq)",
        "queue_waiting" => "(grp, key, seq)",
        "queue_delayed" => "(grp, until, seq)",
        "queue_leased" => "(grp, deadline, seq)",
        _ => "(grp, position)",
    };
    let listed = key.trim_matches(['(', ')']);
    tx.prepare_cached(&format!(
        "DELETE FROM {table} WHERE {key} IN
             (SELECT {listed} FROM {table} WHERE grp = ?1 ORDER BY {listed} LIMIT ?2)
         RETURNING seq, rank, due, {columns}, expires, shared"
    ))?
    .query_map((grp, rows(AT_ONCE)), Held::of)?
    .collect()
}
