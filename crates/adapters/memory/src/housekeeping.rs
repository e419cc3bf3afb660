//! What is due is done in time, also where nobody asks: one background task per backend.

use std::sync::{Arc, Weak};
use std::time::Duration;

use statehouse_contracts::{Prune, Trim};
use tokio::time::Instant;

use crate::gate::Gate;
use crate::store::{Alarm, Space, Store};

/// How often retention is looked after.
const ROUND: Duration = Duration::from_secs(1);

/// Starts it. It ends when the store is closed or gone.
pub(crate) fn start(store: &Arc<Store>) {
    let keeper = Keeper {
        store: Arc::downgrade(store),
        gate: store.gate.clone(),
        alarm: store.alarm.clone(),
        next_round: Instant::now() + ROUND,
        next_collection: Instant::now() + store.config.gc_interval,
    };
    tokio::spawn(keeper.run());
}

struct Keeper {
    store: Weak<Store>,
    gate: Arc<Gate>,
    alarm: Arc<Alarm>,
    next_round: Instant,
    next_collection: Instant,
}

impl Keeper {
    async fn run(mut self) {
        let gate = self.gate.clone();
        let mut closed = std::pin::pin!(gate.closed());
        while let Some(due) = self.next_due() {
            tokio::select! {
                () = &mut closed => return,
                () = self.alarm.moved() => {}
                () = tokio::time::sleep_until(due) => self.work().await,
            }
        }
    }

    /// When there is something to do; `None` when the store is gone.
    fn next_due(&self) -> Option<Instant> {
        let store = self.store.upgrade()?;
        let alarm = store.clock.instant(self.alarm.at());
        Some(self.next_round.min(alarm.into()))
    }

    async fn work(&mut self) {
        let Some(store) = self.store.upgrade() else {
            return;
        };
        let now = Instant::now();
        self.alarm.disarm();
        for (_, space) in store.spaces() {
            self.alarm.arm(space.advance(store.clock.now()));
        }
        if self.next_collection <= now {
            self.next_collection = now + store.config.gc_interval;
            for (_, space) in store.spaces() {
                space.contents.lock().collect(store.clock.now());
            }
        }
        if self.next_round <= now {
            self.next_round = now + ROUND;
            for (_, space) in store.spaces() {
                retain(&store, &space).await;
            }
        }
    }
}

/// Forgets what retention does not keep.
async fn retain(store: &Store, space: &Space) {
    let keep_last = Some(store.config.change_log_keep);
    let trim = Trim {
        keep_last,
        max_age: None,
    };
    space.state.lock().log.trim(trim, store.clock.now());
    let Some(keep) = store.config.history_keep else {
        return;
    };
    let prune = Prune {
        keep_last: Some(keep),
        ..Prune::default()
    };
    let mut after = None;
    loop {
        let now = store.clock.now();
        let (_, next) = space.state.lock().prune_step(&prune, after.as_ref(), now);
        if next.is_none() {
            return;
        }
        after = next;
        tokio::task::yield_now().await;
    }
}
