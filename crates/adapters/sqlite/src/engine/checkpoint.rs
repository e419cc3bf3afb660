//! When the write-ahead log goes back into the database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use rusqlite::Connection;

use super::{EngineError, handle::Shared};

/// Pages in the log at which a checkpoint is made.
const LIMIT: i64 = 1000;

/// Watches the log's size and makes checkpoints.
#[derive(Debug)]
pub(super) struct Checkpointer {
    pages: Arc<AtomicI64>,
}

impl Checkpointer {
    pub(super) fn attach(
        connection: &mut Connection,
        _shared: &Shared,
    ) -> Result<Self, EngineError> {
        let pages = Arc::new(AtomicI64::new(0));
        let seen = Arc::clone(&pages);
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count| {
            seen.store(i64::from(count), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self { pages })
    }

    pub(super) fn after_commit(&mut self, connection: &Connection) {
        if self.pages.load(Ordering::Relaxed) >= LIMIT {
            run(connection, "PRAGMA wal_checkpoint(PASSIVE)");
        }
    }

    pub(super) fn patience(&self) -> Option<Duration> {
        None
    }

    pub(super) fn idle(&mut self, _connection: &Connection) {}

    /// Tries to free the log's space for a disk that is full.
    pub(super) fn make_room(&mut self, connection: &Connection) {
        run(connection, "PRAGMA wal_checkpoint(RESTART)");
    }

    /// Moves everything into the database, for the close.
    pub(super) fn finish(self, connection: &Connection) {
        run(connection, "PRAGMA wal_checkpoint(TRUNCATE)");
    }
}

/// A checkpoint that cannot be made now is made later: what is in the log is durable.
fn run(connection: &Connection, sql: &str) {
    let _ = connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row((), |_| Ok(())));
}
