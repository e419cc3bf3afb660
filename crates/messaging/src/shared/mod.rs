//! What agents share: named values with versions.

mod cache;
mod coding;
mod feed;
mod scope;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use statehouse_contracts::{
    ContentType, Error, ErrorKind, ListQuery, Operation, Page, PageCursor, Precondition, Principal,
    Record, ReferenceId, Result, StateManager, StateManagerExt, Timestamp, Version, Write,
};

use cache::Cache;
pub use feed::SharedFeed;
pub use scope::{SharedKey, SharedScope};
pub use watch::{SharedEvent, SharedWatch};

/// What to store, and how.
#[derive(Clone, Debug)]
pub struct PutShared {
    /// The value.
    pub value: Bytes,
    /// Its media type.
    pub content_type: ContentType,
    /// What must hold: nothing, absent (create only), or the version that was read.
    pub precondition: Precondition,
    /// How long it lives; `None`: for ever.
    pub ttl: Option<Duration>,
}

impl PutShared {
    /// `value`, without a precondition, for ever.
    pub fn new(value: impl Into<Bytes>) -> Self {
        Self {
            value: value.into(),
            content_type: ContentType::BYTES,
            precondition: Precondition::None,
            ttl: None,
        }
    }

    /// The same under a precondition.
    pub fn when(mut self, precondition: Precondition) -> Self {
        self.precondition = precondition;
        self
    }
}

/// The answer to a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedWritten {
    /// The version it has now.
    pub version: Version,
    /// The SHA-256 of the value.
    pub checksum: ReferenceId,
    /// Its size as it is stored.
    pub stored_size: u64,
}

/// A shared value, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedValue {
    /// The plain bytes.
    pub value: Bytes,
    /// Their media type.
    pub content_type: ContentType,
    /// The version.
    pub version: Version,
    /// The SHA-256 of the plain bytes.
    pub checksum: ReferenceId,
    /// When and by whom the key came to life.
    pub created_at: Timestamp,
    /// Who did that.
    pub created_by: Principal,
    /// When this version was written.
    pub updated_at: Timestamp,
    /// Who wrote it.
    pub updated_by: Principal,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
}

