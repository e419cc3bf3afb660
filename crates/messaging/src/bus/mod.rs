//! Publish and subscribe inside one process.

mod options;
mod pattern;
mod subscription;
mod topic;
mod trace;
mod trie;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::{DashMap, Entry};
use foldhash::fast::FixedState;
use parking_lot::RwLock;
use statehouse_contracts::{Error, Message, Result, Topic};
use tokio::sync::Notify;
use tokio::time::Instant;

pub use options::{BusFilter, BusOptions, BusOverflow, Subscribe};
pub use pattern::BusPattern;
use subscription::{Pushed, Subscriber};
pub use subscription::{Subscription, SubscriptionId, SubscriptionInfo};
pub use topic::TopicStats;
use topic::{Counts, Route};
use trace::Publish;
use trie::Routes;

/// What became of a published message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The subscriptions that have it in their buffer now.
    pub delivered: usize,
    /// The messages that were dropped for it: itself, or the oldest ones of full buffers.
    pub dropped: usize,
}

/// Publish and subscribe inside one process: at most once, for who listens now.
///
/// - Publishing never waits: a subscription whose buffer is full loses a message, and the publisher
///   learns how many did.
/// - All subscriptions share one message; nothing is copied.
/// - A subscription gets the messages of one publisher in the order in which it published them,
///   whatever their priority. A message with a ttl is not handed out after it; one with a delay is
///   refused.
/// - Who subscribes to what it publishes hears itself.
///
/// Clones are the same bus.
///
/// ```
/// use statehouse_contracts::{Message, Pattern, Payload, Result, Topic};
/// use statehouse_messaging::{Bus, Subscribe};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let bus = Bus::default();
/// let mut jobs = bus.subscribe(Subscribe::new("planner", Pattern::new("job.*")?))?;
///
/// let done = Message::new(Topic::new("job.done")?, Payload::text("42"));
/// let published = bus.publish(done)?;
/// assert_eq!((published.delivered, published.dropped), (1, 0));
///
/// let heard = jobs.recv().await.expect("the bus is open");
/// assert_eq!(heard.bytes(), b"42");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Bus(Arc<Inner>);

struct Inner {
    options: BusOptions,
    started: Instant,
    closed: AtomicBool,
    subscriptions: RwLock<Subscriptions>,
    /// That of the subscriptions, to be read without their lock.
    generation: AtomicU64,
    topics: DashMap<Topic, Arc<Route>, FixedState>,
    /// How many topics have become known.
    known: AtomicU64,
    /// How many topics there must be for the next look at idle ones.
    tidy_at: AtomicUsize,
}

#[derive(Default)]
struct Subscriptions {
    routes: Routes<Arc<Subscriber>>,
    all: BTreeMap<SubscriptionId, Arc<Subscriber>>,
    /// Counts every change; from 1, so that a new topic's empty route is never the current one.
    generation: u64,
    next_id: u64,
}

/// How few topics are not worth a look, and how many changes of subscriptions are.
const TIDY: usize = 256;

impl Bus {
    /// A bus without subscriptions. A buffer of 0 counts as 1, one above
    /// [`BusOptions::MAX_BUFFER`] as that.
    pub fn new(options: BusOptions) -> Self {
        let options = BusOptions {
            buffer: options.buffer.clamp(1, BusOptions::MAX_BUFFER),
            max_topics: options.max_topics.max(1),
            ..options
        };
        Self(Arc::new(Inner {
            options,
            started: Instant::now(),
            closed: AtomicBool::new(false),
            subscriptions: RwLock::new(Subscriptions {
                generation: 1,
                ..Subscriptions::default()
            }),
            generation: AtomicU64::new(1),
            topics: DashMap::default(),
            known: AtomicU64::new(0),
            tidy_at: AtomicUsize::new(TIDY.min(options.max_topics)),
        }))
    }

