//! The queue's regular work: forgetting what is over.

use std::time::Duration;

use super::{accepted, broadcast, groups, rows};
use crate::{
    config::Config,
    engine::Tx,
    error::Failure,
    housekeeping::{Chore, Progress},
    time::micros,
};

/// The most rows one job removes.
const AT_ONCE: usize = 500;

/// For how long it is remembered how a delivery was settled.
const SETTLED_FOR: Duration = Duration::from_secs(600);

/// The role's regular work.
pub(crate) const CHORES: &[Chore] = &[
    Chore {
        name: "queue: idempotency keys",
        every: |config| (config.message_window / 4).clamp(SECOND, 60 * SECOND),
        run: forget_accepted,
    },
    Chore {
        name: "queue: settled deliveries",
        every: |_| 20 * SECOND,
        run: forget_settled,
    },
    Chore {
        name: "queue: schedules",
        every: |_| 20 * SECOND,
        run: forget_schedules,
    },
    Chore {
        name: "queue: broadcasts",
        every: |_| 20 * SECOND,
        run: |tx, _| broadcast::sweep(tx).map(|()| Progress::Done),
    },
    Chore {
        name: "queue: deleted groups",
        every: |_| 20 * SECOND,
        run: |tx, _| groups::clear_doomed(tx),
    },
];

const SECOND: Duration = Duration::from_secs(1);

fn progress(removed: usize) -> Progress {
    if removed < AT_ONCE {
        Progress::Done
    } else {
        Progress::More
    }
}

/// Removes idempotency keys of buckets that are over.
fn forget_accepted(tx: &Tx<'_>, config: &Config) -> Result<Progress, Failure> {
    let oldest = accepted::bucket(tx.now(), micros(config.message_window)) - 1;
    let spaces: Vec<i64> = tx
        .prepare_cached("SELECT id FROM namespace")?
        .query_map((), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for ns in spaces {
        let removed = tx
            .prepare_cached(
                "DELETE FROM queue_accepted WHERE (ns, bucket, key) IN
                     (SELECT ns, bucket, key FROM queue_accepted
                      WHERE ns = ?1 AND bucket < ?2 LIMIT ?3)",
            )?
            .execute((ns, oldest, rows(AT_ONCE)))?;
        if removed == AT_ONCE {
            return Ok(Progress::More);
        }
    }
    Ok(Progress::Done)
}

/// Forgets how deliveries were settled. Batches are settled about in the order of their numbers:
/// only the lowest are looked at.
fn forget_settled(tx: &Tx<'_>, _: &Config) -> Result<Progress, Failure> {
    let removed = tx
        .prepare_cached(
            "DELETE FROM queue_settled WHERE batch IN
                 (SELECT batch FROM
                     (SELECT batch, at FROM queue_settled ORDER BY batch LIMIT ?2)
                  WHERE at < ?1)",
        )?
        .execute((tx.now().saturating_sub(micros(SETTLED_FOR)), rows(AT_ONCE)))?;
    Ok(progress(removed))
}

/// Forgets the schedules of messages that are due.
fn forget_schedules(tx: &Tx<'_>, _: &Config) -> Result<Progress, Failure> {
    let removed = tx
        .prepare_cached(
            "DELETE FROM queue_scheduled WHERE (ns, id) IN
                 (SELECT ns, id FROM queue_scheduled WHERE due <= ?1 LIMIT ?2)",
        )?
        .execute((tx.now(), rows(AT_ONCE)))?;
    Ok(progress(removed))
}
