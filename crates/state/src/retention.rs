//! Forgets old versions and old changes from time to time.

use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{Prune, Result, StateManager, Trim};
use tokio_util::sync::CancellationToken;

/// What is forgotten, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionOptions {
    /// Which versions and tombstones.
    pub prune: Prune,
    /// Which changes.
    pub trim: Trim,
    /// How often.
    pub every: Duration,
}

/// Applies the retention of one namespace.
#[derive(Debug)]
pub struct Retention {
    state: Arc<dyn StateManager>,
    options: RetentionOptions,
}

impl Retention {
    /// For `state`.
    pub fn new(state: Arc<dyn StateManager>, options: RetentionOptions) -> Self {
        Self { state, options }
    }

    /// Runs until `stop`. A failure is logged and tried again the next time.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.options.every) => {}
            }
            if let Err(error) = self.apply().await {
                tracing::warn!(%error, "retention could not be applied");
            }
        }
    }

    /// Applies it once.
    ///
    /// # Errors
    /// Those of the manager.
    pub async fn apply(&self) -> Result<()> {
        let Prune {
            keep_last,
            max_age,
            tombstones,
            ..
        } = self.options.prune;
        if keep_last.is_some() || max_age.is_some() || tombstones.is_some() {
            let pruned = self.state.prune(self.options.prune.clone()).await?;
            tracing::debug!(pruned.versions, pruned.keys, "pruned");
        }
        if self.options.trim != Trim::default() {
            let changes = self.state.trim(self.options.trim).await?;
            tracing::debug!(changes, "trimmed the change log");
        }
        Ok(())
    }
}
