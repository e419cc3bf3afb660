//! Writing the tombstones of what has expired.

use std::time::Duration;

use rusqlite::Connection;

use super::{
    commit::{self, Commit},
    current::Current,
    row::Life,
};
use crate::{
    config::Config,
    engine::Tx,
    error::Failure,
    housekeeping::{Chore, Progress},
};

/// How late a tombstone may be written: the interval of the sweep, and time for a busy writer.
pub(crate) const LAG: Duration = Duration::from_secs(5);

/// Keys that one run expires at most.
const STEP: i64 = 200;

/// Writes tombstones, one commit per namespace and run.
pub(crate) const SWEEP: Chore = Chore {
    name: "expire records",
    every: |_| Duration::from_millis(500),
    run: sweep,
};

fn sweep(tx: &Tx<'_>, _: &Config) -> Result<Progress, Failure> {
    let expired = expired(tx, commit::at(tx))?;
    let mut rest = &expired[..];
    while let Some((ns, _)) = rest.first() {
        let (ours, others) = rest.split_at(rest.iter().take_while(|(of, _)| of == ns).count());
        let mut commit = Commit::begin(tx, *ns, 0, None)?;
        for (_, current) in ours {
            commit.expire(*current)?;
        }
        commit.finish();
        rest = others;
    }
    Ok(Progress::after(expired.len(), STEP))
}

/// Keys whose time has come, by namespace.
fn expired(connection: &Connection, now: i64) -> rusqlite::Result<Vec<(i64, Current)>> {
    let mut select = connection.prepare_cached(
        "SELECT ns, key, first, version, pos, life, expires_at, created_at, created_by
         FROM state_key WHERE expires_at <= ?1 AND version < ?2
         ORDER BY expires_at LIMIT ?3",
    )?;
    let rows = select.query_map((now, i64::MAX, STEP), |row| {
        let current = Current {
            key: row.get(1)?,
            first: row.get(2)?,
            version: row.get(3)?,
            pos: row.get(4)?,
            life: Life::of(row.get(5)?),
            expires_at: row.get(6)?,
            created_at: row.get(7)?,
            created_by: row.get(8)?,
        };
        Ok((row.get(0)?, current))
    })?;
    let mut expired: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
    expired.sort_by_key(|(ns, _)| *ns);
    Ok(expired)
}
