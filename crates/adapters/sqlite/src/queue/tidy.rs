//! What time does to a group: leases end, delays pass, messages expire. It is caught up with
//! before anybody looks, so that what is seen is exact, and costs one look when there is nothing.

use rusqlite::OptionalExtension;

use super::{
    Count,
    place::{Held, MAX_DELIVERIES, Mover},
    rows,
};
use crate::engine::Tx;

/// The most messages moved at once of each sort. When there are more, it is to be called again
/// in a job of its own, so that others are not held up.
const AT_ONCE: usize = 512;

/// What is said of an attempt whose lease ended.
const LEASE_EXPIRED: &str = "lease expired";

/// Takes a ready message out, by its place in the order.
pub(super) const TAKE_READY: &str = "DELETE FROM queue_ready
    WHERE grp = ?1 AND rank = ?2 AND due = ?3 AND seq = ?4
    RETURNING seq, rank, due, attempts, key, expires, shared";
/// Takes a delayed message out.
pub(super) const TAKE_DELAYED: &str = "DELETE FROM queue_delayed
    WHERE grp = ?1 AND until = ?2 AND seq = ?3
    RETURNING seq, rank, due, attempts, key, expires, shared";
/// Takes a leased message out.
pub(super) const TAKE_LEASED: &str = "DELETE FROM queue_leased
    WHERE grp = ?1 AND deadline = ?2 AND seq = ?3
    RETURNING seq, rank, due, attempts, key, expires, shared";
/// Takes a waiting message out.
pub(super) const TAKE_WAITING: &str =
    "DELETE FROM queue_waiting WHERE grp = ?1 AND key = ?2 AND seq = ?3
    RETURNING seq, rank, due, 0, key, expires, shared";

const IS_DUE: &str = "SELECT
    EXISTS (SELECT 1 FROM queue_leased WHERE grp = ?1 AND deadline <= ?2)
    OR EXISTS (SELECT 1 FROM queue_delayed WHERE grp = ?1 AND until <= ?2)
    OR EXISTS (SELECT 1 FROM queue_expiry WHERE grp = ?1 AND expires <= ?2)";
const ENDED: &str = "SELECT deadline, seq FROM queue_leased WHERE grp = ?1 AND deadline <= ?2
    ORDER BY deadline, seq LIMIT ?3";
const DUE: &str = "SELECT until, seq FROM queue_delayed WHERE grp = ?1 AND until <= ?2
    ORDER BY until, seq LIMIT ?3";
const EXPIRED: &str = "SELECT expires, seq, rank, due, key FROM queue_expiry
    WHERE grp = ?1 AND expires <= ?2 ORDER BY expires, seq LIMIT ?3";
const NEXT: &str = "SELECT
    (SELECT min(deadline) FROM queue_leased WHERE grp = ?1),
    (SELECT min(until) FROM queue_delayed WHERE grp = ?1)";

/// Whether all is done that time asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tidied {
    Wholly,
    Partly,
}

/// Catches the group up with the time of the transaction.
pub(super) fn tidy(mover: &mut Mover<'_>) -> rusqlite::Result<Tidied> {
    let (grp, now) = (mover.group.id, mover.tx.now());
    let is_due: bool = mover
        .tx
        .prepare_cached(IS_DUE)?
        .query_row((grp, now), |row| row.get(0))?;
    if !is_due {
        return Ok(Tidied::Wholly);
    }
    let moved = [end_leases(mover)?, pass_delays(mover)?, expire(mover)?];
    Ok(if moved.contains(&AT_ONCE) {
        Tidied::Partly
    } else {
        Tidied::Wholly
    })
}

fn end_leases(mover: &mut Mover<'_>) -> rusqlite::Result<usize> {
    let ended = places(mover, ENDED)?;
    for place in &ended {
        let held = mover
            .tx
            .prepare_cached(TAKE_LEASED)?
            .query_row((mover.group.id, place.0, place.1), Held::of)?;
        mover.tx.add(Count::Leased.of(mover.group.id), -1);
        fail_attempt(mover, held, LEASE_EXPIRED, 0)?;
    }
    Ok(ended.len())
}

/// Deals with a message whose attempt has failed: it comes again from `until` on, or not at all.
pub(super) fn fail_attempt(
    mover: &mut Mover<'_>,
    held: Held,
    error: &str,
    until: i64,
) -> rusqlite::Result<()> {
    mover.note_error(held, error)?;
    if held.attempts >= mover.group.spec.max_deliveries {
        mover.bury(held, MAX_DELIVERIES)
    } else {
        mover.put_back(held, until)
    }
}

fn pass_delays(mover: &mut Mover<'_>) -> rusqlite::Result<usize> {
    let due = places(mover, DUE)?;
    for place in &due {
        let held = mover
            .tx
            .prepare_cached(TAKE_DELAYED)?
            .query_row((mover.group.id, place.0, place.1), Held::of)?;
        mover.tx.add(Count::Delayed.of(mover.group.id), -1);
        mover.put_back(held, 0)?;
    }
    Ok(due.len())
}

fn places(mover: &Mover<'_>, sql: &str) -> rusqlite::Result<Vec<(i64, i64)>> {
    mover
        .tx
        .prepare_cached(sql)?
        .query_map((mover.group.id, mover.tx.now(), rows(AT_ONCE)), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect()
}

fn expire(mover: &mut Mover<'_>) -> rusqlite::Result<usize> {
    let (tx, grp) = (mover.tx, mover.group.id);
    let expired: Vec<(i64, Held)> = tx
        .prepare_cached(EXPIRED)?
        .query_map((grp, tx.now(), rows(AT_ONCE)), |row| {
            let held = Held {
                seq: row.get(1)?,
                rank: row.get(2)?,
                due: row.get(3)?,
                attempts: 0,
                key: row.get(4)?,
                expires: None,
                shared: false,
                waits: false,
            };
            Ok((row.get(0)?, held))
        })?
        .collect::<rusqlite::Result<_>>()?;
    for (expires, place) in &expired {
        match take_expired(tx, grp, place)? {
            Some(held) => {
                tx.add(Count::Ready.of(grp), -1);
                mover.expire(held)?;
            }
            // It is leased or delayed: it is looked at when it comes back.
            None => {
                tx.prepare_cached(
                    "DELETE FROM queue_expiry WHERE grp = ?1 AND expires = ?2 AND seq = ?3",
                )?
                .execute((grp, expires, place.seq))?;
            }
        }
    }
    Ok(expired.len())
}

/// Takes an expired message out of where it is ready, or waits.
fn take_expired(tx: &Tx<'_>, grp: i64, place: &Held) -> rusqlite::Result<Option<Held>> {
    let ready = tx
        .prepare_cached(TAKE_READY)?
        .query_row((grp, place.rank, place.due, place.seq), Held::of)
        .optional()?;
    if ready.is_some() || place.key.is_none() {
        return Ok(ready);
    }
    tx.prepare_cached(TAKE_WAITING)?
        .query_row((grp, place.key, place.seq), Held::of_waiting)
        .optional()
}

/// When time will next make something of the group ready, if ever.
pub(super) fn next_event(tx: &Tx<'_>, grp: i64) -> rusqlite::Result<Option<i64>> {
    let (lease, delay): (Option<i64>, Option<i64>) = tx
        .prepare_cached(NEXT)?
        .query_row((grp,), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(match (lease, delay) {
        (Some(lease), Some(delay)) => Some(lease.min(delay)),
        (lease, delay) => lease.or(delay),
    })
}
