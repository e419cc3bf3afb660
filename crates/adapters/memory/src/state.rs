//! The state manager: locks, asks the records, and wakes who waits.

mod body;
mod entry;
mod list;
mod log;
#[cfg(test)]
mod model;
mod outbox;
mod records;
mod stage;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use statehouse_contracts::{
    Applied, Change, ChangeLog, ChangePage, Cursor, Durability, Error, Follower, FollowerName,
    FollowerSpec, HistoryQuery, Lease, LeaseToken, ListQuery, Outbox, OutboxEntry, OutboxSettle,
    Page, PageCursor, Prune, Pruned, Record, Result, StateCapability, StateKey, StateManager,
    Transaction, Trim, Version, Wake,
};

use crate::gate::{Look, look};
use crate::page::{self, MAX_PAGE};
use crate::queue::MAX_PAYLOAD;
use crate::state::body::Body;
use crate::state::entry::{Draft, Stored, never_was};
use crate::state::records::Author;
pub(crate) use crate::state::records::Records;
use crate::store::{EXPIRY_LAG, Handle};
use crate::time::{Time, deadline};

/// The largest record in bytes.
pub(crate) const MAX_DATA: usize = 16 * 1024 * 1024;

/// A handle on the state of one namespace.
#[derive(Debug)]
pub(crate) struct MemoryState(pub(crate) Handle);

impl MemoryState {
    /// Runs `act` on the records, after what has expired by now was written.
    fn with<T>(&self, act: impl FnOnce(&mut Records, Time) -> Result<T>) -> Result<T> {
        self.0.gate.check()?;
        self.0.with_state(act)
    }
}

#[async_trait]
impl StateManager for MemoryState {
    fn capability(&self) -> StateCapability {
        StateCapability {
            durability: Durability::NONE,
            max_data: MAX_DATA,
            max_writes: 1_000,
            max_message: MAX_PAYLOAD,
            max_page: MAX_PAGE,
            dedup_window: self.0.store.config.op_window,
            expiry_lag: EXPIRY_LAG,
            import_export: true,
            deliver_local: true,
            wake: Wake::Push,
        }
    }

    async fn apply(&self, transaction: Transaction) -> Result<Applied> {
        let fingerprint = transaction
            .op_id
            .as_ref()
            .map(|_| transaction.fingerprint());
        let sends = !transaction.messages.is_empty();
        let applied = self.with(|records, now| {
            let author = Author {
                by: &self.0.principal,
                now,
            };
            let deliver = |messages| self.0.space.admit_all(&self.0.store, messages, now);
            records.apply(
                transaction,
                fingerprint.unwrap_or_default(),
                author,
                deliver,
            )
        })?;
        self.0.space.changed.notify_waiters();
        if sends {
            self.0.space.outbox.notify_waiters();
        }
        Ok(applied)
    }

    async fn get_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Record>>> {
        let drafts: Vec<Option<Draft>> = self.with(|records, _| {
            let draft = |key: &StateKey| records.live(key).map(|live| live.draft(key.clone()));
            Ok(keys.iter().map(draft).collect())
        })?;
        Ok(drafts
            .into_iter()
            .map(|draft| draft.map(Draft::read))
            .collect())
    }

    async fn read_version(&self, key: &StateKey, version: Version) -> Result<Record> {
        let draft = self.with(|records, _| {
            let entry = records.entry(key).ok_or_else(|| never_was(key, version))?;
            Ok(entry.version(key, version)?.draft(key.clone()))
        })?;
        Ok(draft.read())
    }

    async fn list(&self, query: ListQuery) -> Result<Page<Record>> {
        Ok(read_page(self.with(|records, _| records.list(&query))?))
    }

