//! Waiting for a lock that another process holds.
//!
//! SQLite hands no lock over: whoever looks while it is free gets it. A process under load
//! leaves only short gaps between its commits, so a waiter looks often.

use std::{
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

/// Makes the connection wait for locks, in all up to `timeout` per statement.
pub(super) fn wait_up_to(connection: &mut Connection, timeout: Duration) -> rusqlite::Result<()> {
    let mut begun = Instant::now();
    connection.busy_handler(Some(move |tries| {
        if tries == 0 {
            begun = Instant::now();
        }
        pause();
        begun.elapsed() < timeout
    }))
}
