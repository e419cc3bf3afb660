//! Watching state.

use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{Change, Cursor, Glob, Kind, Result, StateManager};
use tokio::time::Instant;

/// Which changes to see.
#[derive(Clone, Debug, Default)]
pub struct WatchFilter {
    /// Only of this kind.
    pub kind: Option<Kind>,
    /// Only of ids that match.
    pub glob: Option<Glob>,
}

impl WatchFilter {
    /// Whether `change` is let through.
    pub fn matches(&self, change: &Change) -> bool {
        self.kind
            .as_ref()
            .is_none_or(|kind| *kind == change.key.kind)
            && self
                .glob
                .as_ref()
                .is_none_or(|glob| glob.matches(change.key.id.as_str()))
    }
}

/// The changes that a filter lets through, each once, in the order of the change log. Keep the
/// [cursor](Watch::cursor) and go on from it later, in any process: nothing is missed.
#[derive(Debug)]
pub struct Watch {
    state: Arc<dyn StateManager>,
    filter: WatchFilter,
    cursor: Cursor,
}

impl Watch {
    /// How many changes are read at once.
    const PAGE: usize = 256;

    /// From `after` on.
    pub fn new(state: Arc<dyn StateManager>, filter: WatchFilter, after: Cursor) -> Self {
        Self {
            state,
            filter,
            cursor: after,
        }
    }

    /// Where to go on from: after everything that `next` has answered.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// The next changes: at once what is there, else waits up to `wait`. None in time is empty.
    ///
    /// # Errors
    /// [`CursorLost`](statehouse_contracts::ErrorKind::CursorLost) when the log was trimmed beyond
    /// the cursor; those of the backend.
    pub async fn next(&mut self, wait: Duration) -> Result<Vec<Change>> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let page = self.state.changes(&self.cursor, Self::PAGE, left).await?;
            let quiet = page.changes.is_empty();
            self.cursor = page.next;
            let seen: Vec<Change> = page
                .changes
                .into_iter()
                .filter(|change| self.filter.matches(change))
                .collect();
            if !seen.is_empty() || (quiet && deadline <= Instant::now()) {
                return Ok(seen);
            }
        }
    }
}
