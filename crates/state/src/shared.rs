//! The tier behind a process's own cache: one that all processes share.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::notification::RemovalCause;
use moka::sync::Cache;
use parking_lot::Mutex;
use statehouse_contracts::{
    CacheLook, Error, FillTicket, Record, RecordCache, Result, StateKey, Timestamp, Version,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How a shared cache is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedCacheOptions {
    /// How long a record is kept: the bound on how stale a read can be when the cache was told of
    /// nothing.
    pub ttl: Duration,
    /// How long an answer may take; a later one is a miss.
    pub timeout: Duration,
}

impl Default for SharedCacheOptions {
    /// 5 min, 100 ms.
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(300),
            timeout: Duration::from_millis(100),
        }
    }
}

/// How many keys are known for which nothing older may be read.
const FLOORS: u64 = 100_000;

/// How many versions are told to the cache at once.
const BATCH: usize = 256;

/// How long the cache is left alone after a failure.
const REST: Duration = Duration::from_secs(1);

/// A [`RecordCache`] that is never worse than slow.
///
/// A failure is a miss, and the cache is left alone for a while. What this process has heard of is
/// told to the cache in the background; until that is sure it counts here: a cached record that is
/// older is not used, wherever it came from. When the cache cannot be told, or when this process
/// may have missed something, it is not used until it was flushed.
#[derive(Clone, Debug)]
pub struct SharedCache {
    tier: Arc<Tier>,
    told: mpsc::UnboundedSender<Told>,
}

#[derive(Debug)]
struct Tier {
    cache: Arc<dyn RecordCache>,
    options: SharedCacheOptions,
    /// Nothing older than these is read.
    floors: Cache<StateKey, Version>,
    /// How many flushes were asked for, and how many of them are done. It is used only when all
    /// are.
    asked: Arc<AtomicU64>,
    done: AtomicU64,
    resting: Mutex<Option<Instant>>,
}

#[derive(Debug)]
enum Told {
    Version(StateKey, Version),
    Flush,
}

impl SharedCache {
    /// Uses `cache`. Needs a tokio runtime, in which it tells the cache what it hears of.
    pub fn new(cache: Arc<dyn RecordCache>, options: SharedCacheOptions) -> Self {
        let asked = Arc::new(AtomicU64::new(0));
        let forgotten = Arc::clone(&asked);
        let floors = Cache::builder()
            .max_capacity(FLOORS)
            // Longer than any record that was filled in before could stay.
            .time_to_live(options.ttl * 2)
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    forgotten.fetch_add(1, Ordering::SeqCst);
                }
            })
            .build();
        let tier = Arc::new(Tier {
            cache,
            options,
            floors,
            asked,
            done: AtomicU64::new(0),
            resting: Mutex::default(),
        });
        let (told, telling) = mpsc::unbounded_channel();
        tokio::spawn(tell(Arc::clone(&tier), telling));
        Self { tier, told }
    }

    /// The live record of `key`, from the cache or by `load`.
    ///
    /// # Errors
    /// Those of `load`.
    pub async fn get<Fut>(
        &self,
        key: &StateKey,
        load: impl FnOnce() -> Fut,
    ) -> Result<Option<Record>>
    where
        Fut: Future<Output = Result<Option<Record>>>,
    {
        let ticket = match self.tier.look(key).await {
            Some(CacheLook {
                record: Some(record),
                ..
            }) => {
                metrics::counter!("statehouse_shared_cache_hits_total").increment(1);
                return Ok(Some(record));
            }
            Some(CacheLook { ticket, .. }) => Some(ticket),
            None => None,
        };
        metrics::counter!("statehouse_shared_cache_misses_total").increment(1);
        let record = load().await?;
        if let (Some(ticket), Some(record)) = (ticket, &record) {
            let (tier, record) = (Arc::clone(&self.tier), record.clone());
            tokio::spawn(async move { tier.fill(&ticket, &record).await });
        }
        Ok(record)
    }

    /// Takes note that `key` is at `version` now, or later.
    pub fn heard(&self, key: &StateKey, version: Version) {
        let floor = self.tier.floors.entry_by_ref(key);
        floor.and_upsert_with(|known| {
            known.map_or(version, |known| known.into_value().max(version))
        });
        // Without a receiver the runtime is gone, and so are all readers.
        let _ = self.told.send(Told::Version(key.clone(), version));
    }

    /// Forgets everything: something may have been missed.
    pub fn flush(&self) {
        self.tier.asked.fetch_add(1, Ordering::SeqCst);
        let _ = self.told.send(Told::Flush);
    }
}

