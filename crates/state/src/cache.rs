//! A read-through cache of state records.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use moka::ops::compute::Op;
use moka::sync::Cache;
use parking_lot::Mutex;
use statehouse_contracts::{Record, Result, StateKey, Timestamp, Version};
use tokio::sync::OnceCell;

use crate::{EventData, SharedCache, StateEvent};

/// How much is cached, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// The most bytes of record data.
    pub max_bytes: u64,
    /// How long a record is served without being read again: the bound on how stale a read can be
    /// when events are lost and nobody notices.
    pub ttl: Duration,
}

impl Default for CacheOptions {
    /// 64 MiB, 60 s.
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
            ttl: Duration::from_secs(60),
        }
    }
}

/// Live records by key, never older than what this process has heard of.
///
/// A read that misses is done once for all who wait for it. A version that is heard of while a
/// read is under way keeps that read's older answer out.
#[derive(Debug)]
pub struct StateCache {
    records: Cache<StateKey, Arc<Record>>,
    flights: Mutex<HashMap<StateKey, Arc<Flight>>>,
    shared: OnceLock<SharedCache>,
    suspended: AtomicBool,
}

/// One read under way.
#[derive(Debug, Default)]
struct Flight {
    /// The newest version that was heard of meanwhile.
    heard: AtomicU64,
    answer: OnceCell<Option<Arc<Record>>>,
}

/// A reader's part in a flight. The last who leaves takes a flight with it that nobody ended.
struct Seat<'c> {
    cache: &'c StateCache,
    key: &'c StateKey,
    flight: Arc<Flight>,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut flights = self.cache.flights.lock();
        // The map has the other; who joins does so under the lock.
        if Arc::strong_count(&self.flight) <= 2 {
            remove(&mut flights, self.key, &self.flight);
        }
    }
}

/// Heard instead of a version when anything may have been missed.
const GAP: Version = Version::MAX;

