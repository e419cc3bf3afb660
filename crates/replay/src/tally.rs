//! What a replay wrote.

use std::ops::AddAssign;
use std::time::Duration;

use serde::Serialize;

/// Counts of what one replay added. What was there from an earlier replay does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// State records that were new.
    pub states: u64,
    /// Versions of state.
    pub versions: u64,
    /// Events that arrived: one per version, one per step.
    pub events: u64,
    /// Tasks and subtasks.
    pub tasks: u64,
    /// Observations stored by reference.
    pub references: u64,
    /// Bytes written into state.
    pub inline_bytes: u64,
    /// Bytes stored by reference.
    pub reference_bytes: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.states += other.states;
        self.versions += other.versions;
        self.events += other.events;
        self.tasks += other.tasks;
        self.references += other.references;
        self.inline_bytes += other.inline_bytes;
        self.reference_bytes += other.reference_bytes;
    }
}

/// What became of one run, or of one copy of it.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// The run's id in the store.
    pub run: String,
    /// The file it was read from.
    pub file: String,
    /// How many steps it has.
    pub steps: usize,
    /// What was added.
    #[serde(flatten)]
    pub added: Tally,
    /// Why what was read back differs from the input; `None` when it is equal.
    pub difference: Option<String>,
}

/// What became of all.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Each run.
    pub runs: Vec<RunReport>,
    /// Their sum.
    pub total: Tally,
    /// How long writing took.
    pub elapsed: Duration,
    /// The median and the 99th percentile of one durable update; `None` when there was none.
    pub latency: Option<(Duration, Duration)>,
    /// Events that were expected and did not arrive, or arrived out of order.
    pub event_problems: Vec<String>,
}

impl Report {
    /// Whether everything reads back equal, and every event arrived in order.
    pub fn is_right(&self) -> bool {
        self.event_problems.is_empty() && self.runs.iter().all(|run| run.difference.is_none())
    }
}
