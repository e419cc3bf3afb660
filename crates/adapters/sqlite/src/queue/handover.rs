//! Handing messages to calls that wait: a message that arrives while somebody waits is leased in
//! the transaction that accepts it, so that it costs one sync until it is handed over, not two.
//!
//! A call that found nothing parks a slot with the writer. A job that makes messages ready ends
//! with [`wrap_up`], which leases them for parked slots, fills the slots once that is committed,
//! and wakes listeners for what is left.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    ready_channel,
    receive::{self, Batch, Look, Returned},
    registry::Registry,
};
use crate::{
    engine::{Engine, Tx},
    error::Failure,
    time,
};

/// The most listeners that one job wakes for one group.
const MOST_WOKEN: usize = 64;

/// Where a waiting call gets its messages.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) max: usize,
    pub(super) lease: Option<Duration>,
    /// Whether a job has leased messages for it, committed or not.
    served: AtomicBool,
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Debug)]
enum State {
    Waiting,
    Filled(Batch, Instant),
    /// The call is over.
    Over,
    /// The call was over before these came.
    Late(Batch),
}

impl Slot {
    fn is_waiting(&self) -> bool {
        matches!(*self.state.lock(), State::Waiting)
    }

    /// Puts messages in that were leased at `asked` or later.
    fn fill(&self, batch: Batch, asked: Instant) {
        let mut state = self.state.lock();
        *state = match *state {
            State::Waiting => State::Filled(batch, asked),
            _ => State::Late(batch),
        };
        drop(state);
        self.filled.notify_one();
    }

    fn take_late(&self) -> Option<Batch> {
        let mut state = self.state.lock();
        match mem::replace(&mut *state, State::Over) {
            State::Filled(batch, _) | State::Late(batch) => Some(batch),
            State::Waiting | State::Over => None,
        }
    }
}

/// The parked slots of all groups.
#[derive(Debug, Default)]
pub(super) struct Parking {
    slots: HashMap<i64, VecDeque<Arc<Slot>>>,
}

impl Parking {
    /// Parks a slot, once.
    pub(super) fn park(&mut self, group: i64, slot: &Arc<Slot>) {
        let slots = self.slots.entry(group).or_default();
        slots.retain(|other| other.is_waiting() && !Arc::ptr_eq(other, slot));
        slots.push_back(Arc::clone(slot));
    }

    /// Takes a slot back.
    pub(super) fn leave(&mut self, group: i64, slot: &Arc<Slot>) {
        if let Some(slots) = self.slots.get_mut(&group) {
            slots.retain(|other| !Arc::ptr_eq(other, slot));
        }
    }

    /// Forgets a group that is gone.
    pub(super) fn close(&mut self, group: i64) {
        self.slots.remove(&group);
    }

    fn next(&mut self, group: i64) -> Option<Arc<Slot>> {
        let slots = self.slots.get_mut(&group)?;
        while let Some(slot) = slots.pop_front() {
            if slot.is_waiting() {
                return Some(slot);
            }
        }
        self.slots.remove(&group);
        None
    }

    fn put_back(&mut self, group: i64, slot: Arc<Slot>) {
        self.slots.entry(group).or_default().push_front(slot);
    }
}

/// Ends a job that may have made messages ready: they go to those who wait.
///
/// A slot that was taken out for a job that is run again is missing then; its call is woken as a
/// listener instead.
pub(super) fn wrap_up(tx: &Tx<'_>, registry: &mut Registry) -> Result<(), Failure> {
    while !registry.touched.is_empty() {
        let mut touched = mem::take(&mut registry.touched);
        touched.sort_unstable();
        for same in touched.chunk_by(|a, b| a == b) {
            let left = hand_over(tx, registry, same[0], same.len())?;
            for _ in 0..left.min(MOST_WOKEN) {
                tx.notify_one(ready_channel(same[0]));
            }
        }
    }
    Ok(())
}

/// Leases up to `count` messages for those who are parked; says how many are left.
fn hand_over(
    tx: &Tx<'_>,
    registry: &mut Registry,
    group: i64,
    count: usize,
) -> Result<usize, Failure> {
    let Some(group) = registry.group(group) else {
        return Ok(count);
    };
    let mut left = count;
    while left > 0 {
        let Some(slot) = registry.parking.next(group.id) else {
            break;
        };
        match receive::lease(tx, registry, &group, slot.max, slot.lease)? {
            Some(Look::Leased(batch)) => {
                left = left.saturating_sub(batch.messages.len());
                slot.served.store(true, Ordering::Release);
                let asked = begun(tx);
                tx.after_commit(move || slot.fill(batch, asked));
            }
            Some(Look::Nothing { .. }) | None => {
                registry.parking.put_back(group.id, slot);
                break;
            }
        }
    }
    Ok(left)
}

/// A moment that is not after the time of the transaction, by the monotonic clock.
fn begun(tx: &Tx<'_>) -> Instant {
    let now = Instant::now();
    let ago = time::now().saturating_sub(tx.now()).try_into().unwrap_or(0);
    now.checked_sub(Duration::from_micros(ago)).unwrap_or(now)
}

/// A waiting call's side of its slot. Dropping it gives back what came too late, and counts no
/// attempt of that.
#[derive(Debug)]
pub(super) struct Waiting {
    slot: Arc<Slot>,
    engine: Engine,
}

impl Waiting {
    pub(super) fn new(engine: &Engine, max: usize, lease: Option<Duration>) -> Self {
        Self {
            slot: Arc::new(Slot {
                max,
                lease,
                served: AtomicBool::new(false),
                state: Mutex::new(State::Waiting),
                filled: Notify::new(),
            }),
            engine: engine.clone(),
        }
    }

    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// Waits until the slot is filled.
    pub(super) async fn filled(&self) {
        self.slot.filled.notified().await;
    }

    /// What the slot was filled with.
    pub(super) fn take(&self) -> Option<(Batch, Instant)> {
        let mut state = self.slot.state.lock();
        match mem::replace(&mut *state, State::Over) {
            State::Filled(batch, asked) => Some((batch, asked)),
            other => {
                *state = other;
                None
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let filled = self.slot.take_late();
        if filled.is_none() && !self.slot.served.load(Ordering::Acquire) {
            return;
        }
        // The job comes behind the one that leases for the slot, if that is still on its way.
        let slot = Arc::clone(&self.slot);
        let filled = filled.map(|batch| Returned::from(&batch));
        let give_back = move |tx: &Tx<'_>| {
            let late = slot.take_late().map(|batch| Returned::from(&batch));
            for returned in filled.iter().chain(&late) {
                receive::unlease(tx, returned)?;
            }
            Ok::<_, Failure>(())
        };
        // If it fails the leases run out.
        let _ = self.engine.submit(give_back);
    }
}
