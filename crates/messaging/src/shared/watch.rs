//! Watching shared values.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use statehouse_contracts::{
    Change, ChangeContent, ChangeData, ChangeOperation, Cursor, ErrorKind, Glob, Id, Record,
    Result, StateManagerExt, Version,
};
use tokio::time::Instant;

use super::scope::glob_under;
use super::{SharedKey, SharedMemory, SharedScope, SharedValue};
use crate::trace::{operation, traced};

/// What happened to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedEvent {
    /// It has this version now, or had it when the watch began.
    Put {
        /// Its key.
        key: SharedKey,
        /// The value, plain and verified.
        value: Arc<SharedValue>,
    },
    /// It was deleted, or expired.
    Gone {
        /// Its key.
        key: SharedKey,
        /// The version at which it is gone.
        version: Version,
        /// Whether it expired.
        expired: bool,
    },
}

/// Sees every change of the values that match, each once and in order, from when it was made. It
/// reads the change log, so nothing is dropped for a slow watcher, and nothing is left of one that
/// was dropped.
#[derive(Debug)]
pub struct SharedWatch {
    memory: SharedMemory,
    scope: SharedScope,
    prefix: String,
    glob: Glob,
    cursor: Cursor,
    ready: VecDeque<SharedEvent>,
    /// Versions that were told ahead of the change log.
    told: HashMap<Id, Version>,
}

impl SharedMemory {
    /// Watches the values of a scope whose names match, from now on. With `include_initial` it
    /// first tells those that are there.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for a pattern that is
    /// none; those of [`StateManager::list`](statehouse_contracts::StateManager::list).
    pub async fn watch(
        &self,
        scope: &SharedScope,
        pattern: &str,
        include_initial: bool,
    ) -> Result<SharedWatch> {
        let span = operation!("shared_memory.watch", scope = ?scope, pattern, include_initial);
        traced(span, self.open_watch(scope, pattern, include_initial)).await
    }

    async fn open_watch(
        &self,
        scope: &SharedScope,
        pattern: &str,
        include_initial: bool,
    ) -> Result<SharedWatch> {
        let prefix = scope.prefix(&self.agent)?;
        let counters = &self.inner.counters[scope.kind()];
        counters.watches.fetch_add(1, Ordering::Relaxed);
        let mut watch = SharedWatch {
            memory: self.clone(),
            scope: scope.clone(),
            glob: glob_under(&prefix, pattern).inspect_err(|_| {
                counters.watches.fetch_sub(1, Ordering::Relaxed);
            })?,
            prefix,
            cursor: Cursor(String::new()),
            ready: VecDeque::new(),
            told: HashMap::new(),
        };
        // Before the list: what changes meanwhile is told by both, and taken once.
        watch.cursor = self.inner.state.head().await?;
        if include_initial {
            watch.list(pattern).await?;
        }
        Ok(watch)
    }
}

impl SharedWatch {
    /// The next event; `None` when `wait` passes without one.
    ///
    /// # Errors
    /// [`CursorLost`](statehouse_contracts::ErrorKind::CursorLost) when the log was trimmed beyond
    /// what was seen: watch anew; [`Corrupted`](statehouse_contracts::ErrorKind::Corrupted) for a
    /// damaged value, which is skipped; those of the backend.
    pub async fn next(&mut self, wait: Duration) -> Result<Option<SharedEvent>> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let state = &self.memory.inner.state;
            let page = state.changes(&self.cursor, 0, left).await?;
            let quiet = page.changes.is_empty();
            for change in page.changes {
                self.take(change).await?;
            }
            if quiet {
                self.cursor = page.next;
            }
            if quiet && left.is_zero() {
                return Ok(None);
            }
        }
    }

    async fn list(&mut self, pattern: &str) -> Result<()> {
        let mut after = None;
        loop {
            let page = self
                .memory
                .list(&self.scope, pattern, 0, after.take())
                .await?;
            for (key, value) in page.items {
                self.told.insert(key.state.id.clone(), value.version);
                self.ready.push_back(SharedEvent::Put { key, value });
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Makes an event of `change` and goes on after it: also when its value is damaged, but not when
    /// the store cannot be reached.
    async fn take(&mut self, change: Change) -> Result<()> {
        let after = change.cursor.clone();
        match self.event(change).await {
            Ok(event) => {
                self.ready.extend(event);
                self.cursor = after;
                Ok(())
            }
            Err(error) => {
                if error.kind() == ErrorKind::Corrupted {
                    self.cursor = after;
                }
                Err(error)
            }
        }
    }

    async fn event(&mut self, change: Change) -> Result<Option<SharedEvent>> {
        let id = change.key.id.as_str();
        if change.key.kind != super::scope::shared_kind()? || !self.glob.matches(id) {
            return Ok(None);
        }
        match self.told.get(&change.key.id) {
            Some(told) if *told >= change.version => return Ok(None),
            Some(_) => drop(self.told.remove(&change.key.id)),
            None => {}
        }
        let key = self.memory.key(&self.scope, &id[self.prefix.len()..])?;
        let expired = change.operation == ChangeOperation::Expire;
        if expired || change.operation == ChangeOperation::Delete {
            let version = change.version;
            return Ok(Some(SharedEvent::Gone {
                key,
                version,
                expired,
            }));
        }
        let record = match whole(&change) {
            Some(record) => record,
            // Only its successor is kept: that is told now, and its change is known by then.
            None => match self.memory.inner.state.get(&change.key).await? {
                Some(record) => {
                    self.told.insert(change.key.id.clone(), record.version);
                    record
                }
                None => return Ok(None),
            },
        };
        let value = Arc::new(self.memory.decode(record)?);
        Ok(Some(SharedEvent::Put { key, value }))
    }
}

impl Drop for SharedWatch {
    fn drop(&mut self) {
        let counters = &self.memory.inner.counters[self.scope.kind()];
        counters.watches.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The record that `change` wrote, when it tells all of it.
fn whole(change: &Change) -> Option<Record> {
    let content: &ChangeContent = change.content.as_ref()?;
    let ChangeData::Whole(data) = &content.data else {
        return None;
    };
    Some(Record {
        key: change.key.clone(),
        version: change.version,
        data: data.clone(),
        content_type: content.content_type.clone(),
        schema: content.schema.clone(),
        created_at: content.created_at,
        created_by: content.created_by.clone(),
        updated_at: change.at,
        updated_by: change.by.clone(),
        expires_at: content.expires_at,
        tombstone: None,
    })
}
