//! The work between open and close that nobody asked for: expiry, retention, garbage.
//!
//! One task per backend runs the chores of all roles. A chore is a short job, so that callers
//! are never held up by much; one with more to do says so and runs again.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    config::Config,
    engine::{EngineError, Tx},
    error::Failure,
    session::Store,
};

/// Whether a chore has done all there was to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All of it, for now.
    Done,
    /// There may be more: run it again soon.
    More,
}

impl Progress {
    /// Of a run that may take `step` rows and took `rows`.
    pub(crate) fn after(rows: usize, step: i64) -> Self {
        match i64::try_from(rows) {
            Ok(rows) if rows < step => Self::Done,
            _ => Self::More,
        }
    }
}

/// One role's regular work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chore {
    /// Its name, for the log.
    pub(crate) name: &'static str,
    /// How long from one run to the next.
    pub(crate) every: fn(&Config) -> Duration,
    /// A short job: at most a few hundred rows.
    pub(crate) run: fn(&Tx<'_>, &Config) -> Result<Progress, Failure>,
}

/// The chores of all roles.
fn chores() -> impl Iterator<Item = Chore> {
    [
        crate::state::CHORES,
        crate::queue::CHORES,
        crate::tasks::CHORES,
        crate::references::CHORES,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// The longest sleep, so that the end of the backend is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Runs the chores until the backend is closed or gone.
pub(crate) fn start(store: &Arc<Store>) {
    let now = Instant::now();
    let plan: Vec<_> = chores()
        .map(|chore| (now + (chore.every)(&store.config), chore))
        .collect();
    tokio::spawn(keep_house(
        Arc::downgrade(store),
        store.closing.clone(),
        plan,
    ));
}

async fn keep_house(
    store: Weak<Store>,
    closing: tokio_util::sync::CancellationToken,
    mut plan: Vec<(Instant, Chore)>,
) {
    loop {
        let longest = Instant::now() + LONGEST_SLEEP;
        let next = plan.iter().map(|(due, _)| *due).min().unwrap_or(longest);
        tokio::select! {
            () = closing.cancelled() => return,
            () = tokio::time::sleep_until(next.min(longest)) => {}
        }
        let Some(store) = store.upgrade() else { return };
        for (due, chore) in &mut plan {
            if *due <= Instant::now() {
                run(&store, *chore).await;
                *due = Instant::now() + (chore.every)(&store.config);
            }
        }
    }
}

/// Runs one chore until it is done or fails; a failure is tried again at its next time.
async fn run(store: &Arc<Store>, chore: Chore) {
    loop {
        let within = Arc::clone(store);
        let done = store
            .engine
            .write(move |tx| (chore.run)(tx, &within.config))
            .await;
        match done {
            Ok(Progress::More) => tokio::task::yield_now().await,
            Ok(Progress::Done) | Err(Failure::Engine(EngineError::Closed)) => return,
            Err(failure) => {
                let error = failure.of("housekeeping");
                tracing::warn!(chore = chore.name, %error, "a chore failed");
                return;
            }
        }
    }
}
