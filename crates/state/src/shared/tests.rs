//! A shared cache under races and failures.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use statehouse_contracts::{ContentType, ErrorKind, Principal};

use super::*;
use crate::{CacheOptions, StateCache};

/// Each key's newest version seen, and its record where one is kept.
type Kept = HashMap<StateKey, (Version, Option<Record>)>;

/// A shared cache in this process, which can fail and can hang.
#[derive(Debug, Default)]
struct Fake {
    kept: Mutex<(u64, Kept)>,
    fails: AtomicBool,
    hangs: AtomicBool,
    looks: AtomicU64,
}

impl Fake {
    async fn answer(&self) -> Result<()> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        match self.fails.load(Ordering::SeqCst) {
            true => Err(Error::new(ErrorKind::Unavailable, "the cache is down")),
            false => Ok(()),
        }
    }

    /// Puts a record in behind everybody's back.
    fn plant(&self, version: Version) {
        let mut kept = self.kept.lock();
        kept.1.insert(key(), (version, Some(record(version))));
    }

    fn keeps(&self) -> Option<Version> {
        let kept = self.kept.lock();
        kept.1
            .get(&key())
            .and_then(|(version, record)| record.as_ref().map(|_| *version))
    }
}

#[async_trait]
impl RecordCache for Fake {
    async fn look(&self, key: &StateKey) -> Result<CacheLook> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.answer().await?;
        let kept = self.kept.lock();
        Ok(CacheLook {
            record: kept.1.get(key).and_then(|(_, record)| record.clone()),
            ticket: FillTicket(kept.0.to_string()),
        })
    }

    async fn fill(&self, ticket: &FillTicket, record: &Record, _: Duration) -> Result<bool> {
        self.answer().await?;
        let mut kept = self.kept.lock();
        let newer = kept
            .1
            .get(&record.key)
            .is_some_and(|(known, _)| *known > record.version);
        if ticket.0 != kept.0.to_string() || newer {
            return Ok(false);
        }
        kept.1
            .insert(record.key.clone(), (record.version, Some(record.clone())));
        Ok(true)
    }

    async fn heard(&self, versions: &[(StateKey, Version)], _: Duration) -> Result<()> {
        self.answer().await?;
        let mut kept = self.kept.lock();
        for (key, version) in versions {
            if kept.1.get(key).is_none_or(|(known, _)| known < version) {
                kept.1.insert(key.clone(), (*version, None));
            }
        }
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        self.answer().await?;
        let mut kept = self.kept.lock();
        *kept = (kept.0 + 1, HashMap::new());
        Ok(())
    }
}

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

fn shared(fake: &Arc<Fake>) -> SharedCache {
    SharedCache::new(Arc::clone(fake) as _, SharedCacheOptions::default())
}

async fn read(shared: &SharedCache, stored: Version) -> Version {
    let load = || async { Ok(Some(record(stored))) };
    shared
        .get(&key(), load)
        .await
        .unwrap()
        .map_or(0, |record| record.version)
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            // sleep: the pause between two looks
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    assert!(waited.is_ok(), "{what}");
}

#[tokio::test]
async fn what_one_process_read_another_finds() {
    let fake = Arc::<Fake>::default();
    let (one, other) = (shared(&fake), shared(&fake));
    assert_eq!(read(&one, 1).await, 1);
    until("it is filled in", || fake.keeps() == Some(1)).await;
    assert_eq!(read(&other, 9).await, 1);
}

#[tokio::test]
async fn a_read_from_before_an_event_does_not_stick() {
    let fake = Arc::<Fake>::default();
    let shared = shared(&fake);
    let load = || async {
        shared.heard(&key(), 2);
        until("the cache was told", || {
            fake.kept.lock().1.contains_key(&key())
        })
        .await;
        Ok(Some(record(1)))
    };
    assert_eq!(shared.get(&key(), load).await.unwrap().unwrap().version, 1);
    assert_eq!(read(&shared, 2).await, 2);
    until("the newer is filled in", || fake.keeps() == Some(2)).await;
}

#[tokio::test]
async fn nothing_older_than_what_was_heard_is_read_even_if_the_cache_has_it() {
    let fake = Arc::<Fake>::default();
    let shared = shared(&fake);
    shared.heard(&key(), 3);
    until("the cache was told", || {
        fake.kept.lock().1.contains_key(&key())
    })
    .await;
    // As after a restart from an older snapshot.
    fake.plant(2);
    assert_eq!(read(&shared, 3).await, 3);
}

#[tokio::test]
async fn a_gap_flushes_the_cache_before_it_is_used_again() {
    let fake = Arc::<Fake>::default();
    let shared = shared(&fake);
    fake.plant(1);
    shared.flush();
    assert_eq!(read(&shared, 2).await, 2);
    until("it was flushed", || shared.tier.fresh().is_some()).await;
    assert_eq!(read(&shared, 2).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_could_not_be_told_is_flushed_when_it_is_back() {
    let fake = Arc::<Fake>::default();
    let shared = shared(&fake);
    fake.plant(1);
    fake.fails.store(true, Ordering::SeqCst);
    shared.heard(&key(), 2);
    until("the failure is known", || shared.tier.fresh().is_none()).await;
    fake.fails.store(false, Ordering::SeqCst);
    until("it was flushed", || shared.tier.fresh().is_some()).await;
    assert_eq!(fake.keeps(), None);
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_hangs_costs_one_timeout_and_is_then_left_alone() {
    let fake = Arc::<Fake>::default();
    let shared = shared(&fake);
    fake.hangs.store(true, Ordering::SeqCst);
    let start = tokio::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(read(&shared, 1).await, 1);
    }
    assert_eq!(start.elapsed(), SharedCacheOptions::default().timeout);
    assert_eq!(fake.looks.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn reads_stay_right_while_the_cache_dies_and_comes_back() {
    let fake = Arc::<Fake>::default();
    let stored = Arc::new(AtomicU64::new(1));
    let caches: Vec<Arc<StateCache>> = (0..3)
        .map(|_| {
            let cache = StateCache::new(CacheOptions::default());
            cache.share(shared(&fake));
            Arc::new(cache)
        })
        .collect();
    for version in 2..200 {
        match version % 20 {
            5 => fake.fails.store(true, Ordering::SeqCst),
            12 => fake.fails.store(false, Ordering::SeqCst),
            _ => {}
        }
        stored.store(version, Ordering::SeqCst);
        for cache in &caches {
            cache.heard(&key(), version);
        }
        for cache in &caches {
            let load = || async { Ok(Some(record(stored.load(Ordering::SeqCst)))) };
            let read = cache.get(&key(), load).await.unwrap().unwrap();
            assert_eq!(read.version, version);
        }
        tokio::task::yield_now().await;
    }
}
