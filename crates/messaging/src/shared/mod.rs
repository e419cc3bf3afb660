//! What agents share: named values with versions.

mod access;
mod cache;
mod coding;
mod feed;
mod scope;
mod value;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use statehouse_contracts::{Error, Page, PageCursor, Precondition, Result, StateManager, Version};

use cache::Cache;
pub use feed::SharedFeed;
pub use scope::{SharedKey, SharedScope};
use value::Counters;
pub use value::{PutShared, SharedStats, SharedValue, SharedWritten};
pub use watch::{SharedEvent, SharedWatch};

use crate::trace::{operation, traced};

/// The values that agents share, in scopes; durable and shared by processes as its state manager is.
///
/// - Each value has a version. A delete is a version too, and versions never come twice: a write
///   under a version that was read before a delete fails.
/// - Scopes do not see each other, whatever their instances and keys are called. The scope
///   [`Agent`](SharedScope::Agent) is that of the handle's own agent, and of nobody else.
/// - Values from 1,024 bytes on are compressed when that makes them smaller; each is verified when
///   it is read.
/// - [`SharedMemory::peek`] reads what this process has seen, at once and without copying; a
///   [`SharedFeed`] keeps that fresh.
///
/// They are records of the kind `shared`. Clones are the same memory and the same agent.
///
/// ```
/// use statehouse_contracts::{Endpoint, ErrorKind, Factory, Precondition, Result, Scope};
/// use statehouse_messaging::{PutShared, SharedMemory, SharedScope};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let backend = statehouse_memory::Memory.open(&Endpoint::parse("memory:")?).await?;
/// let state = backend.state(&Scope::parse("default", "planner")?).await?;
/// let memory = SharedMemory::new(state, "planner")?;
///
/// let plan = memory.key(&SharedScope::Workflow("w1".into()), "plan")?;
/// let first = memory.put(&plan, PutShared::new("draft")).await?;
/// let only_if = Precondition::Version(first.version);
/// memory.put(&plan, PutShared::new("revised").when(only_if)).await?;
///
/// let stale = memory.put(&plan, PutShared::new("lost").when(only_if)).await.unwrap_err();
/// assert_eq!(stale.kind(), ErrorKind::Conflict);
/// assert_eq!(memory.get(&plan).await?.expect("it is there").value, "revised");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SharedMemory {
    agent: Arc<str>,
    inner: Arc<Inner>,
}

struct Inner {
    state: Arc<dyn StateManager>,
    cache: Cache,
    counters: [Counters; SharedScope::KINDS],
    /// How many feeds keep the cache fresh; without one it is not used.
    feeds: AtomicU64,
}

impl SharedMemory {
    /// Over `state`, for `agent`.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) without an agent.
    pub fn new(state: Arc<dyn StateManager>, agent: &str) -> Result<Self> {
        let inner = Inner {
            state,
            cache: Cache::new(),
            counters: std::array::from_fn(|_| Counters::default()),
            feeds: AtomicU64::new(0),
        };
        Self::build(agent, Arc::new(inner))
    }

    /// The same memory and cache, for another agent of this process.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) without an agent.
    pub fn for_agent(&self, agent: &str) -> Result<Self> {
        Self::build(agent, Arc::clone(&self.inner))
    }

    fn build(agent: &str, inner: Arc<Inner>) -> Result<Self> {
        if agent.is_empty() {
            return Err(Error::invalid(
                "agent is empty; shared memory is used by somebody",
            ));
        }
        let agent = agent.into();
        Ok(Self { agent, inner })
    }

    /// The key of a value: a scope and a name.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for an empty name or instance, for control
    /// characters, or when both together are longer than an id may be (512 bytes).
    pub fn key(&self, scope: &SharedScope, name: &str) -> Result<SharedKey> {
        SharedKey::new(scope, &self.agent, name)
    }

    /// The value of `key` now; `None` when there is none.
    ///
    /// # Errors
    /// [`Corrupted`](statehouse_contracts::ErrorKind::Corrupted) when it does not match its checksum;
    /// [`PermissionDenied`](statehouse_contracts::ErrorKind::PermissionDenied) for another agent's key; those of
    /// [`StateManager::get_many`].
    pub async fn get(&self, key: &SharedKey) -> Result<Option<Arc<SharedValue>>> {
        let span = operation!("shared_memory.get", key = %key);
        traced(span, self.read(key)).await
    }

