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
    /// Whether a job leases messages for it or has done so, committed or not.
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
        if !slot.is_served() {
            slots.push_back(Arc::clone(slot));
        }
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
            if slot.serve() {
                return Some(slot);
            }
        }
        self.slots.remove(&group);
        None
    }

    /// Takes back a slot for which nothing was leased.
    fn put_back(&mut self, group: i64, slot: Arc<Slot>) {
        slot.served.store(false, Ordering::Release);
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use statehouse_contracts::{GroupName, GroupSpec, Message, Pattern, Payload, Topic};

    use super::super::{groups, prepare::Prepared, registry, send};
    use super::*;
    use crate::{
        engine::{EngineOptions, Receipt},
        schema::SCHEMA,
    };

    const NS: i64 = 1;

    fn name() -> GroupName {
        GroupName::new("g").unwrap()
    }

    async fn open(folder: &tempfile::TempDir) -> Engine {
        let path = folder.path().join("a.db");
        let engine = Engine::open(path, EngineOptions::default(), SCHEMA).await;
        let engine = engine.unwrap();
        let spec = GroupSpec::new(Pattern::ALL);
        let declared = engine.write(move |tx| groups::declare(tx, NS, &name(), &spec));
        let declared: Result<_, Failure> = declared.await;
        declared.unwrap();
        engine
    }

    /// Keeps the writer busy until the answer is dropped: what is submitted meanwhile is one group.
    fn hold(engine: &Engine) -> mpsc::Sender<()> {
        let (busy, go_on) = mpsc::channel::<()>();
        let (begun, is_busy) = mpsc::channel::<()>();
        let job = move |_: &Tx<'_>| {
            let _ = begun.send(());
            let _ = go_on.recv();
            Ok::<_, Failure>(())
        };
        drop(engine.submit(job).unwrap());
        is_busy.recv().unwrap();
        busy
    }

    fn submit_send(engine: &Engine) -> Receipt<(), Failure> {
        let message = Message::new(Topic::new("t").unwrap(), Payload::text("x"));
        let prepared = Prepared::new(&message).unwrap();
        let rules = send::Rules {
            ns: NS,
            require_route: false,
            window: 1_000_000,
        };
        let job = move |tx: &Tx<'_>| send::take_in(tx, rules, [&prepared].into_iter()).map(drop);
        engine.submit(job).unwrap()
    }

    fn submit_look(engine: &Engine, waiting: &Waiting) -> Receipt<(), Failure> {
        let slot = Arc::clone(waiting.slot());
        let wanted = statehouse_contracts::Receive::new(1, Duration::ZERO);
        let job = move |tx: &Tx<'_>| {
            let found = receive::look(tx, NS, &name(), wanted, Some(&slot))?;
            assert!(matches!(found, Some(Look::Nothing { .. })));
            Ok(())
        };
        engine.submit(job).unwrap()
    }

    fn delayed(delay: Duration) -> Prepared {
        let message = Message {
            delay,
            ..Message::new(Topic::new("t").unwrap(), Payload::text("x"))
        };
        Prepared::new(&message).unwrap()
    }

    #[tokio::test]
    async fn a_job_that_fails_keeps_no_later_one_from_waking() {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(&folder).await;
        let waiting = Waiting::new(&engine, 1, None);
        submit_look(&engine, &waiting).await.unwrap();
        let mut listener = engine.listen(&[ready_channel(1)]);
        let rules = send::Rules {
            ns: NS,
            require_route: false,
            window: 1_000_000,
        };
        let sooner = delayed(Duration::from_secs(60));
        let failed = engine.write(move |tx| {
            send::take_in(tx, rules, [&sooner].into_iter())?;
            let error = statehouse_contracts::Error::internal("on purpose");
            Err::<(), _>(Failure::from(error))
        });
        assert!(failed.await.is_err());
        let later = delayed(Duration::from_secs(120));
        let sent = engine.write(move |tx| send::take_in(tx, rules, [&later].into_iter()).map(drop));
        sent.await.unwrap();
        let soon = tokio::time::Instant::now() + Duration::from_secs(2);
        let woken = listener.wait(soon).await.unwrap();
        assert_eq!(woken, crate::engine::Woken::Notified);
    }

    async fn counts(engine: &Engine) -> (u64, u64) {
        let counted = engine.write(|tx| {
            let registry = registry::fresh(tx)?;
            let group = registry.borrow().named(NS, &name()).unwrap();
            Ok(super::super::admin::counts(tx, &group)?)
        });
        let counts: Result<statehouse_contracts::Counts, Failure> = counted.await;
        let counts = counts.unwrap();
        (counts.ready, counts.in_flight)
    }

    #[tokio::test]
    async fn a_call_that_looks_again_while_it_is_served_is_served_once() {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(&folder).await;
        let waiting = Waiting::new(&engine, 1, None);
        submit_look(&engine, &waiting).await.unwrap();
        let busy = hold(&engine);
        let first = submit_send(&engine);
        let again = submit_look(&engine, &waiting);
        let second = submit_send(&engine);
        drop(busy);
        first.await.unwrap();
        again.await.unwrap();
        second.await.unwrap();
        let (batch, _) = waiting.take().expect("the first message is there");
        assert_eq!(batch.messages.len(), 1);
        assert_eq!(counts(&engine).await, (1, 1));
    }

    #[tokio::test]
    async fn a_call_that_ends_while_it_is_served_gives_back() {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(&folder).await;
        submit_send(&engine).await.unwrap();
        let mut waiting = Some(Waiting::new(&engine, 1, None));
        let lease = engine.write(move |tx| {
            let mut parking = Parking::default();
            parking.park(1, waiting.as_ref().unwrap().slot());
            let slot = parking.next(1).unwrap();
            // The call ends before the messages are leased for it.
            waiting = None;
            let registry = registry::fresh(tx)?;
            let registry = &mut *registry.borrow_mut();
            let group = registry.named(NS, &name()).unwrap();
            if let Some(Look::Leased(batch)) = receive::lease(tx, registry, &group, 1, None)? {
                tx.after_commit(move || slot.fill(batch, Instant::now()));
            }
            Ok::<_, Failure>(())
        });
        lease.await.unwrap();
        assert_eq!(counts(&engine).await, (1, 0));
    }
}
