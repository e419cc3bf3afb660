//! Subscriptions without a group.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use statehouse_contracts::{Broadcast, BroadcastEvent, Pattern, Result};
use tokio::sync::Notify;

use crate::gate::{Gate, Look, look};
use crate::queue::accepted::Accepted;
use crate::store::{Space, Store};
use crate::time::{Time, deadline};

/// What a subscription has heard and not yet told. When it is full it loses the oldest.
#[derive(Debug)]
pub(crate) struct Listener {
    capacity: usize,
    heard: Mutex<Heard>,
    bell: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Heard {
    /// How many messages were lost before the first of those here.
    missed: u64,
    messages: VecDeque<Arc<Accepted>>,
    /// Those that are not due yet.
    later: BTreeMap<(Time, u64), Arc<Accepted>>,
}

impl Listener {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            heard: Mutex::default(),
            bell: Arc::default(),
        }
    }

    pub(crate) fn push(&self, accepted: &Arc<Accepted>) {
        let mut heard = self.heard.lock();
        if accepted.message().delay.is_zero() {
            heard.push(accepted.clone(), self.capacity);
        } else if heard.later.len() < self.capacity {
            heard
                .later
                .insert((accepted.due, accepted.seq), accepted.clone());
        } else {
            heard.missed += 1;
        }
        self.bell.notify_one();
    }

    /// When the first delayed message is due.
    fn first_due(&self) -> Time {
        self.heard.lock().first_due()
    }

    /// The next event; else when the first delayed message is due.
    fn next(&self, now: Time) -> std::result::Result<BroadcastEvent, Time> {
        let mut heard = self.heard.lock();
        heard.advance(now, self.capacity);
        if heard.missed > 0 {
            let missed = Some(std::mem::take(&mut heard.missed));
            return Ok(BroadcastEvent::Gap { missed });
        }
        while let Some(accepted) = heard.messages.pop_front() {
            if !accepted.has_expired(now) {
                return Ok(BroadcastEvent::Message(Box::new(accepted.received.clone())));
            }
        }
        Err(heard.first_due())
    }
}

impl Heard {
    fn first_due(&self) -> Time {
        let first = self.later.first_key_value();
        first.map_or(Time::NEVER, |((due, _), _)| *due)
    }

    fn push(&mut self, accepted: Arc<Accepted>, capacity: usize) {
        if self.messages.len() == capacity {
            self.messages.pop_front();
            self.missed += 1;
        }
        self.messages.push_back(accepted);
    }

    fn advance(&mut self, now: Time, capacity: usize) {
        while let Some(first) = self.later.first_entry()
            && first.key().0 <= now
        {
            let accepted = first.remove();
            if !accepted.is_cancelled() {
                self.push(accepted, capacity);
            }
        }
    }
}

/// The handle of a subscription; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) store: Arc<Store>,
    pub(crate) space: Arc<Space>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) pattern: Pattern,
    pub(crate) listener: Arc<Listener>,
    pub(crate) number: usize,
}

#[async_trait]
impl Broadcast for Subscription {
    async fn next(&mut self, wait: Duration) -> Result<Option<BroadcastEvent>> {
        let end = deadline(Instant::now(), wait);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // A delayed message rings no bell when it is due.
            let due = self.listener.first_due();
            let next = || match self.listener.next(self.store.clock.now()) {
                Ok(event) => Ok(Look::Found(Some(event))),
                Err(first) if first < due => Ok(Look::Found(None)),
                Err(_) => Ok(Look::Empty(self.listener.bell.clone())),
            };
            let until_due = due.since(self.store.clock.now());
            match look(&self.gate, left.min(until_due), next).await? {
                Some(Some(event)) => return Ok(Some(event)),
                None if left.is_zero() => return Ok(None),
                _ => {}
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.space.queue.lock().unlisten(&self.pattern, self.number);
    }
}
