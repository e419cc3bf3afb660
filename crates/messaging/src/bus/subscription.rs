//! One subscriber: a bounded buffer and who waits at it.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use arc_swap::ArcSwapOption;
use crossbeam_queue::ArrayQueue;
use futures::Stream;
use futures::task::AtomicWaker;
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
    /// Made with the first message: a subscription that hears nothing costs little.
    buffer: OnceLock<ArrayQueue<Held>>,
    waker: AtomicWaker,
    notify: ArcSwapOption<Notify>,
    notifies: AtomicBool,
    closed: AtomicBool,
    /// Whether somebody waits at the buffer.
    parked: AtomicBool,
    /// Messages that were dropped, and those of them that had been in the buffer.
    dropped: AtomicU64,
    displaced: AtomicU64,
    /// Messages that were taken out of the buffer, and those of them that had expired.
    taken: AtomicU64,
    expired: AtomicU64,
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
            buffer: OnceLock::new(),
            waker: AtomicWaker::new(),
            notify: ArcSwapOption::empty(),
            notifies: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            displaced: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            expired: AtomicU64::new(0),
        }
    }

    /// Takes a message, or not; never waits.
    pub(super) fn push(&self, message: &Arc<Message>, expires_at: u64) -> Pushed {
        if self.closed.load(Ordering::Relaxed) || !self.hears(message) {
            return Pushed::default();
        }
        let buffer = self.buffer.get_or_init(|| ArrayQueue::new(self.capacity));
        let held = Held {
            message: Arc::clone(message),
            expires_at,
        };
        let pushed = match self.overflow {
            BusOverflow::DropNewest => {
                let delivered = buffer.push(held).is_ok();
                Pushed {
                    delivered,
                    dropped: !delivered,
                }
            }
            BusOverflow::DropOldest => Pushed {
                delivered: true,
                dropped: buffer.force_push(held).is_some(),
            },
        };
        if pushed.dropped {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if pushed.delivered {
            if pushed.dropped {
                self.displaced.fetch_add(1, Ordering::Relaxed);
            }
            self.wake();
        }
        pushed
    }

    pub(super) fn hears(&self, message: &Message) -> bool {
        self.everything || self.filter.matches(message)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn set_notify(&self, notify: Option<Arc<Notify>>) {
        self.notifies.store(notify.is_some(), Ordering::Release);
        self.notify.store(notify);
    }

    pub(super) fn info(&self) -> SubscriptionInfo {
        // What came in is what went out and what is there: publishing need not count it.
        let waiting = self.buffer.get().map_or(0, ArrayQueue::len);
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

    fn wake(&self) {
        // Either this sees who has parked, or who parks sees what was pushed before.
        fence(Ordering::SeqCst);
        if self.parked.load(Ordering::Relaxed) && self.parked.swap(false, Ordering::AcqRel) {
            self.waker.wake();
        }
        if self.notifies.load(Ordering::Acquire)
            && let Some(notify) = &*self.notify.load()
        {
            notify.notify_one();
        }
    }

    /// The next message that has not expired.
    fn pop(&self, now: impl Fn() -> u64) -> Option<Arc<Message>> {
        let buffer = self.buffer.get()?;
        loop {
            let held = buffer.pop()?;
            self.taken.fetch_add(1, Ordering::Relaxed);
            if held.expires_at == u64::MAX || held.expires_at > now() {
                return Some(held.message);
            }
            self.expired.fetch_add(1, Ordering::Relaxed);
        }
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
    pub(super) subscriber: Arc<Subscriber>,
    pub(super) bus: Bus,
}

impl Subscription {
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
        self.subscriber.pop(|| self.bus.now())
    }

    fn poll_recv(&mut self, context: &Context<'_>) -> Poll<Option<Arc<Message>>> {
        if let Some(message) = self.try_recv() {
            return Poll::Ready(Some(message));
        }
        self.subscriber.waker.register(context.waker());
        self.subscriber.parked.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        // Read before looking again: what was pushed before the close is found then.
        let closed = self.subscriber.closed.load(Ordering::Acquire);
        match self.try_recv() {
            Some(message) => Poll::Ready(Some(message)),
            None if closed => Poll::Ready(None),
            None => Poll::Pending,
        }
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
