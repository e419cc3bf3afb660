//! Trimming the log: on demand, and to the bounds of the configuration.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use statehouse_contracts::{Result, Trim};

use super::cursor::trimmed;
use crate::{
    config::Config,
    engine::Tx,
    error::Failure,
    housekeeping::{Chore, Progress},
    session::Session,
    state::{Range, at, before, head},
};

/// Changes that one job trims, at most.
const STEP: i64 = 500;

/// Keeps the logs of all namespaces within the bounds of the configuration.
pub(crate) const BOUND: Chore = Chore {
    name: "trim change logs",
    every: |_| Duration::from_secs(2),
    run: bound,
};

/// Trims in short jobs, until all is done.
pub(super) async fn trim(session: &Session, trim: Trim) -> Result<u64> {
    let ns = session.ns;
    let mut total = 0;
    loop {
        let gone = session.write("trim", move |tx| step(tx, ns, trim)).await?;
        total += gone.unsigned_abs();
        if gone < STEP {
            return Ok(total);
        }
    }
}

fn bound(tx: &Tx<'_>, config: &Config) -> Result<Progress, Failure> {
    let trim = Trim {
        keep_last: config.change_log_keep,
        max_age: config.change_log_age,
    };
    if trim.keep_last.is_none() && trim.max_age.is_none() {
        return Ok(Progress::Done);
    }
    let mut select = tx.prepare_cached("SELECT id FROM namespace")?;
    let namespaces = select.query_map((), |row| row.get(0))?;
    let namespaces: Vec<i64> = namespaces.collect::<rusqlite::Result<_>>()?;
    for ns in namespaces {
        if step(tx, ns, trim)? == STEP {
            return Ok(Progress::More);
        }
    }
    Ok(Progress::Done)
}

/// Trims some changes, and says how many.
fn step(tx: &Tx<'_>, ns: i64, trim: Trim) -> Result<i64, Failure> {
    let from = trimmed(tx, ns)?;
    let head = tx.counter(head(ns))?;
    let by_count = trim
        .keep_last
        .map(|keep| head.saturating_sub(i64::try_from(keep).unwrap_or(i64::MAX)));
    let by_age = match trim.max_age {
        Some(age) => Some(newest_before(tx, ns, from, before(at(tx), age))?),
        None => None,
    };
    let wanted = by_count.max(by_age).unwrap_or(0).min(from + STEP);
    let until = followed(tx, ns, head, wanted)?;
    if until <= from {
        return Ok(0);
    }
    remove(tx, ns, from, until)?;
    Ok(until - from)
}

/// The last of the changes from the oldest on that all were before `time`; at most a step.
fn newest_before(connection: &Connection, ns: i64, from: i64, time: i64) -> rusqlite::Result<i64> {
    let range = Range::of(ns);
    let young = connection
        .prepare_cached(
            "SELECT pos FROM state_version WHERE pos > ?1 AND pos <= ?2 AND at > ?3
             ORDER BY pos LIMIT 1",
        )?
        .query_row((range.row(from), range.row(from + STEP), time), |row| {
            row.get(0)
        })
        .optional()?;
    match young {
        Some(young) => Ok(Range::place(young) - 1),
        None => Ok(from + STEP),
    }
}

/// How far trimming may go towards `wanted` for the followers; those it passes are lost.
fn followed(tx: &Tx<'_>, ns: i64, head: i64, wanted: i64) -> rusqlite::Result<i64> {
    let wanted = wanted.min(head);
    let held: Option<i64> = tx
        .prepare_cached(
            "SELECT min(place) FROM state_follower
             WHERE ns = ?1 AND lost = 0 AND (max_lag IS NULL OR ?2 - place <= max_lag)",
        )?
        .query_row((ns, head), |row| row.get(0))?;
    let until = held.map_or(wanted, |held| wanted.min(held));
    tx.prepare_cached(
        "UPDATE state_follower SET lost = 1 WHERE ns = ?1 AND lost = 0 AND place < ?2",
    )?
    .execute((ns, until))?;
    Ok(until)
}

/// Removes the changes after `from` up to `until`. Versions that can still be read stay as rows.
fn remove(tx: &Tx<'_>, ns: i64, from: i64, until: i64) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO state_trimmed (ns, place) VALUES (?1, ?2)
         ON CONFLICT (ns) DO UPDATE SET place = excluded.place",
    )?
    .execute((ns, until))?;
    let range = Range::of(ns);
    tx.prepare_cached(
        "DELETE FROM state_version
         WHERE pos > ?1 AND pos <= ?2 AND pruned = 1 AND data IS NULL",
    )?
    .execute((range.row(from), range.row(until)))?;
    tx.prepare_cached(
        "DELETE FROM state_key WHERE ns = ?1 AND life = 3
             AND NOT EXISTS (SELECT 1 FROM state_version v WHERE v.key = state_key.key)",
    )?
    .execute((ns,))?;
    Ok(())
}
