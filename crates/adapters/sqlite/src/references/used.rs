//! When cache content was used last. Reads do not write: uses are gathered here, and written
//! with the next put, which may have to make room, or after a while.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{engine::Tx, session::Session, time::now};

/// How long uses are gathered.
const GATHER: Duration = Duration::from_secs(5);

/// The most uses that are gathered.
const MOST: usize = 1000;

/// The uses of content since they were written last.
#[derive(Debug)]
pub(super) struct Uses {
    gathered: Mutex<(HashMap<i64, i64>, Instant)>,
}

/// Uses on their way into the file.
#[derive(Debug)]
pub(super) struct Taken(HashMap<i64, i64>);

impl Uses {
    pub(super) fn new() -> Self {
        Self {
            gathered: Mutex::new((HashMap::new(), Instant::now())),
        }
    }

    /// Content was used just now. Writes what was gathered when it is time.
    pub(super) fn add(&self, session: &Session, entry: i64) {
        let due = {
            let (gathered, since) = &mut *self.gathered.lock();
            gathered.insert(entry, now());
            gathered.len() >= MOST || since.elapsed() >= GATHER
        };
        if due {
            self.flush(session);
        }
    }

    /// Hands in what was gathered. Nobody waits for it.
    pub(super) fn flush(&self, session: &Session) {
        let taken = self.take();
        if taken.0.is_empty() {
            return;
        }
        let job = session
            .store
            .engine
            .submit(move |tx| taken.write(tx).map_err(crate::engine::EngineError::from));
        // Only a closed file refuses it, and the order of eviction is all that it is for.
        drop(job);
    }

    /// Takes what was gathered, to be written.
    pub(super) fn take(&self) -> Taken {
        let (gathered, since) = &mut *self.gathered.lock();
        *since = Instant::now();
        Taken(std::mem::take(gathered))
    }

    /// Content was used at `at`.
    pub(super) fn mark(tx: &Tx<'_>, entry: i64, at: i64) -> rusqlite::Result<()> {
        tx.prepare_cached("UPDATE ref_content SET used_at = ?2 WHERE entry = ?1 AND used_at < ?2")?
            .execute((entry, at))?;
        Ok(())
    }
}

impl Taken {
    pub(super) fn write(&self, tx: &Tx<'_>) -> rusqlite::Result<()> {
        self.0
            .iter()
            .try_for_each(|(entry, at)| Uses::mark(tx, *entry, *at))
    }
}
