//! Forgetting finished tasks, and handling leases that no handle waits for.
//!
//! A task that awaited children keeps them while it is unfinished, so what is forgotten is a
//! whole tree, once its root is old enough. Children go before their parent.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::{
    clock::Clock,
    node::{self},
    stack,
};
use crate::{
    config::Config,
    engine::Tx,
    error::Failure,
    housekeeping::{Chore, Progress},
    time::micros,
};

/// Tasks that one run forgets at most.
const STEP: i64 = 500;

/// Forgets finished tasks beyond their retention.
pub(super) const FORGET: Chore = Chore {
    name: "forget finished tasks",
    every: |config| {
        (config.task_retention / 4).clamp(Duration::from_secs(1), Duration::from_secs(60))
    },
    run: forget,
};

/// Handles delays and leases in namespaces where no handle is open, such as those of a process
/// that was killed.
pub(super) const TICK: Chore = Chore {
    name: "end leases of tasks",
    every: |_| Duration::from_secs(1),
    run: |tx, _| {
        Ok(match node::tick(tx, &Clock::new())? {
            0 => Progress::Done,
            _ => Progress::More,
        })
    },
};

pub(super) const OLD_ROOT: &str = "SELECT seq FROM task
    WHERE finished_at < ?1 AND parent IS NULL ORDER BY finished_at LIMIT 1";
pub(super) const FIRST_CHILD: &str = "SELECT seq FROM task WHERE parent = ?1 LIMIT 1";

fn forget(tx: &Tx<'_>, config: &Config) -> Result<Progress, Failure> {
    let before = tx.now().saturating_sub(micros(config.task_retention));
    let mut path: Vec<i64> = Vec::new();
    for _ in 0..STEP {
        if path.is_empty() {
            match first(tx, OLD_ROOT, before)? {
                Some(root) => path.push(root),
                None => return Ok(Progress::Done),
            }
        }
        while let Some(parent) = path.last()
            && let Some(child) = first(tx, FIRST_CHILD, *parent)?
        {
            path.push(child);
        }
        if let Some(leaf) = path.pop() {
            delete(tx, leaf)?;
        }
    }
    Ok(Progress::More)
}

fn first(connection: &Connection, sql: &str, parameter: i64) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(sql)?
        .query_row((parameter,), |row| row.get(0))
        .optional()
}

fn delete(tx: &Tx<'_>, seq: i64) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM task_payload WHERE seq = ?1",
        "DELETE FROM task_result WHERE seq = ?1",
        "DELETE FROM task_error WHERE seq = ?1",
    ] {
        tx.prepare_cached(sql)?.execute((seq,))?;
    }
    let stack = tx
        .prepare_cached("DELETE FROM task WHERE seq = ?1 RETURNING stack")?
        .query_row((seq,), |row| row.get(0))
        .optional()?;
    match stack {
        Some(stack) => stack::forget(tx, stack),
        None => Ok(()),
    }
}
