//! The ends of delays and leases in this process: a task that sleeps until the next one.
//!
//! Every look at the file tells the clock the next time there is, also one that another process
//! has set; who waits for a task is then woken by the commit like by any other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::node;
use crate::{
    session::Session,
    time::{deadline, now},
};

/// No time at all.
const NEVER: i64 = i64::MAX;

/// After a failure, such as another process that keeps the file locked.
const PAUSE: Duration = Duration::from_secs(1);

/// When the next delay or lease ends, as far as it is known.
#[derive(Debug)]
pub(super) struct Clock {
    next: AtomicI64,
    sooner: Notify,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            next: AtomicI64::new(NEVER),
            sooner: Notify::new(),
        }
    }

    /// Something ends at `at`.
    pub(super) fn set(&self, at: i64) {
        if at < self.next.fetch_min(at, Ordering::AcqRel) {
            self.sooner.notify_one();
        }
    }

    /// Sleeps until the next time; it is up to the caller to find out what there is after it.
    async fn strike(&self) {
        loop {
            let next = self.next.load(Ordering::Acquire);
            let left =
                Duration::from_micros(u64::try_from(next.saturating_sub(now())).unwrap_or(0));
            tokio::select! {
                () = self.sooner.notified() => {}
                () = tokio::time::sleep_until(deadline(left)) => {
                    self.next.store(NEVER, Ordering::Release);
                    return;
                }
            }
        }
    }
}

/// Runs a handle's clock until `ended`.
pub(super) fn start(session: &Session, clock: &Arc<Clock>, ended: CancellationToken) {
    let (session, clock) = (session.clone(), Arc::clone(clock));
    clock.set(now());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                () = clock.strike() => {}
            }
            let within = Arc::clone(&clock);
            let ticked = session
                .write("tick", move |tx| node::tick(tx, &within))
                .await;
            if let Err(error) = ticked {
                if session.check_open().is_err() {
                    return;
                }
                tracing::warn!(%error, "leases and delays of tasks could not be handled");
                clock.set(now().saturating_add(crate::time::micros(PAUSE)));
            }
        }
    });
}
