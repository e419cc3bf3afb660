//! What is known of a topic: its statistics, and who hears it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use statehouse_contracts::{MessageId, Timestamp, Topic};

use super::Published;
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
    /// When its latest message was made, as its id tells; `None` before the first.
    pub last_published_at: Option<Timestamp>,
}

/// Who hears a topic, as of a generation of the subscriptions, and what is counted for it.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) generation: u64,
    pub(super) subscribers: Vec<Arc<Subscriber>>,
    pub(super) counts: Arc<Counts>,
}

#[derive(Debug)]
pub(super) struct Counts {
    pub(super) published: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) dropped: AtomicU64,
    /// When the latest message was made, in ms since 1970; 0 when its id does not tell.
    pub(super) last: AtomicU64,
    pub(super) created_at: Timestamp,
    /// Which topic of the bus it is, in the order in which they became known.
    number: u64,
    /// How many messages there were when the bus last looked, and when that had changed.
    seen: AtomicU64,
    changed: AtomicU64,
}

impl Counts {
    pub(super) fn new(number: u64, now: u64) -> Self {
        Self {
            published: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            last: AtomicU64::new(0),
            created_at: Timestamp::now(),
            number,
            seen: AtomicU64::new(0),
            changed: AtomicU64::new(now),
        }
    }

    pub(super) fn add(&self, id: MessageId, published: Published) {
        self.last.store(made_at(id), Ordering::Relaxed);
        self.published.fetch_add(1, Ordering::Relaxed);
        let counts = [
            (&self.delivered, published.delivered),
            (&self.dropped, published.dropped),
        ];
        for (counter, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            counter.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    /// Since when there was no message, as far as the bus has looked; later topics count as later.
    pub(super) fn quiet_since(&self, now: u64) -> (u64, u64) {
        let published = self.published.load(Ordering::Relaxed);
        if self.seen.swap(published, Ordering::Relaxed) != published {
            self.changed.store(now, Ordering::Relaxed);
        }
        (self.changed.load(Ordering::Relaxed), self.number)
    }

    pub(super) fn last_at(&self) -> Option<Timestamp> {
        let last = self.last.load(Ordering::Relaxed);
        let last = i64::try_from(last).ok().filter(|last| *last > 0)?;
        Timestamp::from_millisecond(last).ok()
    }
}

/// When a message was made, in ms since 1970, as a UUID of version 7 tells; else 0. Looking at the
/// clock would cost as much as all the rest of publishing to one subscriber.
fn made_at(id: MessageId) -> u64 {
    match id.0.get_version_num() {
        7 => (id.0.as_u128() >> 80) as u64,
        _ => 0,
    }
}
