//! One subscriber: a bounded buffer and who waits at it.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use arc_swap::ArcSwapOption;
use futures::Stream;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use statehouse_contracts::Message;
use tokio::sync::Notify;

use super::{Bus, BusFilter, BusOverflow, BusPattern};

/// The name of a subscription, good on the bus that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub(super) u64);

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sub-{}", self.0)
    }
}

/// A subscription as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionInfo {
    /// Its name.
    pub id: SubscriptionId,
    /// Who listens.
    pub agent: String,
    /// What it hears.
    pub pattern: BusPattern,
    /// What of that it lets through.
    pub filter: BusFilter,
    /// How many messages it holds at most.
    pub buffer: usize,
    /// How many it holds now.
    pub waiting: usize,
    /// Messages that were put into its buffer.
    pub delivered: u64,
    /// Messages that were dropped because it was full.
    pub dropped: u64,
    /// Messages that expired in its buffer.
    pub expired: u64,
}

/// A message in a buffer.
#[derive(Debug)]
struct Held {
    message: Arc<Message>,
    /// By the bus's clock.
    expires_at: u64,
}

/// What became of a message for one subscriber.
#[derive(Clone, Copy, Default)]
pub(super) struct Pushed {
    pub(super) delivered: bool,
    pub(super) dropped: bool,
}

pub(super) struct Subscriber {
    pub(super) id: SubscriptionId,
    pub(super) agent: String,
    pub(super) pattern: BusPattern,
    filter: BusFilter,
    everything: bool,
    overflow: BusOverflow,
    capacity: usize,
    /// Held for a push or a swap, never longer.
    buffer: Mutex<Buffer>,
    /// Messages that the subscription has taken out of the buffer, but not handed out. They count
    /// against the capacity. Written by the subscription only.
    batched: AtomicUsize,
    waker: AtomicWaker,
    notify: ArcSwapOption<Notify>,
    notifies: AtomicBool,
    closed: AtomicBool,
    /// Messages that were dropped, and those of them that had been in the buffer.
    dropped: AtomicU64,
    displaced: AtomicU64,
    /// Messages that left the buffer for good, and those of them that had expired.
    taken: AtomicU64,
    expired: AtomicU64,
}

/// Messages that wait. Empty ones take no memory.
#[derive(Default)]
struct Buffer {
    held: VecDeque<Held>,
    /// Whether somebody waits for the next.
    parked: bool,
}

/// What was found in the buffer.
enum Refill {
    Some,
    None,
    End,
}

impl Subscriber {
    pub(super) fn new(
        id: SubscriptionId,
        agent: String,
        pattern: BusPattern,
        filter: BusFilter,
        capacity: usize,
        overflow: BusOverflow,
    ) -> Self {
        Self {
            id,
            agent,
            pattern,
            everything: filter == BusFilter::default(),
            filter,
            overflow,
            capacity,
            buffer: Mutex::default(),
            batched: AtomicUsize::new(0),
            waker: AtomicWaker::new(),
            notify: ArcSwapOption::empty(),
            notifies: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            displaced: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            expired: AtomicU64::new(0),
        }
    }

    /// Takes a message that it hears, or not; never waits for room.
    pub(super) fn push(&self, message: Arc<Message>, expires_at: u64) -> Pushed {
        let mut buffer = self.buffer.lock();
        let waiting = buffer.held.len() + self.batched.load(Ordering::Relaxed);
        let full = waiting >= self.capacity;
        if full {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            if self.overflow == BusOverflow::DropNewest {
                return Pushed {
                    delivered: false,
                    dropped: true,
                };
            }
            self.displaced.fetch_add(1, Ordering::Relaxed);
            buffer.held.pop_front();
        }
        buffer.held.push_back(Held {
            message,
            expires_at,
        });
        let parked = std::mem::take(&mut buffer.parked);
        drop(buffer);
        if parked {
            self.waker.wake();
        }
        self.signal();
        Pushed {
            delivered: true,
            dropped: full,
        }
    }

    pub(super) fn hears(&self, message: &Message) -> bool {
        !self.closed.load(Ordering::Relaxed) && (self.everything || self.filter.matches(message))
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let parked = std::mem::take(&mut self.buffer.lock().parked);
        if parked {
            self.waker.wake();
        }
        self.signal();
    }

    pub(super) fn set_notify(&self, notify: Option<Arc<Notify>>) {
        self.notifies.store(notify.is_some(), Ordering::Release);
        self.notify.store(notify);
    }