    /// Publishes to who listens now. A message that is shared already is not copied.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for a message with a
    /// delay; [`Closed`](statehouse_contracts::ErrorKind::Closed).
    pub fn publish(&self, message: impl Into<Arc<Message>>) -> Result<Published> {
        let message = message.into();
        self.check_open()?;
        if !message.delay.is_zero() {
            return Err(Error::invalid(
                "the bus hands out at once; a message with a delay goes to a group or a mailbox",
            )
            .with_operation("publish")
            .with_context("topic", &message.topic));
        }
        let until = |ttl| self.now().saturating_add(nanos(ttl));
        let expires_at = message.ttl.map_or(u64::MAX, until);
        let route = self.route(&message.topic);
        let (trace, id) = (Publish::begin(&message), message.id);
        let mut published = Published::default();
        let mut offered = |subscriber: &Subscriber, pushed: Pushed| {
            trace.delivered(subscriber, pushed);
            published.delivered += usize::from(pushed.delivered);
            published.dropped += usize::from(pushed.dropped);
        };
        if let Some((last, others)) = route.subscribers.split_last() {
            for subscriber in others {
                let pushed = match subscriber.hears(&message) {
                    true => subscriber.push(Arc::clone(&message), expires_at),
                    false => Pushed::default(),
                };
                offered(subscriber, pushed);
            }
            // The last one gets ours: one more share of it would cost as much as its buffer.
            let pushed = match last.hears(&message) {
                true => last.push(message, expires_at),
                false => Pushed::default(),
            };
            offered(last, pushed);
        }
        route.counts.add(id, published);
        trace.end(published);
        Ok(published)
    }

    /// Listens from now on, until the subscription is dropped.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) without an agent, or
    /// for a buffer above [`BusOptions::MAX_BUFFER`];
    /// [`Closed`](statehouse_contracts::ErrorKind::Closed).
    pub fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription> {
        let capacity = self.capacity(&subscribe)?;
        let overflow = subscribe.overflow.unwrap_or(self.0.options.overflow);
        let mut subscriptions = self.0.subscriptions.write();
        self.check_open()?;
        subscriptions.next_id += 1;
        let id = SubscriptionId(subscriptions.next_id);
        let Subscribe {
            agent,
            pattern,
            filter,
            ..
        } = subscribe;
        let subscriber = Subscriber::new(id, agent, pattern, filter, capacity, overflow);
        let subscriber = Arc::new(subscriber);
        trace::subscribed(&subscriber);
        let pattern = &subscriber.pattern;
        subscriptions
            .routes
            .insert(pattern, id.0, Arc::clone(&subscriber));
        subscriptions.all.insert(id, Arc::clone(&subscriber));
        self.changed(subscriptions);
        Ok(Subscription::new(subscriber, self.clone()))
    }

    /// Ends a subscription: it hands out what it has, then ends.
    ///
    /// # Errors
    /// [`NotFound`](statehouse_contracts::ErrorKind::NotFound).
    pub fn unsubscribe(&self, id: SubscriptionId) -> Result<()> {
        let subscriber = self.subscriber(id)?;
        self.forget(&subscriber);
        Ok(())
    }

    /// Makes `notify` be told of each message that the subscription gets, so that one task can
    /// wait for many subscriptions; `None` ends it. What is told while nobody waits is remembered
    /// once.
    ///
    /// # Errors
    /// [`NotFound`](statehouse_contracts::ErrorKind::NotFound).
    pub fn notify(&self, id: SubscriptionId, notify: Option<Arc<Notify>>) -> Result<()> {
        self.subscriber(id)?.set_notify(notify);
        Ok(())
    }

    /// A subscription as it stands.
    pub fn subscription(&self, id: SubscriptionId) -> Option<SubscriptionInfo> {
        let subscriptions = self.0.subscriptions.read();
        subscriptions.all.get(&id).map(|found| found.info())
    }

