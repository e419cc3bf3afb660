//! Waiting for messages of a group: one of those who wait in this process is woken at a time, by a
//! word from the server or by the clock. Who finds something wakes the next.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use statehouse_contracts::Result;
use tokio::sync::{Notify, OnceCell};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::{Desk, registry::Group};
use crate::time;
use crate::wake::Listener;

/// For how long a bell stays after it was last used: most who wait come back soon.
const KEPT: Duration = Duration::from_secs(60);

/// The bells of a namespace, by the id of their group.
#[derive(Debug, Default)]
pub(super) struct Bells {
    hung: Mutex<HashMap<String, Arc<Hook>>>,
}

/// The place of a bell, which may still be on its way.
#[derive(Debug)]
struct Hook {
    bell: OnceCell<Arc<Bell>>,
    used: Mutex<Instant>,
}

impl Bells {
    /// The bell of `group`. What happens from now on rings it.
    ///
    /// # Errors
    /// `Unavailable` when the server cannot be reached.
    pub(super) async fn of(&self, desk: &Desk, group: &Group) -> Result<Arc<Bell>> {
        let hook = self.hook(&group.id);
        let bell = hook.bell.get_or_try_init(|| async {
            let listener = desk.session.listen(&group.ready_channel()).await?;
            Result::Ok(Bell::hang(listener))
        });
        bell.await.cloned()
    }

    fn hook(&self, id: &str) -> Arc<Hook> {
        let mut hung = self.hung.lock();
        let now = Instant::now();
        // In use while somebody holds it.
        hung.retain(|_, hook| {
            let held = hook
                .bell
                .get()
                .is_some_and(|bell| Arc::strong_count(bell) > 1);
            held || Arc::strong_count(hook) > 1 || *hook.used.lock() + KEPT > now
        });
        let hook = hung.entry(id.to_owned()).or_insert_with(|| {
            Arc::new(Hook {
                bell: OnceCell::new(),
                used: Mutex::new(now),
            })
        });
        *hook.used.lock() = now;
        Arc::clone(hook)
    }
}

/// Rings when something may be ready.
#[derive(Debug)]
pub(super) struct Bell {
    next: Arc<Notify>,
    alarm: Mutex<Option<Alarm>>,
    listening: AbortHandle,
}

/// The time of the next thing that time alone will bring.
#[derive(Debug)]
struct Alarm {
    at: Instant,
    timer: AbortHandle,
}

impl Bell {
    fn hang(listener: Listener) -> Arc<Self> {
        let next = Arc::new(Notify::new());
        let listening = tokio::spawn(pass_on(listener, Arc::clone(&next)));
        Arc::new(Self {
            next,
            alarm: Mutex::default(),
            listening: listening.abort_handle(),
        })
    }

    /// Wakes one who waits, or the next who will.
    pub(super) fn ring(&self) {
        self.next.notify_one();
    }

    /// Waits until it rings for this one.
    pub(super) async fn rings(&self) {
        self.next.notified().await;
    }

    /// Rings in `span`, unless it is to ring earlier anyway.
    pub(super) fn ring_in(&self, span: Duration) {
        let at = time::deadline(span);
        let mut alarm = self.alarm.lock();
        let earlier = alarm
            .as_ref()
            .is_some_and(|alarm| alarm.at <= at && !alarm.timer.is_finished());
        if earlier {
            return;
        }
        let next = Arc::clone(&self.next);
        let timer = tokio::spawn(async move {
            sleep_until(at).await;
            next.notify_one();
        });
        let new = Alarm {
            at,
            timer: timer.abort_handle(),
        };
        if let Some(old) = alarm.replace(new) {
            old.timer.abort();
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.listening.abort();
        if let Some(alarm) = self.alarm.get_mut() {
            alarm.timer.abort();
        }
    }
}

/// Rings for each word from the server.
async fn pass_on(mut listener: Listener, next: Arc<Notify>) {
    loop {
        listener.mark();
        next.notify_one();
        if listener.wait(time::deadline(Duration::MAX)).await.is_err() {
            return;
        }
    }
}