    async fn history(&self, key: &StateKey, query: HistoryQuery) -> Result<Vec<Record>> {
        let before = query.before.unwrap_or(Version::MAX);
        let drafts: Vec<Draft> = self.with(|records, _| {
            let kept = records
                .entry(key)
                .into_iter()
                .flat_map(|entry| entry.history(before));
            let page = kept.take(page::size(query.limit));
            Ok(page.map(|stored| stored.draft(key.clone())).collect())
        })?;
        let read = if query.data {
            Draft::read
        } else {
            Draft::without_data
        };
        Ok(drafts.into_iter().map(read).collect())
    }

    async fn prune(&self, prune: Prune) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        let mut after = None;
        loop {
            let step =
                |records: &mut Records, now| Ok(records.prune_step(&prune, after.as_ref(), now));
            let (went, next) = self.with(step)?;
            pruned.versions += went.versions;
            pruned.keys += went.keys;
            match next {
                Some(key) => after = Some(key),
                None => return Ok(pruned),
            }
            tokio::task::yield_now().await;
        }
    }

    async fn export(&self, limit: usize, after: Option<&PageCursor>) -> Result<Page<Record>> {
        Ok(read_page(
            self.with(|records, _| records.export(limit, after))?,
        ))
    }

    async fn import(&self, records: Vec<Record>) -> Result<Vec<bool>> {
        check_import(&records)?;
        let imported = self.with(|known, now| {
            let author = Author {
                by: &self.0.principal,
                now,
            };
            known.begin();
            let import = |record| {
                let (key, stored) = stored(record);
                known.import(key, stored, author)
            };
            Ok(records.into_iter().map(import).collect())
        })?;
        self.0.space.changed.notify_waiters();
        Ok(imported)
    }

    async fn close(&self) -> Result<()> {
        self.0.gate.close();
        Ok(())
    }
}

fn read_page(page: Page<Draft>) -> Page<Record> {
    Page {
        items: page.items.into_iter().map(Draft::read).collect(),
        next: page.next,
    }
}

fn check_import(records: &[Record]) -> Result<()> {
    let mut keys = BTreeSet::new();
    for record in records {
        let key = &record.key;
        if record.version == 0 || record.version > i64::MAX as Version {
            return Err(Error::invalid(format!(
                "{key} is imported at version {}; versions go from 1 to {}",
                record.version,
                i64::MAX
            )));
        }
        if !keys.insert(key) {
            return Err(Error::invalid(format!(
                "{key} is imported twice in one call"
            )));
        }
    }
    Ok(())
}

fn stored(record: Record) -> (StateKey, Stored) {
    let stored = Stored {
        version: record.version,
        body: Body::whole(record.data),
        appended: false,
        content_type: record.content_type,
        schema: record.schema,
        created_at: record.created_at,
        created_by: record.created_by,
        updated_at: record.updated_at,
        updated_by: record.updated_by,
        expires_at: record.expires_at,
        tombstone: record.tombstone,
    };
    (record.key, stored)
}

#[async_trait]
impl ChangeLog for MemoryState {
    async fn changes(&self, after: &Cursor, limit: usize, wait: Duration) -> Result<ChangePage> {
        let read = || {
            let page = self.with(|records, _| read_changes(records, after, page::size(limit)))?;
            if page.changes.is_empty() {
                return Ok(Look::Empty(self.0.space.changed.clone()));
            }
            Ok(Look::Found(page))
        };
        let found = look(&self.0.gate, wait, read).await?;
        let nothing = || ChangePage {
            changes: Vec::new(),
            next: after.clone(),
        };
        Ok(found.unwrap_or_else(nothing))
    }

    async fn head(&self) -> Result<Cursor> {
        self.with(|records, _| Ok(records.log.head()))
    }

    async fn oldest(&self) -> Result<Cursor> {
        self.with(|records, _| Ok(records.log.oldest()))
    }

    async fn follow(&self, name: &FollowerName, spec: FollowerSpec) -> Result<Follower> {
        self.with(|records, now| records.log.follow(name, spec, now))
    }

