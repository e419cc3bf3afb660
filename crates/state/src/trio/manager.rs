//! The trio as one state manager: writes and everything about changes go to main.

use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use statehouse_contracts::{
    Applied, ChangeLog, ChangePage, Cursor, Follower, FollowerName, FollowerSpec, HistoryQuery,
    Lease, LeaseToken, ListQuery, Outbox, OutboxEntry, OutboxSettle, Page, PageCursor, Prune,
    Pruned, Record, Result, StateCapability, StateKey, StateManager, Transaction, Trim, Version,
};

use super::Trio;
use super::writes::Written;

#[async_trait]
impl StateManager for Trio {
    fn capability(&self) -> StateCapability {
        self.main.capability()
    }

    async fn apply(&self, transaction: Transaction) -> Result<Applied> {
        let keys = transaction
            .writes
            .iter()
            .map(|write| write.key.clone())
            .collect();
        let unclear = Unclear(Some(&self.written));
        let applied = self.main.apply(transaction).await;
        unclear.settled();
        match &applied {
            Ok(applied) => self.written.lock().remember(keys, applied),
            Err(error) if error.is_ambiguous() => self.written.lock().lose_track(),
            Err(_) => {}
        }
        applied
    }

    async fn get_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Record>>> {
        Ok(self.read_many(keys).await?.records)
    }

    async fn read_version(&self, key: &StateKey, version: Version) -> Result<Record> {
        self.read_one_version(key, version).await
    }

    async fn list(&self, query: ListQuery) -> Result<Page<Record>> {
        self.read_list(query).await
    }

    async fn history(&self, key: &StateKey, query: HistoryQuery) -> Result<Vec<Record>> {
        self.main.history(key, query).await
    }

    async fn prune(&self, prune: Prune) -> Result<Pruned> {
        self.main.prune(prune).await
    }

    async fn export(&self, limit: usize, after: Option<&PageCursor>) -> Result<Page<Record>> {
        self.main.export(limit, after).await
    }

    async fn import(&self, records: Vec<Record>) -> Result<Vec<bool>> {
        let imported = self.main.import(records).await?;
        self.written.lock().lose_track();
        Ok(imported)
    }

    async fn close(&self) -> Result<()> {
        let (main, replica, rollback) = tokio::join!(
            self.main.close(),
            self.replica.close(),
            self.rollback.close()
        );
        main.and(replica).and(rollback)
    }
}

#[async_trait]
impl ChangeLog for Trio {
    async fn changes(&self, after: &Cursor, limit: usize, wait: Duration) -> Result<ChangePage> {
        self.main.changes(after, limit, wait).await
    }

    async fn head(&self) -> Result<Cursor> {
        self.main.head().await
    }

    async fn oldest(&self) -> Result<Cursor> {
        self.main.oldest().await
    }

    async fn follow(&self, name: &FollowerName, spec: FollowerSpec) -> Result<Follower> {
        self.main.follow(name, spec).await
    }

    async fn advance(&self, name: &FollowerName, cursor: &Cursor) -> Result<()> {
        self.main.advance(name, cursor).await
    }

    async fn followers(&self) -> Result<Vec<Follower>> {
        self.main.followers().await
    }

    async fn unfollow(&self, name: &FollowerName) -> Result<bool> {
        self.main.unfollow(name).await
    }

    async fn trim(&self, trim: Trim) -> Result<u64> {
        self.main.trim(trim).await
    }
}

#[async_trait]
impl Outbox for Trio {
    async fn outbox_lease(&self, owner: &str, lease: Duration) -> Result<Option<Lease>> {
        self.main.outbox_lease(owner, lease).await
    }

    async fn outbox_extend(&self, token: &LeaseToken, lease: Duration) -> Result<Lease> {
        self.main.outbox_extend(token, lease).await
    }

    async fn outbox_release(&self, token: &LeaseToken) -> Result<()> {
        self.main.outbox_release(token).await
    }

    async fn outbox_read(
        &self,
        token: &LeaseToken,
        after: u64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<OutboxEntry>> {
        self.main.outbox_read(token, after, limit, wait).await
    }

    async fn outbox_settle(&self, token: &LeaseToken, settles: Vec<OutboxSettle>) -> Result<()> {
        self.main.outbox_settle(token, settles).await
    }

    async fn outbox_depth(&self) -> Result<u64> {
        self.main.outbox_depth().await
    }

    async fn outbox_parked(
        &self,
        limit: usize,
        after: Option<&PageCursor>,
    ) -> Result<Page<OutboxEntry>> {
        self.main.outbox_parked(limit, after).await
    }

    async fn outbox_unpark(&self, position: u64) -> Result<()> {
        self.main.outbox_unpark(position).await
    }

    async fn outbox_discard(&self, position: u64) -> Result<()> {
        self.main.outbox_discard(position).await
    }
}

/// A write under way. When its caller gives up, it may be applied all the same, nobody knows as
/// what.
struct Unclear<'w>(Option<&'w Mutex<Written>>);

impl Unclear<'_> {
    fn settled(mut self) {
        self.0 = None;
    }
}

impl Drop for Unclear<'_> {
    fn drop(&mut self) {
        if let Some(written) = self.0 {
            written.lock().lose_track();
        }
    }
}