    /// The value of `key` as this process last saw it, at once and without copying; `None` when it
    /// has not seen it, when it has expired, when the key is another agent's, or when no
    /// [`SharedFeed`] runs. Another process's write is seen as soon as the feed has heard of it.
    pub fn peek(&self, key: &SharedKey) -> Option<Arc<SharedValue>> {
        if !self.is_fed() || self.check_owner(key).is_err() {
            return None;
        }
        self.inner.cache.get(&key.state.id)
    }

    /// Stores a value.
    ///
    /// # Errors
    /// [`Conflict`](statehouse_contracts::ErrorKind::Conflict) that tells the current version;
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for a value beyond the store's `max_data`,
    /// compressed or not; [`PermissionDenied`](statehouse_contracts::ErrorKind::PermissionDenied) for another agent's
    /// key; those of [`StateManager::apply`].
    pub async fn put(&self, key: &SharedKey, put: PutShared) -> Result<SharedWritten> {
        let span = operation!("shared_memory.put", key = %key, size_bytes = put.value.len());
        traced(span, self.store(key, put)).await
    }

    /// Deletes a value; answers whether there was one.
    ///
    /// # Errors
    /// Those of [`SharedMemory::end`].
    pub async fn delete(&self, key: &SharedKey, precondition: Precondition) -> Result<bool> {
        Ok(self.end(key, precondition).await?.is_some())
    }

    /// Deletes a value; answers the version of its end, if there was one.
    ///
    /// # Errors
    /// [`Conflict`](statehouse_contracts::ErrorKind::Conflict) when the precondition does not hold for a value that is
    /// there; [`PermissionDenied`](statehouse_contracts::ErrorKind::PermissionDenied) for another agent's key; those of
    /// [`StateManager::apply`].
    pub async fn end(
        &self,
        key: &SharedKey,
        precondition: Precondition,
    ) -> Result<Option<Version>> {
        let span = operation!("shared_memory.delete", key = %key);
        traced(span, self.remove(key, precondition)).await
    }

    /// A page of the values of a scope whose names match, by name. In a pattern `*` is any run of
    /// characters, `?` one, `[a-z]` one of a set.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for a pattern or cursor that is none; those
    /// of [`StateManager::list`].
    pub async fn list(
        &self,
        scope: &SharedScope,
        pattern: &str,
        limit: usize,
        after: Option<PageCursor>,
    ) -> Result<Page<(SharedKey, Arc<SharedValue>)>> {
        let span = operation!("shared_memory.list", scope = ?scope, pattern);
        traced(span, self.values(scope, pattern, limit, after)).await
    }

    /// Deletes all values of a scope, as when its workflow is over. Answers how many.
    ///
    /// # Errors
    /// Those of [`SharedMemory::list`] and [`SharedMemory::delete`].
    pub async fn clear(&self, scope: &SharedScope) -> Result<u64> {
        self.clear_telling(scope, |_, _| {}).await
    }

    /// Deletes all values of a scope, and tells of each and of the version of its end. Answers how
    /// many.
    ///
    /// # Errors
    /// Those of [`SharedMemory::list`] and [`SharedMemory::delete`].
    pub async fn clear_telling(
        &self,
        scope: &SharedScope,
        told: impl Fn(&SharedKey, Version) + Send,
    ) -> Result<u64> {
        let (mut cleared, mut after) = (0, None);
        let prefix = scope.prefix(&self.agent)?.len();
        loop {
            let page = self.page(scope, "*", 0, after).await?;
            for record in page.items {
                let key = self.key(scope, &record.key.id.as_str()[prefix..])?;
                if let Some(version) = self.end(&key, Precondition::None).await? {
                    told(&key, version);
                    cleared += 1;
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(cleared),
            }
        }
    }

    /// Numbers of a scope. Counts its values by listing them.
    ///
    /// # Errors
    /// Those of [`StateManager::list`].
    pub async fn stats(&self, scope: &SharedScope) -> Result<SharedStats> {
        let counters = &self.inner.counters[scope.kind()];
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut stats = SharedStats {
            reads: read(&counters.reads),
            writes: read(&counters.writes),
            conflicts: read(&counters.conflicts),
            watches: read(&counters.watches),
            ..SharedStats::default()
        };
        let mut after = None;
        loop {
            let page = self.page(scope, "*", 0, after).await?;
            stats.keys += page.items.len() as u64;
            let sizes = page.items.iter().map(|record| record.data.len() as u64);
            stats.stored_bytes += sizes.sum::<u64>();
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(stats),
            }
        }
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory")
            .field("agent", &self.agent)
            .field("state", &self.inner.state)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
