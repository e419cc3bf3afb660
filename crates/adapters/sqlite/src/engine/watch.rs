//! Wake-ups: a commit tells the channels it touched, and who listens to one of them looks again.
//!
//! A wake-up carries nothing and may be spurious; it is never lost between registering and
//! waiting. Commits of other processes cannot be told apart, so they wake every listener; the
//! writer looks for them only while somebody waits.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
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

/// Who listens to what.
#[derive(Debug, Default)]
pub(super) struct Hub {
    listeners: Mutex<HashMap<Channel, Vec<Arc<Notify>>>>,
    waiting: AtomicUsize,
}

impl Hub {
    fn register(&self, channels: &[Channel], waker: &Arc<Notify>) {
        let mut listeners = self.listeners.lock();
        for channel in channels {
            listeners
                .entry(*channel)
                .or_default()
                .push(Arc::clone(waker));
        }
    }

    fn unregister(&self, channels: &[Channel], waker: &Arc<Notify>) {
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

    /// Wakes the listeners of the given channels.
    pub(super) fn wake(&self, channels: &[Channel]) {
        if channels.is_empty() {
            return;
        }
        let listeners = self.listeners.lock();
        if listeners.is_empty() {
            return;
        }
        for waker in channels
            .iter()
            .filter_map(|channel| listeners.get(channel))
            .flatten()
        {
            waker.notify_one();
        }
    }

    /// Wakes everybody.
    pub(super) fn wake_all(&self) {
        for waker in self.listeners.lock().values().flatten() {
            waker.notify_one();
        }
    }

    /// Whether somebody waits right now.
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }
}

/// A registration for wake-ups. Make it before looking, so that a commit between the look and
/// the wait is not missed.
#[derive(Debug)]
pub struct Listener {
    handle: Arc<Handle>,
    channels: Vec<Channel>,
    waker: Arc<Notify>,
}

impl Listener {
    pub(super) fn new(handle: Arc<Handle>, channels: &[Channel]) -> Self {
        let waker = Arc::new(Notify::new());
        handle.hub().register(channels, &waker);
        Self {
            handle,
            channels: channels.to_vec(),
            waker,
        }
    }

    /// Waits until a commit after the registration, or after the last wait, touched one of the
    /// channels, or until `deadline`. Look again after either; a wake-up may be spurious.
    ///
    /// # Errors
    /// [`EngineError::Closed`] when the handle is closed before or meanwhile.
    pub async fn wait(&mut self, deadline: Instant) -> Result<Woken, EngineError> {
        self.handle.check_open()?;
        let _waiting = Waiting::enter(&self.handle);
        let woken = match tokio::time::timeout_at(deadline, self.waker.notified()).await {
            Ok(()) => Woken::Notified,
            Err(_) => Woken::Elapsed,
        };
        self.handle.check_open()?;
        Ok(woken)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.handle.hub().unregister(&self.channels, &self.waker);
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