    pub(super) fn info(&self) -> SubscriptionInfo {
        // What came in is what went out and what is there: publishing need not count it.
        let waiting = self.buffer.lock().held.len() + self.batched.load(Ordering::Relaxed);
        let gone = [&self.taken, &self.displaced].map(|gone| gone.load(Ordering::Relaxed));
        SubscriptionInfo {
            id: self.id,
            agent: self.agent.clone(),
            pattern: self.pattern.clone(),
            filter: self.filter.clone(),
            buffer: self.capacity,
            waiting,
            delivered: gone.into_iter().sum::<u64>() + waiting as u64,
            dropped: self.dropped.load(Ordering::Relaxed),
            expired: self.expired.load(Ordering::Relaxed),
        }
    }

    fn signal(&self) {
        if self.notifies.load(Ordering::Acquire)
            && let Some(notify) = &*self.notify.load()
        {
            notify.notify_one();
        }
    }

    /// Takes what waits into `batch`, which is empty: everything at once, or one by one where a
    /// full buffer drops its oldest. When there is nothing, and with `park`, the next message, or
    /// the end, wakes who registered.
    fn refill(&self, batch: &mut VecDeque<Held>, park: bool) -> Refill {
        let mut buffer = self.buffer.lock();
        match self.overflow {
            BusOverflow::DropNewest => {
                std::mem::swap(&mut buffer.held, batch);
                self.batched.store(batch.len(), Ordering::Relaxed);
            }
            // It is handed out at once, so it counts no more.
            BusOverflow::DropOldest => batch.extend(buffer.held.pop_front()),
        }
        buffer.parked = park && batch.is_empty();
        // With the lock held: who closes now finds who has parked, or has closed before this.
        match (batch.is_empty(), self.closed.load(Ordering::Acquire)) {
            (false, _) => Refill::Some,
            (true, false) => Refill::None,
            (true, true) => Refill::End,
        }
    }

    /// The next message of `batch` that has not expired.
    fn next_of(&self, batch: &mut VecDeque<Held>, now: impl Fn() -> u64) -> Option<Arc<Message>> {
        while let Some(held) = batch.pop_front() {
            self.batched.store(batch.len(), Ordering::Relaxed);
            let taken = self.taken.load(Ordering::Relaxed);
            // There is one subscription, so nobody else counts.
            self.taken.store(taken + 1, Ordering::Relaxed);
            if held.expires_at == u64::MAX || held.expires_at > now() {
                return Some(held.message);
            }
            self.expired.fetch_add(1, Ordering::Relaxed);
        }
        None
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.info(), f)
    }
}

/// Hears messages until it is dropped, unsubscribed, or its bus is closed.
///
/// As a [`Stream`] it ends when it has handed out what was in its buffer then.
#[derive(Debug)]
pub struct Subscription {
    subscriber: Arc<Subscriber>,
    bus: Bus,
    batch: VecDeque<Held>,
}

impl Subscription {
    pub(super) fn new(subscriber: Arc<Subscriber>, bus: Bus) -> Self {
        Self {
            subscriber,
            bus,
            batch: VecDeque::new(),
        }
    }

    /// Its name.
    pub fn id(&self) -> SubscriptionId {
        self.subscriber.id
    }

    /// How it stands.
    pub fn info(&self) -> SubscriptionInfo {
        self.subscriber.info()
    }

    /// The next message; waits for it. `None` when there will be no more. Dropping the future
    /// loses nothing.
    pub async fn recv(&mut self) -> Option<Arc<Message>> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }

    /// The next message, if there is one.
    pub fn try_recv(&mut self) -> Option<Arc<Message>> {
        match self.take(false) {
            Poll::Ready(message) => message,
            Poll::Pending => None,
        }
    }

    /// The next message; `None` at the end.
    fn take(&mut self, park: bool) -> Poll<Option<Arc<Message>>> {
        loop {
            if let Some(message) = self.next_of_batch() {
                return Poll::Ready(Some(message));
            }
            match self.subscriber.refill(&mut self.batch, park) {
                Refill::Some => {}
                Refill::None => return Poll::Pending,
                Refill::End => return Poll::Ready(None),
            }
        }
    }

    fn next_of_batch(&mut self) -> Option<Arc<Message>> {
        let Self {
            subscriber,
            bus,
            batch,
        } = self;
        subscriber.next_of(batch, || bus.now())
    }

    fn poll_recv(&mut self, context: &Context<'_>) -> Poll<Option<Arc<Message>>> {
        if let Some(message) = self.next_of_batch() {
            return Poll::Ready(Some(message));
        }
        self.subscriber.waker.register(context.waker());
        self.take(true)
    }
}

impl Stream for Subscription {
    type Item = Arc<Message>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Arc<Message>>> {
        self.get_mut().poll_recv(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.bus.forget(&self.subscriber);
    }
}
