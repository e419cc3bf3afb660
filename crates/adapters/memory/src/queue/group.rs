//! One group: its messages, and the order in which they come.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;
use statehouse_contracts::{AttemptError, DeadLetter, Expired, GroupName, GroupSpec, Overflow};
use tokio::sync::Notify;

use crate::queue::accepted::Accepted;
use crate::time::Time;

/// How many failed attempts are kept with a message.
const MAX_ERRORS: usize = 10;

/// When something happens to a message by itself: time, then the order sent; group, item.
pub(crate) type Timers = BTreeSet<(Time, u64, usize, usize)>;

/// A message in a group.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) accepted: Arc<Accepted>,
    pub(crate) attempts: u32,
    pub(super) place: Place,
    timer: Option<Time>,
    errors: Vec<AttemptError>,
}

/// Where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Ready,
    /// Behind others of its ordering key.
    Behind,
    Delayed(Time),
    Leased {
        until: Time,
        number: u64,
    },
}

/// The order of ready messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// 0 for the highest priority.
    pub(super) urgency: u8,
    pub(super) due: Time,
    pub(super) seq: u64,
}

/// A group. Only the first message of an ordering key is ready, delayed or leased; the others are
/// behind it.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: GroupName,
    pub(crate) spec: GroupSpec,
    pub(crate) paused: bool,
    /// Rings for one consumer when a message is ready.
    pub(crate) ready_bell: Arc<Notify>,
    /// Rings when a bounded group has room.
    room: Arc<Notify>,
    number: usize,
    pub(super) items: Slab<Item>,
    pub(super) ready: BTreeMap<Rank, usize>,
    pub(super) behind: BTreeMap<(Time, u64), usize>,
    pub(super) keys: HashMap<String, VecDeque<usize>>,
    pub(super) delayed: u64,
    pub(super) leased: u64,
    pub(crate) dead: BTreeMap<u64, DeadLetter>,
    deaths: u64,
    pub(super) expired: u64,
    pub(super) dropped: u64,
}

impl Group {
    pub(crate) fn new(name: GroupName, spec: GroupSpec, number: usize, room: Arc<Notify>) -> Self {
        Self {
            name,
            spec,
            paused: false,
            ready_bell: Arc::default(),
            room,
            number,
            items: Slab::new(),
            ready: BTreeMap::new(),
            behind: BTreeMap::new(),
            keys: HashMap::new(),
            delayed: 0,
            leased: 0,
            dead: BTreeMap::new(),
            deaths: 0,
            expired: 0,
            dropped: 0,
        }
    }

    pub(crate) fn is_full_for(&self, more: u64) -> bool {
        let full = |max| self.items.len() as u64 + more >= max;
        self.spec.max_length.is_some_and(full)
    }

    /// Whether it refuses a message after `more` others.
    pub(crate) fn refuses(&self, more: u64) -> bool {
        self.spec.overflow == Overflow::Reject && self.is_full_for(more)
    }

    pub(crate) fn item(&self, item: usize) -> Option<&Item> {
        self.items.get(item)
    }

    pub(super) fn rank(&self, accepted: &Accepted) -> Rank {
        let level = accepted.message().priority.level();
        Rank {
            urgency: if self.spec.priorities {
                9 - level.min(9)
            } else {
                0
            },
            due: accepted.due,
            seq: accepted.seq,
        }
    }

