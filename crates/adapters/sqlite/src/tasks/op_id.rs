//! The first result of each push with an op_id, for repeats.

use std::time::Duration;

use rusqlite::OptionalExtension;
use statehouse_contracts::{Error, ErrorKind, OpId, Pushed, TaskId};

use crate::{
    config::Config,
    engine::Tx,
    error::Failure,
    housekeeping::{Chore, Progress},
    state::damaged,
    time::micros,
};

/// Rows that one run forgets at most.
const STEP: i64 = 500;

/// Forgets op_ids beyond the window.
pub(super) const FORGET: Chore = Chore {
    name: "forget op_ids of tasks",
    every: |config| (config.op_window / 4).clamp(Duration::from_secs(1), Duration::from_secs(60)),
    run: forget,
};

/// What tells a repeat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeat<'p> {
    pub(super) op_id: &'p OpId,
    pub(super) fingerprint: &'p [u8; 32],
}

impl Repeat<'_> {
    /// The first result, if this is a repeat within the window.
    pub(super) fn find(
        self,
        tx: &Tx<'_>,
        ns: i64,
        window: Duration,
    ) -> Result<Option<Vec<Pushed>>, Failure> {
        let since = tx.now().saturating_sub(micros(window));
        let found: Option<([u8; 32], String, String)> = tx
            .prepare_cached(
                "SELECT fingerprint, ids, duplicates FROM task_op
                 WHERE ns = ?1 AND op_id = ?2 AND at >= ?3",
            )?
            .query_row((ns, self.op_id.as_str(), since), |row| row.try_into())
            .optional()?;
        let Some((fingerprint, ids, duplicates)) = found else {
            return Ok(None);
        };
        if fingerprint != *self.fingerprint {
            let message = format!(
                "the op_id {:?} was used for another push; use a new one",
                self.op_id
            );
            return Err(Error::new(ErrorKind::Conflict, message).into());
        }
        let ids: Vec<TaskId> = serde_json::from_str(&ids)
            .map_err(|error| damaged(format!("the ids of a push cannot be read: {error}")))?;
        let pushed = ids.into_iter().zip(duplicates.bytes());
        Ok(Some(
            pushed
                .map(|(id, digit)| Pushed {
                    id,
                    duplicate: digit == b'1',
                })
                .collect(),
        ))
    }

    /// Remembers the result.
    pub(super) fn record(self, tx: &Tx<'_>, ns: i64, pushed: &[Pushed]) -> Result<(), Failure> {
        let ids: Vec<&TaskId> = pushed.iter().map(|pushed| &pushed.id).collect();
        let ids = serde_json::to_string(&ids)
            .map_err(|error| Error::internal(format!("ids cannot be written: {error}")))?;
        let digit = |pushed: &Pushed| if pushed.duplicate { '1' } else { '0' };
        let duplicates: String = pushed.iter().map(digit).collect();
        tx.prepare_cached(
            "INSERT OR REPLACE INTO task_op (ns, op_id, fingerprint, at, ids, duplicates)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute((
            ns,
            self.op_id.as_str(),
            self.fingerprint.as_slice(),
            tx.now(),
            ids,
            duplicates,
        ))?;
        Ok(())
    }
}

fn forget(tx: &Tx<'_>, config: &Config) -> Result<Progress, Failure> {
    let since = tx.now().saturating_sub(micros(config.op_window));
    let forgotten = tx
        .prepare_cached(
            "DELETE FROM task_op WHERE at < ?1
             AND seq IN (SELECT seq FROM task_op ORDER BY seq LIMIT ?2)",
        )?
        .execute((since, STEP))?;
    Ok(Progress::after(forgotten, STEP))
}