/// Numbers of one scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SharedStats {
    /// Its values.
    pub keys: u64,
    /// Their bytes, as they are stored.
    pub stored_bytes: u64,
    /// Reads, lists included, by this process, of all scopes of this sort.
    pub reads: u64,
    /// Writes and deletes by this process, of all scopes of this sort.
    pub writes: u64,
    /// Preconditions that failed for this process, of all scopes of this sort.
    pub conflicts: u64,
    /// Watches that are open in this process, on all scopes of this sort.
    pub watches: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    reads: AtomicU64,
    writes: AtomicU64,
    conflicts: AtomicU64,
    watches: AtomicU64,
}

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
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) without an agent.
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
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) without an agent.
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
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for an empty name or instance, for control
    /// characters, or when both together are longer than an id may be (512 bytes).
    pub fn key(&self, scope: &SharedScope, name: &str) -> Result<SharedKey> {
        SharedKey::new(scope, &self.agent, name)
    }

    /// The value of `key` now; `None` when there is none.
    ///
    /// # Errors
    /// [`Corrupted`](ErrorKind::Corrupted) when it does not match its checksum;
    /// [`PermissionDenied`](ErrorKind::PermissionDenied) for another agent's key; those of
    /// [`StateManager::get_many`].
    pub async fn get(&self, key: &SharedKey) -> Result<Option<Arc<SharedValue>>> {
        self.check_owner(key)?;
        self.count(key.scope, |counters| &counters.reads);
        let ticket = self.inner.cache.ticket(&key.state.id);
        let Some(record) = self.inner.state.get(&key.state).await? else {
            return Ok(None);
        };
        let value = Arc::new(self.decode(record)?);
        if self.is_fed() {
            self.inner.cache.fill(&key.state.id, ticket, &value);
        }
        Ok(Some(value))
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
    /// [`Conflict`](ErrorKind::Conflict) that tells the current version;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a value beyond the store's `max_data`,
    /// compressed or not; [`PermissionDenied`](ErrorKind::PermissionDenied) for another agent's
    /// key; those of [`StateManager::apply`].
    pub async fn put(&self, key: &SharedKey, put: PutShared) -> Result<SharedWritten> {
        self.check_owner(key)?;
        let max = self.inner.state.capability().max_data;
        if put.value.len() > max {
            return Err(Error::invalid(format!(
                "the value has {} bytes, at most {max} are allowed",
                put.value.len()
            ))
            .with_context("key", key));
        }
        let stored = coding::encode(&put.value, &put.content_type)?;
        let stored_size = stored.data.len() as u64;
        let operation = Operation::Put {
            data: stored.data,
            content_type: stored.content_type,
            schema: None,
            ttl: put.ttl,
        };
        let version = self.write(key, operation, put.precondition).await?;
        Ok(SharedWritten {
            version,
            checksum: stored.checksum,
            stored_size,
        })
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
    /// [`Conflict`](ErrorKind::Conflict) when the precondition does not hold for a value that is
    /// there; [`PermissionDenied`](ErrorKind::PermissionDenied) for another agent's key; those of
    /// [`StateManager::apply`].
    pub async fn end(
        &self,
        key: &SharedKey,
        precondition: Precondition,
    ) -> Result<Option<Version>> {
        self.check_owner(key)?;
        loop {
            let Some(record) = self.inner.state.get(&key.state).await? else {
                return Ok(None);
            };
            let seen = Precondition::Version(record.version);
            let condition = match precondition {
                Precondition::None => seen,
                given => given,
            };
            match self.write(key, Operation::Delete, condition).await {
                Ok(version) => return Ok(Some(version)),
                // Somebody was faster: look again.
                Err(error)
                    if error.kind() == ErrorKind::Conflict
                        && precondition == Precondition::None => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A page of the values of a scope whose names match, by name. In a pattern `*` is any run of
    /// characters, `?` one, `[a-z]` one of a set.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a pattern or cursor that is none; those
    /// of [`StateManager::list`].
    pub async fn list(
        &self,
        scope: &SharedScope,
        pattern: &str,
        limit: usize,
        after: Option<PageCursor>,
    ) -> Result<Page<(SharedKey, Arc<SharedValue>)>> {
        self.count(scope.kind(), |counters| &counters.reads);
        let page = self.page(scope, pattern, limit, after).await?;
        let prefix = scope.prefix(&self.agent)?.len();
        let mut items = Vec::with_capacity(page.items.len());
        for record in page.items {
            let name = record.key.id.as_str()[prefix..].to_owned();
            items.push((self.key(scope, &name)?, Arc::new(self.decode(record)?)));
        }
        let next = page.next;
        Ok(Page { items, next })
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

    async fn page(
        &self,
        scope: &SharedScope,
        pattern: &str,
        limit: usize,
        after: Option<PageCursor>,
    ) -> Result<Page<Record>> {
        let prefix = scope.prefix(&self.agent)?;
        self.inner
            .state
            .list(ListQuery {
                glob: Some(scope::glob_under(&prefix, pattern)?),
                prefix: Some(prefix),
                limit,
                after,
                ..ListQuery::new(scope::shared_kind()?)
            })
            .await
    }

    async fn write(
        &self,
        key: &SharedKey,
        operation: Operation,
        precondition: Precondition,
    ) -> Result<Version> {
        let write = Write {
            key: key.state.clone(),
            operation,
            precondition,
        };
        let written = self.inner.state.write(write).await;
        match &written {
            Ok(version) => {
                self.inner.cache.heard(&key.state.id, *version);
                self.count(key.scope, |counters| &counters.writes);
            }
            Err(error) if error.kind() == ErrorKind::Conflict => {
                self.count(key.scope, |counters| &counters.conflicts);
            }
            // It may have been written all the same.
            Err(_) => self.inner.cache.heard(&key.state.id, Version::MAX),
        }
        written
    }

    fn decode(&self, record: Record) -> Result<SharedValue> {
        let max = self.inner.state.capability().max_data;
        let plain = coding::decode(record.data, &record.content_type, max)
            .map_err(|error| error.with_context("key", &record.key))?;
        Ok(SharedValue {
            value: plain.data,
            content_type: plain.content_type,
            checksum: plain.checksum,
            version: record.version,
            created_at: record.created_at,
            created_by: record.created_by,
            updated_at: record.updated_at,
            updated_by: record.updated_by,
            expires_at: record.expires_at,
        })
    }

    fn check_owner(&self, key: &SharedKey) -> Result<()> {
        match &key.owner {
            Some(owner) if **owner != *self.agent => Err(Error::new(
                ErrorKind::PermissionDenied,
                "the key is private to another agent",
            )),
            _ => Ok(()),
        }
    }

    fn is_fed(&self) -> bool {
        self.inner.feeds.load(Ordering::Acquire) > 0
    }

    fn count(&self, scope: usize, counter: fn(&Counters) -> &AtomicU64) {
        counter(&self.inner.counters[scope]).fetch_add(1, Ordering::Relaxed);
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