    pub(super) fn key<'a>(&self, accepted: &'a Accepted) -> Option<&'a str> {
        let key = accepted.message().ordering_key.as_deref();
        key.filter(|_| self.spec.ordering)
    }

    /// Takes a message in; answers its item. A full group drops its oldest ready message first, or
    /// this one when there is none.
    pub(crate) fn add(
        &mut self,
        accepted: Arc<Accepted>,
        timers: &mut Timers,
        now: Time,
    ) -> Option<usize> {
        if self.spec.overflow == Overflow::DropOldest && self.is_full_for(0) {
            self.dropped += 1;
            let oldest = self.oldest_ready()?;
            self.take_out(oldest, timers, now);
        }
        Some(self.insert(accepted, timers, now))
    }

    /// Takes a message in, whatever the bound.
    pub(crate) fn insert(
        &mut self,
        accepted: Arc<Accepted>,
        timers: &mut Timers,
        now: Time,
    ) -> usize {
        let seq = accepted.seq;
        let key = self.key(&accepted).map(str::to_owned);
        let item = self.items.insert(Item {
            accepted,
            attempts: 0,
            place: Place::Behind,
            timer: None,
            errors: Vec::new(),
        });
        let Some(key) = key else {
            self.open(item, timers, now);
            return item;
        };
        let items = &self.items;
        let queue = self.keys.entry(key).or_default();
        let precedes = |other: &usize| items[*other].accepted.seq < seq;
        let at = if queue.back().is_none_or(precedes) {
            queue.len()
        } else {
            // The first may be on its way already; the others go by the order sent.
            queue.partition_point(precedes).max(1)
        };
        queue.insert(at, item);
        if at == 0 {
            self.open(item, timers, now);
        } else {
            let due = self.items[item].accepted.due;
            self.behind.insert((due, seq), item);
            self.arm(item, timers);
        }
        item
    }

    /// Lets a message that nothing precedes be handed out, when it is due.
    fn open(&mut self, item: usize, timers: &mut Timers, now: Time) {
        let due = self.items[item].accepted.due;
        if due > now {
            self.delay(item, due, timers);
        } else {
            self.make_ready(item, timers);
        }
    }

    fn make_ready(&mut self, item: usize, timers: &mut Timers) {
        let rank = self.rank(&self.items[item].accepted);
        self.ready.insert(rank, item);
        self.set(item, Place::Ready, timers);
        self.ready_bell.notify_one();
    }

    fn delay(&mut self, item: usize, until: Time, timers: &mut Timers) {
        self.delayed += 1;
        self.set(item, Place::Delayed(until), timers);
    }

    fn set(&mut self, item: usize, place: Place, timers: &mut Timers) {
        self.items[item].place = place;
        self.arm(item, timers);
    }

    /// Sets the item's timer by where it stands.
    fn arm(&mut self, item: usize, timers: &mut Timers) {
        let known = &mut self.items[item];
        let expires = known.accepted.expires;
        let timer = match known.place {
            Place::Ready | Place::Behind => expires,
            Place::Delayed(until) => Some(expires.map_or(until, |expires| until.min(expires))),
            Place::Leased { until, .. } => Some(until),
        };
        if timer == known.timer {
            return;
        }
        if let Some(old) = known.timer.take() {
            timers.remove(&(old, known.accepted.seq, self.number, item));
        }
        if let Some(new) = timer {
            timers.insert((new, known.accepted.seq, self.number, item));
        }
        known.timer = timer;
    }

    /// What the item's timer, which was taken off the timers, brings about.
    pub(crate) fn ring(&mut self, item: usize, timers: &mut Timers, now: Time) -> Option<u64> {
        let known = self.items.get_mut(item)?;
        known.timer = None;
        match known.place {
            Place::Leased { number, .. } => {
                self.fail(
                    item,
                    "lease expired".to_owned(),
                    Duration::ZERO,
                    timers,
                    now,
                );
                return Some(number);
            }
            _ if known.accepted.has_expired(now) => self.expire(item, timers, now),
            Place::Delayed(_) => {
                self.delayed -= 1;
                self.make_ready(item, timers);
            }
            Place::Ready | Place::Behind => self.arm(item, timers),
        }
        None
    }

    /// Hands out the next ready message under the lease `number`.
    pub(crate) fn hand_out(
        &mut self,
        number: u64,
        until: Time,
        timers: &mut Timers,
    ) -> Option<(usize, &Item)> {
        let (_, item) = self.ready.pop_first()?;
        self.leased += 1;
        self.items[item].attempts += 1;
        self.set(item, Place::Leased { until, number }, timers);
        Some((item, &self.items[item]))
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.paused && !self.ready.is_empty()
    }

    /// Whether the item is leased under this number.
    pub(crate) fn is_leased(&self, item: usize, number: u64) -> bool {
        let place = self.items.get(item).map(|known| known.place);
        matches!(place, Some(Place::Leased { number: current, .. }) if current == number)
    }

    pub(crate) fn extend(&mut self, item: usize, number: u64, until: Time, timers: &mut Timers) {
        self.set(item, Place::Leased { until, number }, timers);
    }

    /// Ends a leased attempt without success.
    pub(crate) fn fail(
        &mut self,
        item: usize,
        error: String,
        delay: Duration,
        timers: &mut Timers,
        now: Time,
    ) {
        let known = &mut self.items[item];
        if known.errors.len() == MAX_ERRORS {
            known.errors.remove(0);
        }
        known.errors.push(AttemptError {
            attempt: known.attempts,
            at: now.timestamp(),
            error,
        });
        let used_up = known.attempts >= self.spec.max_deliveries;
        let expired = known.accepted.has_expired(now);
        if used_up {
            self.bury(item, "max_deliveries", timers, now);
        } else if expired {
            self.expire(item, timers, now);
        } else {
            self.leased -= 1;
            if delay.is_zero() {
                self.make_ready(item, timers);
            } else {
                self.delay(item, now.after(delay), timers);
            }
        }
    }

    fn expire(&mut self, item: usize, timers: &mut Timers, now: Time) {
        match self.spec.expired {
            Expired::DeadLetter => self.bury(item, "expired", timers, now),
            Expired::Drop => {
                self.expired += 1;
                self.take_out(item, timers, now);
            }
        }
    }

    /// Makes it a dead letter.
    pub(crate) fn bury(&mut self, item: usize, reason: &str, timers: &mut Timers, now: Time) {
        let gone = self.take_out(item, timers, now);
        self.deaths += 1;
        let letter = DeadLetter {
            received: gone.accepted.received.clone(),
            reason: reason.to_owned(),
            at: now.timestamp(),
            attempts: gone.attempts,
            errors: gone.errors,
        };
        self.dead.insert(self.deaths, letter);
    }

    /// Removes it; what is behind it comes forward.
    pub(crate) fn take_out(&mut self, item: usize, timers: &mut Timers, now: Time) -> Item {
        let gone = self.items.remove(item);
        if let Some(timer) = gone.timer {
            timers.remove(&(timer, gone.accepted.seq, self.number, item));
        }
        match gone.place {
            Place::Ready => {
                self.ready.remove(&self.rank(&gone.accepted));
            }
            Place::Behind => {
                self.behind.remove(&(gone.accepted.due, gone.accepted.seq));
            }
            Place::Delayed(_) => self.delayed -= 1,
            Place::Leased { .. } => self.leased -= 1,
        }
        if let Some(next) = self.leave_key(item, &gone) {
            let accepted = &self.items[next].accepted;
            self.behind.remove(&(accepted.due, accepted.seq));
            self.open(next, timers, now);
        }
        if self.spec.max_length.is_some() {
            self.room.notify_waiters();
        }
        gone
    }

    /// Takes it out of its key's queue; answers what is first now, if that is another.
    fn leave_key(&mut self, item: usize, gone: &Item) -> Option<usize> {
        let key = self.key(&gone.accepted)?;
        let queue = self.keys.get_mut(key)?;
        if queue.front() != Some(&item) {
            let at = queue.iter().position(|other| *other == item);
            at.and_then(|at| queue.remove(at));
            return None;
        }
        queue.pop_front();
        let next = queue.front().copied();
        if next.is_none() {
            self.keys.remove(key);
        }
        next
    }

    /// Takes all its timers off, before it is deleted. Whoever waits for it looks again.
    pub(crate) fn dissolve(&mut self, timers: &mut Timers) {
        for (number, item) in &self.items {
            if let Some(timer) = item.timer {
                timers.remove(&(timer, item.accepted.seq, self.number, number));
            }
        }
        self.ready_bell.notify_waiters();
        self.room.notify_waiters();
    }
}
