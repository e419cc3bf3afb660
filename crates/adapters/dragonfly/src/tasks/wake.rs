//! Waking claims that wait: by what scripts publish, and by the clock.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use statehouse_contracts::{Result, StackName};
use tokio::sync::{Notify, OnceCell};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Tasks, script};
use crate::wake::Listener;

/// How many stacks are listened to though nobody waits: who waits again soon finds the bell there.
const SPARE: usize = 64;

/// A deadline that is as good as none.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

/// How much later a timer is looked at: it has surely ended by the server's clock then.
const LATE: Duration = Duration::from_micros(500);

/// The wake-ups of one handle.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    bells: Mutex<HashMap<StackName, Arc<Bell>>>,
    timer: Arc<Timer>,
    timing: OnceCell<DropGuard>,
}

/// Rings for one of those who wait for tasks of a stack: whoever is woken passes it on while there
/// is more.
#[derive(Debug)]
pub(super) struct Bell {
    pub(super) ring: Arc<Notify>,
    _stop: DropGuard,
}

impl Wakes {
    /// The bell of a stack. From now on no wake-up is missed.
    pub(super) async fn bell(&self, tasks: &Arc<Tasks>, stack: &StackName) -> Result<Arc<Bell>> {
        self.timing
            .get_or_try_init(|| keep_time(tasks, Arc::clone(&self.timer)))
            .await?;
        if let Some(bell) = self.bells.lock().get(stack) {
            return Ok(Arc::clone(bell));
        }
        let session = &tasks.session;
        let channel = session.keys.of(script::READY_CHANNEL, stack.as_str());
        let listener = session.listen(&channel).await?;
        let stop = CancellationToken::new();
        let ring = Arc::<Notify>::default();
        let hearing = hear(listener, Arc::clone(&ring));
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled(hearing).await });
        let bell = Arc::new(Bell {
            ring,
            _stop: stop.drop_guard(),
        });
        let mut bells = self.bells.lock();
        if bells.len() >= SPARE {
            bells.retain(|_, bell| Arc::strong_count(bell) > 1);
        }
        Ok(Arc::clone(bells.entry(stack.clone()).or_insert(bell)))
    }

    /// Takes note that a delay or lease ends so many microseconds from now; none does when that is
    /// negative.
    pub(super) fn timer_in(&self, micros: i64) {
        self.timer.set(micros);
    }
}

async fn hear(mut listener: Listener, ring: Arc<Notify>) {
    loop {
        listener.mark();
        ring.notify_one();
        while !matches!(
            listener.wait(Instant::now() + FAR).await,
            Ok(crate::wake::Woken::Up)
        ) {}
    }
}

/// When a delay or lease of the namespace ends next, as far as this process knows.
#[derive(Debug, Default)]
struct Timer {
    due: Mutex<Option<Instant>>,
    moved: Notify,
}

impl Timer {
    fn set(&self, micros: i64) {
        let Ok(micros) = u64::try_from(micros) else {
            return;
        };
        let at = Instant::now() + Duration::from_micros(micros).min(FAR) + LATE;
        let mut due = self.due.lock();
        if due.is_none_or(|known| at < known) {
            *due = Some(at);
            self.moved.notify_one();
        }
    }

    /// Waits until it is due, and forgets it.
    async fn due(&self) {
        loop {
            let due = *self.due.lock();
            let sleep = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => break,
                () = self.moved.notified() => {}
            }
        }
        *self.due.lock() = None;
    }
}

/// Begins to let happen what is due, which rings for who waits for it.
async fn keep_time(tasks: &Arc<Tasks>, timer: Arc<Timer>) -> Result<DropGuard> {
    let channel = tasks.session.keys.one(script::TIMER_CHANNEL);
    let listener = tasks.session.listen(&channel).await?;
    let stop = CancellationToken::new();
    let ticking = tick(Arc::downgrade(tasks), timer, listener);
    let stopped = stop.clone();
    tokio::spawn(async move { stopped.run_until_cancelled(ticking).await });
    Ok(stop.drop_guard())
}

async fn tick(tasks: Weak<Tasks>, timer: Arc<Timer>, mut listener: Listener) {
    loop {
        listener.mark();
        let Some(alive) = tasks.upgrade() else { return };
        match alive.tick().await {
            Ok(next) => timer.set(next),
            Err(error) if alive.session.check_open("claim").is_err() => {
                tracing::trace!(%error, "the handle is closed");
                return;
            }
            Err(error) => {
                tracing::debug!(%error, "delays and leases end later");
                timer.set(RETRY);
            }
        }
        drop(alive);
        tokio::select! {
            () = timer.due() => {}
            _ = listener.wait(Instant::now() + FAR) => {}
        }
    }
}

/// How long after a failure it is tried again, in microseconds.
const RETRY: i64 = 500_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_earliest_time_counts() {
        let timer = Timer::default();
        let start = Instant::now();
        for micros in [5_000_000, 1_000_000, 2_000_000, -1] {
            timer.set(micros);
        }
        timer.due().await;
        assert_eq!(start.elapsed().as_secs(), 1);
        timer.set(3_000_000);
        timer.due().await;
        assert_eq!(start.elapsed().as_secs(), 4);
    }
}