impl StateCache {
    /// An empty cache.
    pub fn new(options: CacheOptions) -> Self {
        let weight = |key: &StateKey, record: &Arc<Record>| {
            let bytes = record.data.len() + key.id.as_str().len() + 200;
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let records = Cache::builder()
            .max_capacity(options.max_bytes)
            .time_to_live(options.ttl)
            .weigher(weight)
            .build();
        Self {
            records,
            flights: Mutex::default(),
            shared: OnceLock::new(),
            suspended: AtomicBool::new(false),
        }
    }

    /// Keeps nothing and serves nothing until [`resume`](Self::resume): what other processes write
    /// cannot be heard of.
    pub fn suspend(&self) {
        self.suspended.store(true, Ordering::SeqCst);
        self.flush();
    }

    /// Caches again, beginning with nothing.
    pub fn resume(&self) {
        self.flush();
        self.suspended.store(false, Ordering::SeqCst);
    }

    fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::SeqCst)
    }

    /// From now on reads that miss go through `shared` too, and it hears of what this cache hears
    /// of. The first one given counts.
    pub fn share(&self, shared: SharedCache) {
        let _ = self.shared.set(shared);
    }

    /// The record of `key`, from the cache or by `load`.
    ///
    /// # Errors
    /// Those of `load`.
    pub async fn get<F, Fut>(&self, key: &StateKey, load: F) -> Result<Option<Arc<Record>>>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<Option<Record>>>,
    {
        loop {
            if self.is_suspended() {
                metrics::counter!("statehouse_cache_misses_total").increment(1);
                return Ok(load().await?.map(Arc::new));
            }
            if let Some(record) = self.peek(key) {
                metrics::counter!("statehouse_cache_hits_total").increment(1);
                return Ok(Some(record));
            }
            let seat = self.board(key);
            let flight = &seat.flight;
            let read = || async {
                metrics::counter!("statehouse_cache_misses_total").increment(1);
                let record = match self.shared.get() {
                    Some(shared) => shared.get(key, &load).await?,
                    None => load().await?,
                };
                Ok(record.map(Arc::new))
            };
            let answer = match flight.answer.get_or_try_init(read).await {
                Ok(answer) => answer.clone(),
                Err(error) => {
                    self.land(key, flight);
                    return Err(error);
                }
            };
            if self.keep(key, flight, answer.as_ref()) {
                return Ok(answer);
            }
        }
    }

    /// The record of `key` when it is cached and has not expired.
    pub fn peek(&self, key: &StateKey) -> Option<Arc<Record>> {
        if self.is_suspended() {
            return None;
        }
        let record = self.records.get(key)?;
        let expired = record.expires_at.is_some_and(|at| at <= Timestamp::now());
        if expired { None } else { Some(record) }
    }

    /// Takes note that `key` is at `version` now, or later.
    pub fn heard(&self, key: &StateKey, version: Version) {
        self.tell_shared(key, version);
        if let Some(flight) = self.flights.lock().get(key) {
            flight.heard.fetch_max(version, Ordering::SeqCst);
        }
        self.compute(key, |cached| match cached {
            Some(record) if record.version < version => Op::Remove,
            _ => Op::Nop,
        });
    }

    /// Takes note of an event, with its data when the event has it. An echo that is not newer than
    /// what is cached changes nothing.
    pub fn heard_event(&self, event: &StateEvent) {
        self.tell_shared(&event.key, event.version);
        if let Some(flight) = self.flights.lock().get(&event.key) {
            flight.heard.fetch_max(event.version, Ordering::SeqCst);
        }
        self.compute(&event.key, |cached| match cached {
            Some(record) if record.version >= event.version => Op::Nop,
            Some(record) => {
                updated(&record, event).map_or(Op::Remove, |record| Op::Put(Arc::new(record)))
            }
            None => Op::Nop,
        });
    }

    /// Forgets everything: events may have been missed.
    pub fn flush(&self) {
        if let Some(shared) = self.shared.get() {
            shared.flush();
        }
        for flight in self.flights.lock().values() {
            flight.heard.store(GAP, Ordering::SeqCst);
        }
        self.records.invalidate_all();
    }

    /// Joins the flight that reads `key`, or begins one.
    fn board<'c>(&'c self, key: &'c StateKey) -> Seat<'c> {
        let flight = Arc::clone(self.flights.lock().entry(key.clone()).or_default());
        Seat {
            cache: self,
            key,
            flight,
        }
    }

    fn tell_shared(&self, key: &StateKey, version: Version) {
        if let Some(shared) = self.shared.get() {
            shared.heard(key, version);
        }
    }

    /// Ends a flight. Keeps its answer unless something newer was heard of meanwhile; answers
    /// whether it is good enough for those who waited.
    fn keep(&self, key: &StateKey, flight: &Arc<Flight>, answer: Option<&Arc<Record>>) -> bool {
        let mut flights = self.flights.lock();
        // Only until the first of those who wait has ended it does the flight hear of anything.
        let hears = remove(&mut flights, key, flight);
        let heard = flight.heard.load(Ordering::SeqCst);
        let version = answer.map_or(0, |record| record.version);
        if heard != GAP && version < heard {
            return false;
        }
        if let Some(record) = answer.filter(|_| hears && heard != GAP) {
            self.compute(key, |cached| match cached {
                Some(cached) if cached.version >= record.version => Op::Nop,
                _ => Op::Put(Arc::clone(record)),
            });
        }
        true
    }

    fn land(&self, key: &StateKey, flight: &Arc<Flight>) {
        remove(&mut self.flights.lock(), key, flight);
    }

    fn compute(&self, key: &StateKey, decide: impl FnOnce(Option<Arc<Record>>) -> Op<Arc<Record>>) {
        let entry = self.records.entry_by_ref(key);
        entry.and_compute_with(|cached| decide(cached.map(moka::Entry::into_value)));
    }
}

/// Takes the flight out; answers whether it was still there.
fn remove(
    flights: &mut HashMap<StateKey, Arc<Flight>>,
    key: &StateKey,
    flight: &Arc<Flight>,
) -> bool {
    let found = flights
        .get(key)
        .is_some_and(|current| Arc::ptr_eq(current, flight));
    if found {
        flights.remove(key);
    }
    found
}

