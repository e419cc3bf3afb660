//! The pool of read-only connections: one thread per connection, fed from one queue.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{EngineError, EngineOptions, handle::Shared, job::panic_message, open};

/// A read, as it waits for a connection.
type Read = Box<dyn FnOnce(&Connection) + Send>;

/// The reads that wait, and whether more may come.
#[derive(Default)]
pub(super) struct Readers {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    reads: VecDeque<Read>,
    closed: bool,
}

impl Readers {
    /// Runs a read on the next free connection.
    pub(super) async fn run<T, E, F>(&self, read: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<EngineError> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        self.push(Box::new(move |connection| {
            let result = catch_unwind(AssertUnwindSafe(|| read(connection)))
                .unwrap_or_else(|panic| Err(EngineError::Panicked(panic_message(&*panic)).into()));
            // The caller may have gone.
            let _ = reply.send(result);
        }))?;
        result
            .await
            .unwrap_or_else(|_| Err(EngineError::Closed.into()))
    }

    fn push(&self, read: Read) -> Result<(), EngineError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(EngineError::Closed);
        }
        state.reads.push_back(read);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes no more reads; those inside are still run.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.arrived.notify_all();
    }

    fn next(&self) -> Option<Read> {
        let mut state = self.state.lock();
        loop {
            if let Some(read) = state.reads.pop_front() {
                return Some(read);
            }
            if state.closed {
                return None;
            }
            self.arrived.wait(&mut state);
        }
    }
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readers").finish_non_exhaustive()
    }
}

/// Opens the connections and starts their threads.
pub(super) fn start(
    shared: &Arc<Shared>,
    path: &Path,
    options: &EngineOptions,
) -> Result<Vec<JoinHandle<()>>, EngineError> {
    (0..options.readers.max(1))
        .map(|_| {
            let connection = open::reader(path, options)?;
            let shared = Arc::clone(shared);
            thread::Builder::new()
                .name("sqlite-reader".to_owned())
                .spawn(move || {
                    while let Some(read) = shared.readers.next() {
                        read(&connection);
                        abandon_transaction(&connection);
                    }
                })
                .map_err(|error| EngineError::Io {
                    message: error.to_string(),
                    ambiguous: false,
                })
        })
        .collect()
}

/// Ends a snapshot that a panicking read left open; it would hold back checkpoints.
fn abandon_transaction(connection: &Connection) {
    if !connection.is_autocommit() {
        // A failed ROLLBACK leaves no transaction either.
        let _ = connection.execute_batch("ROLLBACK");
    }
}
