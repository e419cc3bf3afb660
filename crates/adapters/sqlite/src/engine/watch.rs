//! Wake-ups: a commit tells the channels it touched, and who listens to one of them looks again.
//!
//! A wake-up carries nothing and may be spurious; it is never lost between registering and
//! waiting. Where one listener is enough (one message, many idle consumers), one is woken; a
//! listener that goes away after that wakes the next, so that a caller who gave up takes no
//! wake-up with him. Commits of other processes cannot be told apart, so they wake every listener;
//! the writer looks for them only while somebody waits.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::{EngineError, handle::Handle};

/// What a commit can touch and a listener can wait for, such as the ready messages of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(u64);

impl Channel {
    /// The channel of a key, for example `Channel::of(&("ready", group_id))`. Two keys with the
    /// same hash share a channel, which costs a spurious wake-up and nothing else.
    pub fn of<K: Hash + ?Sized>(key: &K) -> Self {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// A commit touched a channel, or another process committed something.
    Notified,
    /// The deadline passed.
    Elapsed,
}

/// The wake-up that a listener has not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Pending {
    None,
    /// Everybody was woken.
    Shared,
    /// This listener alone was.
    Alone,
}

/// How a listener is reached.
#[derive(Debug)]
struct Waker {
    notify: Notify,
    /// A [`Pending`], as a number.
    pending: AtomicU8,
}

impl Waker {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            notify: Notify::new(),
            pending: AtomicU8::new(Pending::None as u8),
        })
    }

    fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Acquire) != Pending::None as u8
    }

    fn wake(&self, how: Pending) {
        // `Alone` stays: the next in line depends on it.
        self.pending.fetch_max(how as u8, Ordering::AcqRel);
        self.notify.notify_one();
    }

    /// Takes the wake-up; true if it was for this listener alone.
    fn answer(&self) -> bool {
        self.pending.swap(Pending::None as u8, Ordering::AcqRel) == Pending::Alone as u8
    }
}

/// Who listens to what.
#[derive(Debug, Default)]
pub(super) struct Hub {
    listeners: Mutex<HashMap<Channel, VecDeque<Arc<Waker>>>>,
    waiting: AtomicUsize,
}

impl Hub {
    fn register(&self, channels: &[Channel], waker: &Arc<Waker>) {
        let mut listeners = self.listeners.lock();
        for channel in channels {
            listeners
                .entry(*channel)
                .or_default()
                .push_back(Arc::clone(waker));
        }
    }

    fn unregister(&self, channels: &[Channel], waker: &Arc<Waker>) {
        let mut listeners = self.listeners.lock();
        for channel in channels {
            let Some(wakers) = listeners.get_mut(channel) else {
                continue;
            };
            wakers.retain(|other| !Arc::ptr_eq(other, waker));
            if wakers.is_empty() {
                listeners.remove(channel);
            }
        }
    }

    /// Wakes all listeners of the channels in `all`, and one for each mention in `one`.
    pub(super) fn wake(&self, all: &[Channel], one: &[Channel]) {
        if all.is_empty() && one.is_empty() {
            return;
        }
        let mut listeners = self.listeners.lock();
        if listeners.is_empty() {
            return;
        }
        for waker in all
            .iter()
            .filter_map(|channel| listeners.get(channel))
            .flatten()
        {
            waker.wake(Pending::Shared);
        }
        for channel in one {
            if let Some(wakers) = listeners.get_mut(channel) {
                wake_next(wakers);
            }
        }
    }

    /// Wakes everybody.
    pub(super) fn wake_all(&self) {
        for waker in self.listeners.lock().values().flatten() {
            waker.wake(Pending::Shared);
        }
    }

    /// Whether somebody waits right now.
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }
}

/// Wakes the listener whose turn it is. One that is woken already will look anyway; when all
/// are, there is nobody left to wake.
fn wake_next(wakers: &mut VecDeque<Arc<Waker>>) {
    let Some(place) = wakers.iter().position(|waker| !waker.is_pending()) else {
        return;
    };
    if let Some(waker) = wakers.remove(place) {
        waker.wake(Pending::Alone);
        wakers.push_back(waker);
    }
}

/// A registration for wake-ups. Make it before looking, so that a commit between the look and
/// the wait is not missed. Dropped after a wake-up that was for it alone, it wakes the next.
#[derive(Debug)]
pub struct Listener {
    handle: Arc<Handle>,
    channels: Vec<Channel>,
    waker: Arc<Waker>,
    /// Whether the last wake-up was for this listener alone, so that nobody else is looking.
    alone: bool,
}

impl Listener {
    pub(super) fn new(handle: Arc<Handle>, channels: &[Channel]) -> Self {
        let waker = Waker::new();
        handle.hub().register(channels, &waker);
        Self {
            handle,
            channels: channels.to_vec(),
            waker,
            alone: false,
        }
    }

    /// Waits until a commit after the registration, or after the last wait, touched one of the
    /// channels, or until `deadline`. Look again after either; a wake-up may be spurious.
    ///
    /// # Errors
    /// [`EngineError::Closed`] when the handle is closed before or meanwhile.
    pub async fn wait(&mut self, deadline: Instant) -> Result<Woken, EngineError> {
        self.handle.check_open()?;
        // Waiting again means that the look after the last wake-up is done.
        self.alone = false;
        let waiting = Waiting::enter(&self.handle);
        let woken = tokio::time::timeout_at(deadline, self.waker.notify.notified()).await;
        drop(waiting);
        self.handle.check_open()?;
        if woken.is_err() {
            return Ok(Woken::Elapsed);
        }
        self.alone = self.waker.answer();
        Ok(Woken::Notified)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let hub = self.handle.hub();
        hub.unregister(&self.channels, &self.waker);
        if self.waker.answer() || self.alone {
            hub.wake(&[], &self.channels);
        }
    }
}

/// Counts one waiting listener while it lives.
struct Waiting<'h>(&'h Handle);

impl<'h> Waiting<'h> {
    fn enter(handle: &'h Handle) -> Self {
        if handle.hub().waiting.fetch_add(1, Ordering::AcqRel) == 0 {
            // The writer may sleep without a timeout: have it look for foreign commits.
            handle.nudge_writer();
        }
        Self(handle)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.hub().waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
