//! Room in groups with a greatest length.

use rusqlite::OptionalExtension;
use statehouse_contracts::Overflow;

use super::{
    Count,
    place::{Held, Mover},
    registry::{Group, Registry},
    tidy,
};
use crate::engine::Tx;

/// How many messages must go before the group can take one more.
fn excess(tx: &Tx<'_>, group: &Group) -> rusqlite::Result<i64> {
    let Some(most) = group.spec.max_length else {
        return Ok(0);
    };
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    Ok((Count::length(tx, group.id)? - most + 1).max(0))
}

/// Whether the group has room, or can make it by dropping what is ready.
pub(super) fn can_take_one(
    tx: &Tx<'_>,
    registry: &mut Registry,
    group: &Group,
) -> rusqlite::Result<bool> {
    if excess(tx, group)? == 0 {
        return Ok(true);
    }
    // What has expired makes room.
    tidy::tidy(&mut Mover {
        tx,
        registry,
        group,
    })?;
    let excess = excess(tx, group)?;
    let drops = group.spec.overflow == Overflow::DropOldest;
    Ok(excess == 0 || drops && tx.counter(Count::Ready.of(group.id))? >= excess)
}

/// Makes room where the oldest is to be dropped.
pub(super) fn make_room(
    tx: &Tx<'_>,
    registry: &mut Registry,
    group: &Group,
) -> rusqlite::Result<()> {
    for _ in 0..excess(tx, group)? {
        drop_oldest(&mut Mover {
            tx,
            registry,
            group,
        })?;
    }
    Ok(())
}

const OLDEST_OF_RANK: &str = "SELECT due, seq FROM queue_ready WHERE grp = ?1 AND rank = ?2
    ORDER BY due, seq LIMIT 1";
const OLDEST_WAITING: &str = "SELECT due, seq, key FROM queue_waiting WHERE grp = ?1
    ORDER BY due, seq LIMIT 1";

/// Drops the ready message that has been due longest.
fn drop_oldest(mover: &mut Mover<'_>) -> rusqlite::Result<()> {
    let Some(held) = take_oldest(mover)? else {
        return Ok(());
    };
    mover.tx.add(Count::Ready.of(mover.group.id), -1);
    mover.tx.add(Count::Dropped.of(mover.group.id), 1);
    mover.drop_unasked(held)
}

/// Takes the oldest ready message out of its place.
fn take_oldest(mover: &Mover<'_>) -> rusqlite::Result<Option<Held>> {
    let (tx, grp) = (mover.tx, mover.group.id);
    let mut oldest: Option<(i64, i64, i64)> = None;
    for rank in 0..=9_i64 {
        let first = tx
            .prepare_cached(OLDEST_OF_RANK)?
            .query_row((grp, rank), |row| Ok((row.get(0)?, row.get(1)?, rank)))
            .optional()?;
        oldest = match (oldest, first) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    let waiting: Option<(i64, i64, i64)> = tx
        .prepare_cached(OLDEST_WAITING)?
        .query_row((grp,), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let waited = match (waiting, oldest) {
        (Some((due, seq, _)), Some(oldest)) => (due, seq) < (oldest.0, oldest.1),
        (waiting, _) => waiting.is_some(),
    };
    if let (true, Some((_, seq, key))) = (waited, waiting) {
        return tx
            .prepare_cached(tidy::TAKE_WAITING)?
            .query_row((grp, key, seq), Held::of_waiting)
            .optional();
    }
    let Some((due, seq, rank)) = oldest else {
        return Ok(None);
    };
    tx.prepare_cached(tidy::TAKE_READY)?
        .query_row((grp, rank, due, seq), Held::of)
        .optional()
}