    /// The subscriptions, of one agent or all, oldest first.
    pub fn subscriptions(&self, agent: Option<&str>) -> Vec<SubscriptionInfo> {
        let subscriptions = self.0.subscriptions.read();
        let all = subscriptions.all.values();
        all.filter(|one| agent.is_none_or(|agent| one.agent == agent))
            .map(|one| one.info())
            .collect()
    }

    /// How many subscriptions hear `topic` now, by whatever pattern.
    pub fn listeners(&self, topic: &Topic) -> usize {
        let subscriptions = self.0.subscriptions.read();
        subscriptions.routes.matching(topic).len()
    }

    /// The topics that had a message lately, by name.
    pub fn topics(&self) -> Vec<Topic> {
        self.tidy();
        let topics = self.0.topics.iter();
        let mut topics: Vec<Topic> = topics.map(|entry| entry.key().clone()).collect();
        topics.sort_unstable();
        topics
    }

    /// The statistics of a topic.
    ///
    /// # Errors
    /// [`NotFound`](statehouse_contracts::ErrorKind::NotFound) for one that had no message lately
    /// and that nobody hears.
    pub fn topic_stats(&self, topic: &Topic) -> Result<TopicStats> {
        self.tidy();
        let subscribers = self.listeners(topic);
        let counts = self.0.topics.get(topic);
        let counts = counts.map(|route| Arc::clone(&route.counts));
        if counts.is_none() && subscribers == 0 {
            return Err(Error::not_found(format!("topic not found: {topic}")));
        }
        let count = |counter: fn(&Counts) -> &AtomicU64| {
            let counter = counts.as_deref().map(counter);
            counter.map_or(0, |counter| counter.load(Ordering::Relaxed))
        };
        Ok(TopicStats {
            topic: topic.clone(),
            published: count(|counts| &counts.published),
            delivered: count(|counts| &counts.delivered),
            dropped: count(|counts| &counts.dropped),
            subscribers,
            created_at: counts.as_ref().map(|counts| counts.created_at),
            last_published_at: counts.as_ref().and_then(|counts| counts.last_at()),
        })
    }

    /// Ends every subscription; each hands out what it has first. Idempotent.
    pub fn close(&self) {
        let mut subscriptions = self.0.subscriptions.write();
        self.0.closed.store(true, Ordering::Release);
        let all = std::mem::take(&mut subscriptions.all);
        subscriptions.routes = Routes::default();
        self.changed(subscriptions);
        all.values().for_each(|subscriber| subscriber.close());
        self.0.topics.clear();
    }

    /// Nanoseconds on the bus's clock.
    fn now(&self) -> u64 {
        nanos(self.0.started.elapsed())
    }

    fn check_open(&self) -> Result<()> {
        if self.0.closed.load(Ordering::Acquire) {
            return Err(Error::closed());
        }
        Ok(())
    }

    fn capacity(&self, subscribe: &Subscribe) -> Result<usize> {
        if subscribe.agent.is_empty() {
            return Err(Error::invalid(
                "agent is empty; a subscription names who listens",
            ));
        }
        match subscribe.buffer {
            0 => Ok(self.0.options.buffer),
            buffer if buffer <= BusOptions::MAX_BUFFER => Ok(buffer),
            buffer => Err(Error::invalid(format!(
                "buffer is {buffer}, at most {} messages are allowed",
                BusOptions::MAX_BUFFER
            ))),
        }
    }

    fn subscriber(&self, id: SubscriptionId) -> Result<Arc<Subscriber>> {
        let subscriptions = self.0.subscriptions.read();
        let found = subscriptions.all.get(&id).cloned();
        found.ok_or_else(|| Error::not_found(format!("subscription not found: {id}")))
    }

    fn forget(&self, subscriber: &Subscriber) {
        let mut subscriptions = self.0.subscriptions.write();
        if subscriptions.all.remove(&subscriber.id).is_some() {
            trace::unsubscribed(subscriber);
            subscriptions
                .routes
                .remove(&subscriber.pattern, subscriber.id.0);
            self.changed(subscriptions);
        }
        subscriber.close();
    }