impl Tier {
    /// Its generation, when no flush is due.
    fn fresh(&self) -> Option<u64> {
        let done = self.done.load(Ordering::SeqCst);
        (self.asked.load(Ordering::SeqCst) == done).then_some(done)
    }

    fn rests(&self) -> bool {
        self.resting
            .lock()
            .is_some_and(|until| Instant::now() < until)
    }

    /// What the cache knows, when it can be asked and may be believed.
    async fn look(&self, key: &StateKey) -> Option<CacheLook> {
        let generation = self.fresh().filter(|_| !self.rests())?;
        let mut look = self.within(self.cache.look(key)).await?;
        look.record = look.record.filter(|record| self.is_good(record));
        // What was missed while it answered counts.
        (self.fresh() == Some(generation)).then_some(look)
    }

    fn is_good(&self, record: &Record) -> bool {
        let floor = self.floors.get(&record.key).unwrap_or(0);
        let expired = record.expires_at.is_some_and(|at| at <= Timestamp::now());
        record.version >= floor && !expired
    }

    async fn fill(&self, ticket: &FillTicket, record: &Record) {
        let usable = self.fresh().is_some() && !self.rests();
        if record.tombstone.is_none() && usable && self.is_good(record) {
            let fill = self.cache.fill(ticket, record, self.options.ttl);
            self.within(fill).await;
        }
    }

    /// The answer, when there is one in time.
    async fn within<T>(&self, answer: impl Future<Output = Result<T>>) -> Option<T> {
        match tokio::time::timeout(self.options.timeout, answer).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => self.rest(Some(error)),
            Err(_) => self.rest(None),
        }
    }

    fn rest<T>(&self, error: Option<Error>) -> Option<T> {
        let until = Instant::now() + REST;
        let before = self.resting.lock().replace(until);
        if before.is_none_or(|before| before <= Instant::now()) {
            let why =
                error.map_or_else(|| "no answer in time".to_owned(), |error| error.to_string());
            tracing::warn!(why, "the shared cache is left alone for {REST:?}");
        }
        metrics::counter!("statehouse_shared_cache_failures_total").increment(1);
        None
    }

    /// Tells the cache; when that fails it is not to be believed any more.
    async fn tell(&self, told: &mut Vec<Told>) {
        let mut versions = Vec::with_capacity(told.len());
        for one in told.drain(..) {
            match one {
                Told::Version(key, version) => versions.push((key, version)),
                Told::Flush => {}
            }
        }
        if versions.is_empty() || self.fresh().is_none() {
            return;
        }
        let heard = self.cache.heard(&versions, self.options.ttl * 2);
        if self.within(heard).await.is_none() {
            self.asked.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Flushes the cache when that is due. Whatever is missed while it runs is for the next time.
    async fn freshen(&self) {
        let asked = self.asked.load(Ordering::SeqCst);
        if self.fresh().is_none() && self.within(self.cache.flush()).await.is_some() {
            self.done.store(asked, Ordering::SeqCst);
        }
    }
}

/// Tells the cache what this process hears of, for as long as anybody uses it.
async fn tell(tier: Arc<Tier>, mut telling: mpsc::UnboundedReceiver<Told>) {
    let mut told = Vec::with_capacity(BATCH);
    loop {
        let stale = tier.fresh().is_none();
        tokio::select! {
            count = telling.recv_many(&mut told, BATCH) => {
                if count == 0 {
                    return;
                }
                tier.freshen().await;
                tier.tell(&mut told).await;
            }
            // sleep: a cache that failed is tried again after its rest
            () = tokio::time::sleep(REST), if stale => tier.freshen().await,
        }
    }
}

#[cfg(test)]
mod tests;
