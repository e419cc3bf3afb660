//! The first result of each op_id, for repeats.

use std::time::Duration;

use rusqlite::OptionalExtension;
use statehouse_contracts::{Applied, Error, ErrorKind, OpId, Version};

use super::{commit, row};
use crate::{
    config::Config,
    engine::Tx,
    error::Failure,
    housekeeping::{Chore, Progress},
};

/// Rows that one run forgets at most.
const STEP: i64 = 500;

/// Forgets op_ids beyond the window.
pub(crate) const FORGET: Chore = Chore {
    name: "forget op_ids",
    every: |config| (config.op_window / 4).clamp(Duration::from_secs(1), Duration::from_secs(60)),
    run: forget,
};

/// What tells a repeat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeat<'t> {
    pub(super) op_id: &'t OpId,
    pub(super) fingerprint: &'t [u8; 32],
}

impl Repeat<'_> {
    /// The first result, if this is a repeat within the window.
    pub(super) fn find(
        self,
        tx: &Tx<'_>,
        ns: i64,
        now: i64,
        window: Duration,
    ) -> Result<Option<Applied>, Failure> {
        let found: Option<([u8; 32], i64, i64, String)> = tx
            .prepare_cached(
                "SELECT fingerprint, commit_id, at, versions FROM state_op
                 WHERE ns = ?1 AND op_id = ?2 AND at >= ?3",
            )?
            .query_row((ns, self.op_id.as_str(), before(now, window)), |row| {
                row.try_into()
            })
            .optional()?;
        let Some((fingerprint, commit, at, versions)) = found else {
            return Ok(None);
        };
        if fingerprint != *self.fingerprint {
            let op_id = self.op_id;
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("the op_id {op_id:?} was used for another transaction; use a new one"),
            )
            .into());
        }
        Ok(Some(Applied {
            commit: row::version(commit),
            at: row::timestamp(at),
            versions: parse(&versions)?,
            replayed: true,
        }))
    }

    /// Remembers the result.
    pub(super) fn record(
        self,
        tx: &Tx<'_>,
        ns: i64,
        now: i64,
        applied: &Applied,
    ) -> rusqlite::Result<()> {
        let versions: Vec<String> = applied.versions.iter().map(Version::to_string).collect();
        tx.prepare_cached(
            "INSERT OR REPLACE INTO state_op (ns, op_id, fingerprint, commit_id, at, versions)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute((
            ns,
            self.op_id.as_str(),
            self.fingerprint.as_slice(),
            row::number(applied.commit),
            now,
            versions.join(","),
        ))?;
        Ok(())
    }
}

fn parse(versions: &str) -> Result<Vec<Version>, Failure> {
    let numbers = versions.split(',').filter(|number| !number.is_empty());
    numbers
        .map(|number| number.parse())
        .collect::<Result<_, _>>()
        .map_err(|_| row::damaged(format!("{versions:?} is no list of versions")))
}

/// The time `span` before `now`, in nanoseconds.
pub(crate) fn before(now: i64, span: Duration) -> i64 {
    now.saturating_sub(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
}

fn forget(tx: &Tx<'_>, config: &Config) -> Result<Progress, Failure> {
    let forgotten = tx
        .prepare_cached(
            "DELETE FROM state_op WHERE at < ?1
             AND seq IN (SELECT seq FROM state_op ORDER BY seq LIMIT ?2)",
        )?
        .execute((before(commit::at(tx), config.op_window), STEP))?;
    Ok(Progress::after(forgotten, STEP))
}