    /// Makes a change of the subscriptions seen by the next publish.
    fn changed(&self, mut subscriptions: parking_lot::RwLockWriteGuard<'_, Subscriptions>) {
        subscriptions.generation += 1;
        let generation = subscriptions.generation;
        self.0.generation.store(generation, Ordering::Release);
        drop(subscriptions);
        if generation.is_multiple_of(TIDY as u64) {
            self.tidy();
        }
    }

    fn route(&self, name: &Topic) -> Arc<Route> {
        let generation = self.0.generation.load(Ordering::Acquire);
        match self.0.topics.get(name) {
            Some(route) if route.generation == generation => Arc::clone(&route),
            found => {
                let known = found.is_some();
                drop(found);
                self.find_route(name, known)
            }
        }
    }

    /// Finds out who hears a topic now, for this publish and the next ones.
    #[cold]
    fn find_route(&self, name: &Topic, known: bool) -> Arc<Route> {
        if !known && self.0.topics.len() >= self.0.tidy_at.load(Ordering::Relaxed) {
            self.tidy();
        }
        let subscriptions = self.0.subscriptions.read();
        let generation = subscriptions.generation;
        let subscribers = subscriptions.routes.matching(name);
        drop(subscriptions);
        let with = |counts| {
            Arc::new(Route {
                generation,
                subscribers,
                counts,
            })
        };
        // What is replaced is dropped when the entry is no longer locked: who is gone may be its
        // last subscriber.
        let (route, _replaced) = match self.0.topics.entry(name.clone()) {
            Entry::Occupied(mut entry) => {
                let route = with(Arc::clone(&entry.get().counts));
                let replaced = entry.insert(Arc::clone(&route));
                (route, Some(replaced))
            }
            Entry::Vacant(entry) => {
                let number = self.0.known.fetch_add(1, Ordering::Relaxed);
                let route = with(Arc::new(Counts::new(number, self.now())));
                entry.insert(Arc::clone(&route));
                (route, None)
            }
        };
        route
    }

    /// Forgets who no longer listens, idle topics, and the longest idle ones of too many.
    fn tidy(&self) {
        let Inner {
            topics, options, ..
        } = &*self.0;
        let generation = self.0.generation.load(Ordering::Acquire);
        let stale = topics
            .iter_mut()
            .filter(|route| route.generation != generation && !route.subscribers.is_empty());
        let replaced: Vec<Arc<Route>> = stale
            .map(|mut route| {
                let nobody = Arc::new(Route {
                    generation: 0,
                    subscribers: Vec::new(),
                    counts: Arc::clone(&route.counts),
                });
                std::mem::replace(&mut *route, nobody)
            })
            .collect();
        drop(replaced);
        let now = self.now();
        let idle = nanos(options.topic_idle);
        topics.retain(|_, route| now - route.counts.quiet_since(now).0.min(now) < idle);
        if topics.len() >= options.max_topics {
            let quiet = topics.iter().map(|route| route.counts.quiet_since(now));
            let mut quiet: Vec<(u64, u64)> = quiet.collect();
            let excess = quiet.len().saturating_sub(options.max_topics * 3 / 4);
            if let Some(last_to_go) = excess.checked_sub(1) {
                let limit = *quiet.select_nth_unstable(last_to_go).1;
                topics.retain(|_, route| route.counts.quiet_since(now) > limit);
            }
        }
        let next = (topics.len() * 2).max(TIDY).min(options.max_topics);
        self.0.tidy_at.store(next, Ordering::Relaxed);
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self::new(BusOptions::default())
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus")
            .field("options", &self.0.options)
            .field("subscriptions", &self.0.subscriptions.read().all.len())
            .field("topics", &self.0.topics.len())
            .finish_non_exhaustive()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
