//! Looking after groups: the jobs behind the queue's administration.

use std::time::Duration;

use rusqlite::OptionalExtension;
use statehouse_contracts::{Counts, GroupName};

use super::{
    Count, groups, handover,
    place::{Held, Mover},
    receive::{self, Stored},
    registry::{self, Group},
    rows,
    tidy::{self, Tidied},
};
use crate::{engine::Tx, error::Failure};

/// The most messages one job purges.
const AT_ONCE: usize = 256;

/// Runs `work` on a group that has been caught up with the time; `None` when that takes another
/// job first.
pub(super) fn on_group<T>(
    tx: &Tx<'_>,
    ns: i64,
    name: &GroupName,
    work: impl FnOnce(&mut Mover<'_>) -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    let registry = registry::fresh(tx)?;
    let registry = &mut *registry.borrow_mut();
    handover::write_incoming(tx, registry)?;
    let group = registry
        .named(ns, name)
        .ok_or_else(|| groups::unknown(name))?;
    let mut mover = Mover {
        tx,
        registry,
        group: &group,
    };
    let done = match tidy::tidy(&mut mover)? {
        Tidied::Wholly => Some(work(&mut mover)?),
        Tidied::Partly => None,
    };
    handover::at_end(tx, registry);
    Ok(done)
}

/// What the group holds.
pub(super) fn counts(tx: &Tx<'_>, group: &Group) -> rusqlite::Result<Counts> {
    let read = |what: Count| -> rusqlite::Result<u64> {
        Ok(tx.counter(what.of(group.id))?.try_into().unwrap_or(0))
    };
    Ok(Counts {
        ready: read(Count::Ready)?,
        delayed: read(Count::Delayed)?,
        in_flight: read(Count::Leased)?,
        dead: read(Count::Dead)?,
        expired: read(Count::Expired)?,
        dropped: read(Count::Dropped)?,
        exact: true,
    })
}

/// For how long the oldest ready message has been due.
pub(super) fn oldest_ready_age(tx: &Tx<'_>, group: &Group) -> rusqlite::Result<Option<Duration>> {
    let mut oldest: Option<i64> = tx
        .prepare_cached("SELECT due FROM queue_waiting WHERE grp = ?1 ORDER BY due, seq LIMIT 1")?
        .query_row((group.id,), |row| row.get(0))
        .optional()?;
    for rank in 0..=9_i64 {
        let first: Option<i64> = tx
            .prepare_cached(
                "SELECT due FROM queue_ready WHERE grp = ?1 AND rank = ?2
                 ORDER BY due, seq LIMIT 1",
            )?
            .query_row((group.id, rank), |row| row.get(0))
            .optional()?;
        oldest = match (oldest, first) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    Ok(oldest.map(|due| Duration::from_micros((tx.now() - due).try_into().unwrap_or(0))))
}

/// The next ready messages.
pub(super) fn peek(tx: &Tx<'_>, group: &Group, max: usize) -> rusqlite::Result<Vec<Stored>> {
    receive::ready(tx, group.id, max)
}

const SOME_WAITING: &str = "DELETE FROM queue_waiting WHERE (grp, key, seq) IN
        (SELECT grp, key, seq FROM queue_waiting WHERE grp = ?1 LIMIT ?2)
    RETURNING seq, rank, due, 0, key, expires, shared";
const SOME_READY: &str = "DELETE FROM queue_ready WHERE (grp, rank, due, seq) IN
        (SELECT grp, rank, due, seq FROM queue_ready WHERE grp = ?1 LIMIT ?2)
    RETURNING seq, rank, due, attempts, key, expires, shared";
const SOME_DELAYED: &str = "DELETE FROM queue_delayed WHERE (grp, until, seq) IN
        (SELECT grp, until, seq FROM queue_delayed WHERE grp = ?1 LIMIT ?2)
    RETURNING seq, rank, due, attempts, key, expires, shared";

/// Deletes some of what is ready and delayed; says how many. What waits behind the head of its
/// key goes first, so that it does not become the head.
pub(super) fn purge_some(mover: &mut Mover<'_>, most: usize) -> Result<usize, Failure> {
    let places = [
        (SOME_WAITING, Count::Ready, true),
        (SOME_READY, Count::Ready, false),
        (SOME_DELAYED, Count::Delayed, false),
    ];
    let mut left = most.min(AT_ONCE);
    let mut purged = 0;
    for (sql, count, waits) in places {
        let taken: Vec<Held> = mover
            .tx
            .prepare_cached(sql)?
            .query_map((mover.group.id, rows(left)), Held::of)?
            .collect::<rusqlite::Result<_>>()?;
        for held in &taken {
            mover.tx.add(count.of(mover.group.id), -1);
            if held.attempts > 0 {
                mover.forget_errors(held.seq)?;
            }
            mover.finish(Held { waits, ..*held })?;
        }
        left -= taken.len();
        purged += taken.len();
    }
    Ok(purged)
}