/// The record after `event`, when the event and the record before it tell all of it.
fn updated(before: &Record, event: &StateEvent) -> Option<Record> {
    let (created_at, created_by) = event.created.clone()?;
    let data = match &event.data {
        EventData::Whole(bytes) => bytes.clone(),
        EventData::Appended(bytes) if before.version + 1 == event.version => {
            [before.data.as_ref(), bytes.as_ref()].concat().into()
        }
        EventData::Appended(_) | EventData::Omitted | EventData::Tombstone => return None,
    };
    Some(Record {
        key: event.key.clone(),
        version: event.version,
        data,
        content_type: event.content_type.clone(),
        schema: event.schema.clone(),
        created_at,
        created_by,
        updated_at: event.at,
        updated_by: event.by.clone(),
        expires_at: event.expires_at,
        tombstone: None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use statehouse_contracts::{ChangeOperation, ContentType, Principal};

    use super::*;

    fn key() -> StateKey {
        StateKey::parse("task", "1").unwrap()
    }

    fn record(version: Version) -> Record {
        let (at, by) = (Timestamp::UNIX_EPOCH, Principal::new("p").unwrap());
        Record {
            key: key(),
            version,
            data: format!("v{version}").into(),
            content_type: ContentType::TEXT,
            schema: None,
            created_at: at,
            created_by: by.clone(),
            updated_at: at,
            updated_by: by,
            expires_at: None,
            tombstone: None,
        }
    }

    fn event(version: Version, data: EventData) -> StateEvent {
        let record = record(version);
        StateEvent {
            key: key(),
            version,
            operation: ChangeOperation::Put,
            at: record.updated_at,
            by: record.updated_by.clone(),
            data,
            content_type: record.content_type,
            schema: None,
            created: Some((record.created_at, record.created_by)),
            expires_at: None,
        }
    }

    async fn version(cache: &StateCache, stored: Version) -> Version {
        let load = || async { Ok(Some(record(stored))) };
        cache
            .get(&key(), load)
            .await
            .unwrap()
            .map_or(0, |record| record.version)
    }

    #[tokio::test]
    async fn a_suspended_cache_serves_and_keeps_nothing() {
        let cache = StateCache::new(CacheOptions::default());
        assert_eq!(version(&cache, 1).await, 1);
        cache.suspend();
        assert_eq!(version(&cache, 2).await, 2);
        assert_eq!(version(&cache, 3).await, 3);
        cache.resume();
        assert_eq!(version(&cache, 4).await, 4);
        assert_eq!(version(&cache, 5).await, 4);
    }

    #[tokio::test]
    async fn an_echo_that_is_not_newer_changes_nothing() {
        let cache = StateCache::new(CacheOptions::default());
        assert_eq!(version(&cache, 5).await, 5);
        cache.heard_event(&event(3, EventData::Whole("old".into())));
        cache.heard(&key(), 5);
        assert_eq!(version(&cache, 9).await, 5);
        cache.heard_event(&event(6, EventData::Appended("+".into())));
        assert_eq!(cache.peek(&key()).unwrap().data, "v5+");
        cache.heard_event(&event(7, EventData::Tombstone));
        assert_eq!(version(&cache, 8).await, 8);
    }

    #[tokio::test]
    async fn a_read_that_was_overtaken_is_done_again_and_not_kept() {
        let cache = StateCache::new(CacheOptions::default());
        let reads = AtomicUsize::new(0);
        let load = || async {
            if reads.fetch_add(1, Ordering::SeqCst) == 0 {
                cache.heard(&key(), 2);
                return Ok(Some(record(1)));
            }
            Ok(Some(record(2)))
        };
        assert_eq!(cache.get(&key(), load).await.unwrap().unwrap().version, 2);
        assert_eq!(reads.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_second_who_waited_does_not_bring_back_what_was_overtaken() {
        let cache = StateCache::new(CacheOptions::default());
        let (flight, answer) = (Arc::<Flight>::default(), Arc::new(record(1)));
        cache.flights.lock().insert(key(), Arc::clone(&flight));
        assert!(cache.keep(&key(), &flight, Some(&answer)));
        cache.heard(&key(), 2);
        cache.keep(&key(), &flight, Some(&answer));
        assert!(cache.peek(&key()).is_none());
    }

    #[tokio::test]
    async fn a_gap_forgets_everything() {
        let cache = StateCache::new(CacheOptions::default());
        assert_eq!(version(&cache, 1).await, 1);
        cache.flush();
        assert_eq!(version(&cache, 2).await, 2);
        let load = || async {
            cache.flush();
            Ok(Some(record(1)))
        };
        cache.flush();
        assert_eq!(cache.get(&key(), load).await.unwrap().unwrap().version, 1);
        assert!(cache.peek(&key()).is_none());
    }

    #[tokio::test]
    async fn a_read_that_is_given_up_leaves_nothing_behind() {
        let cache = StateCache::new(CacheOptions::default());
        let key = key();
        let hangs = || std::future::pending::<Result<Option<Record>>>();
        {
            let mut first = Box::pin(cache.get(&key, hangs));
            let mut second = Box::pin(cache.get(&key, hangs));
            assert!(futures::poll!(&mut first).is_pending());
            assert!(futures::poll!(&mut second).is_pending());
            drop(first);
            assert_eq!(cache.flights.lock().len(), 1);
        }
        assert!(cache.flights.lock().is_empty());
    }

    #[tokio::test]
    async fn many_who_miss_read_once() {
        let cache = Arc::new(StateCache::new(CacheOptions::default()));
        let reads = Arc::new(AtomicUsize::new(0));
        let get = || {
            let (cache, reads) = (Arc::clone(&cache), Arc::clone(&reads));
            tokio::spawn(async move {
                let load = || async {
                    reads.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    Ok(Some(record(1)))
                };
                cache.get(&key(), load).await.unwrap()
            })
        };
        for task in (0..50).map(|_| get()).collect::<Vec<_>>() {
            assert!(task.await.unwrap().is_some());
        }
        assert_eq!(reads.load(Ordering::SeqCst), 1);
    }
}
