//! Where jobs wait for the writer.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::{EngineError, job::Job};

/// Sleeping for less than this takes longer than it says.
const SHORTEST_PATIENCE: Duration = Duration::from_micros(20);

/// The jobs handed in and not yet taken.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: Vec<Job>,
    /// The writer sleeps until this many jobs are there; 0 while it does not sleep.
    wanted: usize,
    nudged: bool,
    closed: bool,
}

/// What the writer found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// There are jobs to run.
    Jobs,
    /// Nothing came within the time given, or somebody nudged.
    Nothing,
    /// The inbox is closed and empty.
    Closed,
}

impl Inbox {
    /// Hands in a job.
    pub(super) fn push(&self, job: Job) -> Result<(), EngineError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(EngineError::Closed);
        }
        state.jobs.push(job);
        let wake = state.wanted != 0 && state.jobs.len() >= state.wanted;
        if wake {
            state.wanted = 0;
        }
        drop(state);
        if wake {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Makes a sleeping writer look around.
    pub(super) fn nudge(&self) {
        self.state.lock().nudged = true;
        self.changed.notify_one();
    }

    /// Takes no more jobs; those inside are still run.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_one();
    }

    /// Closes, and drops what is inside; who waits for it learns that the database is closed.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        drop(jobs);
    }

    /// Moves all waiting jobs to the end of `into`; when there are none, sleeps up to `patience`,
    /// or without end.
    pub(super) fn take(&self, into: &mut Vec<Job>, patience: Option<Duration>) -> Taken {
        let mut state = self.state.lock();
        if state.jobs.is_empty() && !state.closed && !state.nudged {
            state.wanted = 1;
            match patience {
                Some(patience) => {
                    self.changed.wait_for(&mut state, patience);
                }
                None => self.changed.wait(&mut state),
            }
            state.wanted = 0;
        }
        state.nudged = false;
        into.append(&mut state.jobs);
        match (into.is_empty(), state.closed) {
            (false, _) => Taken::Jobs,
            (true, true) => Taken::Closed,
            (true, false) => Taken::Nothing,
        }
    }

    /// Waits up to `patience` for the `answered` callers of the last group to join those who wait
    /// already. With nobody else about, a lone caller's next job is not waited for.
    pub(super) fn gather(&self, answered: usize, patience: Duration) {
        if patience < SHORTEST_PATIENCE {
            return;
        }
        let mut state = self.state.lock();
        let expected = answered + state.jobs.len();
        if expected > 1 && !state.closed {
            state.wanted = expected;
            self.changed.wait_for(&mut state, patience);
            state.wanted = 0;
        }
    }
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}
