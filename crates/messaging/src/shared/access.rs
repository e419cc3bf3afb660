//! What reads and writes come to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use statehouse_contracts::{
    Error, ErrorKind, ListQuery, Operation, Page, PageCursor, Precondition, Record, Result,
    StateManagerExt, Version, Write,
};

use super::value::Counters;
use super::{
    PutShared, SharedKey, SharedMemory, SharedScope, SharedValue, SharedWritten, coding, scope,
};

impl SharedMemory {
    pub(super) async fn read(&self, key: &SharedKey) -> Result<Option<Arc<SharedValue>>> {
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

    pub(super) async fn store(&self, key: &SharedKey, put: PutShared) -> Result<SharedWritten> {
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

    pub(super) async fn remove(
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

    pub(super) async fn values(
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

    pub(super) async fn page(
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

    pub(super) fn decode(&self, record: Record) -> Result<SharedValue> {
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

    pub(super) fn check_owner(&self, key: &SharedKey) -> Result<()> {
        match &key.owner {
            Some(owner) if **owner != *self.agent => Err(Error::new(
                ErrorKind::PermissionDenied,
                "the key is private to another agent",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn is_fed(&self) -> bool {
        self.inner.feeds.load(Ordering::Acquire) > 0
    }

    pub(super) fn count(&self, scope: usize, counter: fn(&Counters) -> &AtomicU64) {
        counter(&self.inner.counters[scope]).fetch_add(1, Ordering::Relaxed);
    }
}
