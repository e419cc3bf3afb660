//! Waiting for a lock that another process holds.
//!
//! SQLite hands no lock over: whoever looks while it is free gets it. A process under load
//! leaves only short gaps between its commits, so a waiter looks often.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;

/// How long a waiter sleeps between two looks.
const PAUSE: Duration = Duration::from_micros(300);

/// Sleeps until it is worth looking again.
pub(super) fn pause() {
    thread::park_timeout(PAUSE);
}

/// How long a connection waits for a lock, per statement.
#[derive(Debug)]
pub(super) struct Patience {
    micros: Arc<AtomicU64>,
    usual: Duration,
}

impl Patience {
    /// Makes the connection wait up to `usual`.
    pub(super) fn install(connection: &mut Connection, usual: Duration) -> rusqlite::Result<Self> {
        let micros = Arc::new(AtomicU64::new(as_micros(usual)));
        let limit = Arc::clone(&micros);
        let mut begun = Instant::now();
        connection.busy_handler(Some(move |tries| {
            if tries == 0 {
                begun = Instant::now();
            }
            pause();
            as_micros(begun.elapsed()) < limit.load(Ordering::Relaxed)
        }))?;
        Ok(Self { micros, usual })
    }

    /// Runs `work` with another limit.
    pub(super) fn limited(&self, limit: Duration, work: impl FnOnce()) {
        self.micros.store(as_micros(limit), Ordering::Relaxed);
        work();
        self.micros.store(as_micros(self.usual), Ordering::Relaxed);
    }
}

fn as_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