    async fn advance(&self, name: &FollowerName, cursor: &Cursor) -> Result<()> {
        self.with(|records, now| records.log.advance(name, cursor, now))
    }

    async fn followers(&self) -> Result<Vec<Follower>> {
        self.with(|records, _| Ok(records.log.followers()))
    }

    async fn unfollow(&self, name: &FollowerName) -> Result<bool> {
        self.with(|records, _| Ok(records.log.unfollow(name)))
    }

    async fn trim(&self, trim: Trim) -> Result<u64> {
        self.with(|records, now| Ok(records.log.trim(trim, now)))
    }
}

fn read_changes(records: &Records, after: &Cursor, limit: usize) -> Result<ChangePage> {
    let log = &records.log;
    let changes: Vec<Change> = log
        .after(after, limit)?
        .map(|(position, entry)| {
            let stored = records
                .entry(&entry.key)
                .and_then(|key| key.find(entry.version));
            Change {
                cursor: log.cursor(position),
                commit: entry.commit,
                key: entry.key.clone(),
                version: entry.version,
                operation: entry.operation,
                at: entry.at.timestamp(),
                by: entry.by.clone(),
                op_id: entry.op_id.clone(),
                content: stored.and_then(Stored::change),
            }
        })
        .collect();
    let next = changes.last().map_or(after, |last| &last.cursor).clone();
    Ok(ChangePage { changes, next })
}

#[async_trait]
impl Outbox for MemoryState {
    async fn outbox_lease(&self, owner: &str, lease: Duration) -> Result<Option<Lease>> {
        let start = Instant::now();
        let token = self.with(|records, now| records.outbox.lease(owner, lease, now))?;
        // Who waits under the lease that this one replaces learns it at once.
        self.0.space.outbox.notify_waiters();
        let deadline = deadline(start, lease);
        Ok(token.map(|token| Lease { token, deadline }))
    }

    async fn outbox_extend(&self, token: &LeaseToken, lease: Duration) -> Result<Lease> {
        let start = Instant::now();
        self.with(|records, now| records.outbox.extend(token, lease, now))?;
        Ok(Lease {
            token: token.clone(),
            deadline: deadline(start, lease),
        })
    }

    async fn outbox_release(&self, token: &LeaseToken) -> Result<()> {
        self.with(|records, _| {
            records.outbox.release(token);
            Ok(())
        })
    }

    async fn outbox_read(
        &self,
        token: &LeaseToken,
        after: u64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<OutboxEntry>> {
        let size = page::size(limit);
        let read = || {
            let found = self.with(|records, now| records.outbox.read(token, after, size, now))?;
            if found.is_empty() {
                return Ok(Look::Empty(self.0.space.outbox.clone()));
            }
            Ok(Look::Found(found))
        };
        Ok(look(&self.0.gate, wait, read).await?.unwrap_or_default())
    }

    async fn outbox_settle(&self, token: &LeaseToken, settles: Vec<OutboxSettle>) -> Result<()> {
        self.with(|records, now| records.outbox.settle(token, settles, now))
    }

    async fn outbox_depth(&self) -> Result<u64> {
        self.with(|records, _| Ok(records.outbox.depth()))
    }

    async fn outbox_parked(
        &self,
        limit: usize,
        after: Option<&PageCursor>,
    ) -> Result<Page<OutboxEntry>> {
        self.with(|records, _| records.outbox.parked(limit, after))
    }

    async fn outbox_unpark(&self, position: u64) -> Result<()> {
        self.with(|records, _| records.outbox.unpark(position))?;
        self.0.space.outbox.notify_waiters();
        Ok(())
    }

    async fn outbox_discard(&self, position: u64) -> Result<()> {
        self.with(|records, _| records.outbox.discard(position))?;
        self.0.space.outbox.notify_waiters();
        Ok(())
    }
}

/// A handle for any role begins like this.
pub(crate) fn open(handle: Handle) -> Arc<dyn StateManager> {
    Arc::new(MemoryState(handle))
}
