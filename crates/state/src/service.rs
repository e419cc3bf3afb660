//! The state service.

use std::sync::Arc;

use statehouse_contracts::{
    Applied, Cursor, Error, Record, Result, StateKey, StateManager, StateManagerExt, Transaction,
};

use crate::{StateCache, Watch, WatchFilter};

/// Versioned state for one scope: writes through to the manager, reads through a cache.
///
/// Every change becomes an event by the [`Relay`](crate::Relay), derived from the change log, so
/// nothing that was accepted goes without one and none is invented.
#[derive(Clone, Debug)]
pub struct StateService {
    state: Arc<dyn StateManager>,
    cache: Option<Arc<StateCache>>,
}

impl StateService {
    /// Over `state`, with a cache or without. A cache belongs to one namespace, is shared by its
    /// services, and needs a [`CacheFeed`](crate::CacheFeed) when other processes write.
    pub fn new(state: Arc<dyn StateManager>, cache: Option<Arc<StateCache>>) -> Self {
        Self { state, cache }
    }

    /// The manager beneath, for what needs no cache.
    pub fn manager(&self) -> &Arc<dyn StateManager> {
        &self.state
    }

    /// Applies a transaction.
    ///
    /// # Errors
    /// Those of [`StateManager::apply`].
    pub async fn update(&self, transaction: Transaction) -> Result<Applied> {
        let keys: Vec<StateKey> = match &self.cache {
            Some(_) => transaction
                .writes
                .iter()
                .map(|write| write.key.clone())
                .collect(),
            None => Vec::new(),
        };
        let unclear = Unclear(self.cache.as_deref());
        let applied = self.state.apply(transaction).await;
        unclear.settled();
        if let Some(cache) = &self.cache {
            match &applied {
                Ok(applied) => {
                    keys.iter()
                        .zip(&applied.versions)
                        .for_each(|(key, version)| cache.heard(key, *version));
                }
                // It may have been applied: what is cached may be older.
                Err(error) if error.is_ambiguous() => cache.flush(),
                Err(_) => {}
            }
        }
        applied
    }

    /// The live record of `key`.
    ///
    /// # Errors
    /// Those of the manager.
    pub async fn get(&self, key: &StateKey) -> Result<Option<Arc<Record>>> {
        match &self.cache {
            Some(cache) => cache.get(key, || self.state.get(key)).await,
            None => Ok(self.state.get(key).await?.map(Arc::new)),
        }
    }

    /// The changes that `filter` lets through, after `after`, or from now on.
    ///
    /// # Errors
    /// Those of the manager.
    pub async fn watch(&self, filter: WatchFilter, after: Option<Cursor>) -> Result<Watch, Error> {
        let after = match after {
            Some(after) => after,
            None => self.state.head().await?,
        };
        Ok(Watch::new(Arc::clone(&self.state), filter, after))
    }
}

/// A write under way. When its caller gives up, it may be applied all the same: what is cached may
/// be older then.
struct Unclear<'c>(Option<&'c StateCache>);

impl Unclear<'_> {
    fn settled(mut self) {
        self.0 = None;
    }
}

impl Drop for Unclear<'_> {
    fn drop(&mut self) {
        if let Some(cache) = self.0 {
            cache.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use statehouse_contracts::{ContentType, Principal, Timestamp};

    use super::*;
    use crate::CacheOptions;

    async fn cached() -> (StateCache, StateKey) {
        let (cache, key) = (
            StateCache::new(CacheOptions::default()),
            StateKey::parse("k", "1").unwrap(),
        );
        let (at, by) = (Timestamp::UNIX_EPOCH, Principal::new("p").unwrap());
        let record = Record {
            key: key.clone(),
            version: 1,
            data: "x".into(),
            content_type: ContentType::TEXT,
            schema: None,
            created_at: at,
            created_by: by.clone(),
            updated_at: at,
            updated_by: by,
            expires_at: None,
            tombstone: None,
        };
        cache
            .get(&key, || async { Ok(Some(record.clone())) })
            .await
            .unwrap();
        (cache, key)
    }

    #[tokio::test]
    async fn a_write_whose_caller_gave_up_leaves_nothing_in_the_cache() {
        let (cache, key) = cached().await;
        Unclear(Some(&cache)).settled();
        assert!(cache.peek(&key).is_some());
        drop(Unclear(Some(&cache)));
        assert!(cache.peek(&key).is_none());
    }
}
