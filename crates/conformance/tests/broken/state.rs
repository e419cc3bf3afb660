//! A state manager with faults.

use std::time::Duration;

use async_trait::async_trait;
use statehouse_contracts::{
    Applied, ChangeLog, ChangePage, Cursor, Error, ErrorKind, Follower, FollowerName, FollowerSpec,
    HistoryQuery, Lease, LeaseToken, ListQuery, Outbox, OutboxEntry, OutboxSettle, Page,
    PageCursor, Precondition, Prune, Pruned, Record, Result, StateCapability, StateKey,
    StateManager, Transaction, Trim, Version, Write,
};

use crate::Broken;
use crate::faults::Fault;

impl Broken<dyn StateManager> {
    /// Applies each write of a transaction that failed by itself.
    async fn apply_half(&self, transaction: Transaction) -> Result<Applied> {
        let applied = self.inner.apply(transaction.clone()).await;
        if applied.is_err() {
            for write in transaction.writes {
                // What cannot be applied was not to be applied anyway.
                let _ = self.inner.apply(Transaction::of(write)).await;
            }
        }
        applied
    }

    /// Makes a key that is not known at version 1, whatever versions it had.
    async fn apply_anew(&self, transaction: Transaction) -> Result<Applied> {
        let [write] = &transaction.writes[..] else {
            return self.inner.apply(transaction).await;
        };
        let history = self.inner.history(&write.key, HistoryQuery::default());
        if !history.await?.is_empty() {
            return self.inner.apply(transaction).await;
        }
        let applied = self.inner.apply(transaction.clone()).await?;
        let made = self
            .inner
            .get_many(std::slice::from_ref(&write.key))
            .await?
            .pop();
        let Some(Some(record)) = made else {
            return Ok(applied);
        };
        let forget = Prune {
            tombstones: Some(Duration::ZERO),
            ..Prune::default()
        };
        self.inner
            .apply(Transaction::of(Write::delete(write.key.clone())))
            .await?;
        self.inner.prune(forget).await?;
        self.inner
            .import(vec![Record {
                version: 1,
                ..record
            }])
            .await?;
        Ok(Applied {
            versions: vec![1],
            ..applied
        })
    }
}

/// The error with the first of its conflicts.
fn first_conflict(error: Error) -> Error {
    match error.conflict_list().first() {
        Some(first) => Error::conflicts(vec![first.clone()]),
        None => error,
    }
}

#[async_trait]
impl StateManager for Broken<dyn StateManager> {
    fn capability(&self) -> StateCapability {
        self.inner.capability()
    }

    async fn apply(&self, mut transaction: Transaction) -> Result<Applied> {
        match self.fault {
            Fault::AppliesHalf => return self.apply_half(transaction).await,
            Fault::RestartsVersions => return self.apply_anew(transaction).await,
            Fault::HidesConflicts => {
                return self.inner.apply(transaction).await.map_err(first_conflict);
            }
            Fault::LosesOutboxMessages => transaction.messages.clear(),
            Fault::IgnoresOpIds => transaction.op_id = None,
            Fault::IgnoresPreconditions => {
                let writes = transaction.writes.iter_mut();
                writes.for_each(|write| write.precondition = Precondition::None);
            }
            _ => {}
        }
        self.inner.apply(transaction).await
    }

    async fn get_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Record>>> {
        self.inner.get_many(keys).await
    }

    async fn read_version(&self, key: &StateKey, version: Version) -> Result<Record> {
        self.inner.read_version(key, version).await
    }

    async fn list(&self, mut query: ListQuery) -> Result<Page<Record>> {
        query.tombstones |= self.is(Fault::ListsTombstones);
        self.inner.list(query).await
    }

    async fn history(&self, key: &StateKey, query: HistoryQuery) -> Result<Vec<Record>> {
        self.inner.history(key, query).await
    }

    async fn prune(&self, prune: Prune) -> Result<Pruned> {
        if self.is(Fault::IgnoresPrunes) {
            return Ok(Pruned::default());
        }
        self.inner.prune(prune).await
    }

    async fn export(&self, limit: usize, after: Option<&PageCursor>) -> Result<Page<Record>> {
        self.inner.export(limit, after).await
    }

    async fn import(&self, records: Vec<Record>) -> Result<Vec<bool>> {
        self.inner.import(records).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

#[async_trait]
impl ChangeLog for Broken<dyn StateManager> {
    async fn changes(&self, after: &Cursor, limit: usize, wait: Duration) -> Result<ChangePage> {
        let answer = self.inner.changes(after, limit, wait).await;
        let lost = |error: &Error| error.kind() == ErrorKind::CursorLost;
        if self.is(Fault::HidesLostCursors) && answer.as_ref().is_err_and(lost) {
            return Ok(ChangePage {
                changes: Vec::new(),
                next: after.clone(),
            });
        }
        let mut page = answer?;
        if self.is(Fault::SkipsChanges) && page.changes.len() > 1 {
            page.changes.remove(0);
        }
        Ok(page)
    }

    async fn head(&self) -> Result<Cursor> {
        self.inner.head().await
    }

    async fn oldest(&self) -> Result<Cursor> {
        self.inner.oldest().await
    }

    async fn follow(&self, name: &FollowerName, spec: FollowerSpec) -> Result<Follower> {
        self.inner.follow(name, spec).await
    }

    async fn advance(&self, name: &FollowerName, cursor: &Cursor) -> Result<()> {
        self.inner.advance(name, cursor).await
    }

    async fn followers(&self) -> Result<Vec<Follower>> {
        self.inner.followers().await
    }

    async fn unfollow(&self, name: &FollowerName) -> Result<bool> {
        self.inner.unfollow(name).await
    }

    async fn trim(&self, trim: Trim) -> Result<u64> {
        if self.is(Fault::TrimsPastFollowers) {
            for follower in self.inner.followers().await? {
                self.inner
                    .advance(&follower.name, &self.inner.head().await?)
                    .await?;
            }
        }
        self.inner.trim(trim).await
    }
}

#[async_trait]
impl Outbox for Broken<dyn StateManager> {
    async fn outbox_lease(&self, owner: &str, lease: Duration) -> Result<Option<Lease>> {
        let owner = if self.is(Fault::SharesOutboxLeases) {
            "everybody"
        } else {
            owner
        };
        self.inner.outbox_lease(owner, lease).await
    }

    async fn outbox_extend(&self, token: &LeaseToken, lease: Duration) -> Result<Lease> {
        self.inner.outbox_extend(token, lease).await
    }

    async fn outbox_release(&self, token: &LeaseToken) -> Result<()> {
        self.inner.outbox_release(token).await
    }

    async fn outbox_read(
        &self,
        token: &LeaseToken,
        after: u64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<OutboxEntry>> {
        self.inner.outbox_read(token, after, limit, wait).await
    }

    async fn outbox_settle(&self, token: &LeaseToken, settles: Vec<OutboxSettle>) -> Result<()> {
        self.inner.outbox_settle(token, settles).await
    }

    async fn outbox_depth(&self) -> Result<u64> {
        self.inner.outbox_depth().await
    }

    async fn outbox_parked(
        &self,
        limit: usize,
        after: Option<&PageCursor>,
    ) -> Result<Page<OutboxEntry>> {
        self.inner.outbox_parked(limit, after).await
    }

    async fn outbox_unpark(&self, position: u64) -> Result<()> {
        self.inner.outbox_unpark(position).await
    }

    async fn outbox_discard(&self, position: u64) -> Result<()> {
        self.inner.outbox_discard(position).await
    }
}
