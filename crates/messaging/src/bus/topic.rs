//! What is known of a topic: its statistics, and who hears it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use statehouse_contracts::{Timestamp, Topic};

use super::subscription::Subscriber;

/// The statistics of one topic since it was last unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicStats {
    /// The topic.
    pub topic: Topic,
    /// Messages published.
    pub published: u64,
    /// Copies put into buffers.
    pub delivered: u64,
    /// Copies dropped because a buffer was full.
    pub dropped: u64,
    /// Subscriptions that hear it now, by whatever pattern.
    pub subscribers: usize,
    /// When its first message was published; `None` before that.
    pub created_at: Option<Timestamp>,
    /// When its latest message was published; `None` before the first.
    pub last_published_at: Option<Timestamp>,
}

/// Who hears a topic, as of a generation of the subscriptions.
#[derive(Debug, Default)]
pub(super) struct Route {
    pub(super) generation: u64,
    pub(super) subscribers: Vec<Arc<Subscriber>>,
}

#[derive(Debug)]
pub(super) struct TopicState {
    pub(super) published: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) dropped: AtomicU64,
    /// Both by the bus's clock.
    pub(super) created: u64,
    pub(super) last: AtomicU64,
    pub(super) route: ArcSwap<Route>,
}

impl TopicState {
    pub(super) fn new(now: u64) -> Self {
        Self {
            published: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            created: now,
            last: AtomicU64::new(now),
            route: ArcSwap::default(),
        }
    }

    pub(super) fn count(&self, now: u64, delivered: usize, dropped: usize) {
        self.last.store(now, Ordering::Relaxed);
        self.published.fetch_add(1, Ordering::Relaxed);
        if delivered > 0 {
            self.delivered
                .fetch_add(delivered as u64, Ordering::Relaxed);
        }
        if dropped > 0 {
            self.dropped.fetch_add(dropped as u64, Ordering::Relaxed);
        }
    }

    /// Lets go of subscribers that may be gone.
    pub(super) fn forget_route(&self, generation: u64) {
        if self.route.load().generation != generation {
            self.route.store(Arc::default());
        }
    }
}
