//! Where a call that receives gets its messages: a slot that the writer fills.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::receive::{self, Batch, Returned};
use crate::{
    engine::{Engine, Tx},
    error::Failure,
};

/// Where one call gets its messages.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) max: usize,
    pub(super) lease: Option<Duration>,
    /// Whether it stays parked when there is nothing.
    stays: bool,
    /// When to ask again, see [`Nothing`].
    next: AtomicI64,
    /// Whether messages are leased for it or were, committed or not.
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

/// What is said to a call that gets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nothing {
    /// There is nothing until then, unless something happens before.
    Until(i64),
    /// There is nothing unless something happens.
    Yet,
    /// It was not looked to the end: ask again.
    Known,
}

impl Nothing {
    const YET: i64 = i64::MAX;
    const KNOWN: i64 = i64::MIN;

    fn code(self) -> i64 {
        match self {
            Self::Until(at) => at,
            Self::Yet => Self::YET,
            Self::Known => Self::KNOWN,
        }
    }

    fn of(code: i64) -> Self {
        match code {
            Self::YET => Self::Yet,
            Self::KNOWN => Self::Known,
            at => Self::Until(at),
        }
    }
}

impl Slot {
    fn is_waiting(&self) -> bool {
        matches!(*self.state.lock(), State::Waiting)
    }

    fn is_served(&self) -> bool {
        self.served.load(Ordering::Acquire)
    }

    /// Begins to serve a call that still waits, once: a second batch would push out the first. A
    /// call that ends from now on sees that messages may be on their way.
    fn serve(&self) -> bool {
        let state = self.state.lock();
        matches!(*state, State::Waiting) && !self.served.swap(true, Ordering::AcqRel)
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

/// A slot that messages are leased for. Unless it is filled, because there are none or because the
/// lease is taken back, it goes back to where it was parked.
#[derive(Debug)]
pub(super) struct Serving {
    slot: Arc<Slot>,
    group: i64,
    unfilled: Option<Unfilled>,
}

type Unfilled = Arc<Mutex<Vec<(i64, Arc<Slot>)>>>;

impl Serving {
    pub(super) fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Hands messages over that were leased at `asked` or later.
    pub(super) fn fill(mut self, batch: Batch, asked: Instant) {
        self.unfilled = None;
        self.slot.fill(batch, asked);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(unfilled) = self.unfilled.take() {
            self.slot.served.store(false, Ordering::Release);
            unfilled.lock().push((self.group, Arc::clone(&self.slot)));
        }
    }
}

/// The slots that wait for messages, by group, those who came first in front.
#[derive(Debug, Default)]
pub(super) struct Parking {
    slots: HashMap<i64, VecDeque<Arc<Slot>>>,
    /// Those who ask in this transaction.
    asking: HashMap<i64, Vec<Arc<Slot>>>,
    /// Those who were served and not filled.
    unfilled: Unfilled,
}

impl Parking {
    /// Begins with other jobs.
    pub(super) fn begin(&mut self) {
        self.asking.clear();
        self.take_unfilled();
    }

    fn take_unfilled(&mut self) {
        let unfilled = mem::take(&mut *self.unfilled.lock());
        for (group, slot) in unfilled.into_iter().rev() {
            if slot.is_waiting() {
                self.slots.entry(group).or_default().push_front(slot);
            }
        }
    }

    /// Parks a slot, once, to be served at the end of the transaction or later.
    pub(super) fn park(&mut self, group: i64, slot: &Arc<Slot>) {
        let slots = self.slots.entry(group).or_default();
        slots.retain(|other| other.is_waiting() && !Arc::ptr_eq(other, slot));
        if !slot.is_served() {
            slots.push_back(Arc::clone(slot));
            let asking = self.asking.entry(group).or_default();
            asking.push(Arc::clone(slot));
        }
    }

    /// Tells those who ask in this transaction that there is nothing for them; those who do not
    /// wait leave.
    pub(super) fn answer(&mut self, group: i64, nothing: Nothing) {
        self.take_unfilled();
        for slot in self.asking.remove(&group).into_iter().flatten() {
            slot.next.store(nothing.code(), Ordering::Release);
            if !slot.stays
                && let Some(slots) = self.slots.get_mut(&group)
            {
                slots.retain(|other| !Arc::ptr_eq(other, &slot));
            }
        }
    }

    /// Forgets a group that is gone.
    pub(super) fn close(&mut self, group: i64) {
        self.slots.remove(&group);
    }

    /// Takes the next slot to be served.
    pub(super) fn next(&mut self, group: i64) -> Option<Serving> {
        let slots = self.slots.get_mut(&group)?;
        while let Some(slot) = slots.pop_front() {
            if slot.serve() {
                return Some(Serving {
                    slot,
                    group,
                    unfilled: Some(Arc::clone(&self.unfilled)),
                });
            }
        }
        self.slots.remove(&group);
        None
    }
}

/// A call's side of its slot. Dropping it gives back what came too late, and counts no attempt of
/// that.
#[derive(Debug)]
pub(super) struct Waiting {
    slot: Arc<Slot>,
    engine: Engine,
}

impl Waiting {
    /// A slot for up to `max` messages, which stays parked if it is to wait for them.
    pub(super) fn new(engine: &Engine, max: usize, lease: Option<Duration>, stays: bool) -> Self {
        Self {
            slot: Arc::new(Slot {
                max,
                lease,
                stays,
                next: AtomicI64::new(Nothing::YET),
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

    /// What was said when nothing was found.
    pub(super) fn nothing(&self) -> Nothing {
        Nothing::of(self.slot.next.load(Ordering::Acquire))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let filled = self.slot.take_late();
        if filled.is_none() && !self.slot.is_served() {
            return;
        }
        // The job comes behind the one that leases for the slot, if that is still on its way.
        let slot = Arc::clone(&self.slot);
        let mut returned: Vec<Returned> = filled.iter().map(Returned::from).collect();
        let give_back = move |tx: &Tx<'_>| {
            // Kept, since the job may run a second time.
            returned.extend(slot.take_late().iter().map(Returned::from));
            for batch in &returned {
                receive::unlease(tx, batch)?;
            }
            Ok::<_, Failure>(())
        };
        // If it fails the leases run out.
        let _ = self.engine.submit(give_back);
    }
}
