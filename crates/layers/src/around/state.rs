//! State manager, change log and outbox.

use std::time::Duration;

use async_trait::async_trait;
use statehouse_contracts::{
    Applied, ChangeLog, ChangePage, Cursor, Follower, FollowerName, FollowerSpec, HistoryQuery,
    Lease, LeaseToken, ListQuery, Outbox, OutboxEntry, OutboxSettle, Page, PageCursor, Prune,
    Pruned, Record, Result, StateCapability, StateKey, StateManager, Transaction, Trim, Version,
};

use super::{Around, span};
use crate::call::Kept;
use crate::{Layer, Repeat, Role};

#[async_trait]
impl<L: Layer> StateManager for Around<dyn StateManager, L> {
    fn capability(&self) -> StateCapability {
        self.inner.capability()
    }

    async fn apply(&self, transaction: Transaction) -> Result<Applied> {
        let repeat = Repeat::idempotent_if(transaction.op_id.is_some());
        let call = self
            .call(Role::State, "apply", span!("state.apply"), repeat)
            .carrying(transaction.writes.len() + transaction.messages.len());
        let mut transaction = Kept::<L, _>::new(transaction);
        self.layer
            .call(&call, || self.inner.apply(transaction.next()))
            .await
    }

    async fn get_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Record>>> {
        let call = self
            .call(Role::State, "get_many", span!("state.get"), Repeat::Reads)
            .carrying(keys.len());
        self.layer.call(&call, || self.inner.get_many(keys)).await
    }

    async fn read_version(&self, key: &StateKey, version: Version) -> Result<Record> {
        let call = self.call(
            Role::State,
            "read_version",
            span!("state.get"),
            Repeat::Reads,
        );
        self.layer
            .call(&call, || self.inner.read_version(key, version))
            .await
    }

    async fn list(&self, query: ListQuery) -> Result<Page<Record>> {
        let call = self.call(Role::State, "list", span!("state.list"), Repeat::Reads);
        self.layer
            .call(&call, || self.inner.list(query.clone()))
            .await
    }

    async fn history(&self, key: &StateKey, query: HistoryQuery) -> Result<Vec<Record>> {
        let call = self.call(
            Role::State,
            "history",
            span!("state.history"),
            Repeat::Reads,
        );
        self.layer
            .call(&call, || self.inner.history(key, query))
            .await
    }

    async fn prune(&self, prune: Prune) -> Result<Pruned> {
        let call = self.call(Role::State, "prune", span!("state.prune"), Repeat::Unsafe);
        self.layer
            .call(&call, || self.inner.prune(prune.clone()))
            .await
    }

    async fn export(&self, limit: usize, after: Option<&PageCursor>) -> Result<Page<Record>> {
        let call = self.call(Role::State, "export", span!("state.export"), Repeat::Reads);
        self.layer
            .call(&call, || self.inner.export(limit, after))
            .await
    }

    async fn import(&self, records: Vec<Record>) -> Result<Vec<bool>> {
        // A repeat would leave the records alone, but answer that it wrote none.
        let call = self
            .call(Role::State, "import", span!("state.import"), Repeat::Unsafe)
            .carrying(records.len());
        let mut records = Kept::<L, _>::new(records);
        self.layer
            .call(&call, || self.inner.import(records.next()))
            .await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

#[async_trait]
impl<L: Layer> ChangeLog for Around<dyn StateManager, L> {
    async fn changes(&self, after: &Cursor, limit: usize, wait: Duration) -> Result<ChangePage> {
        let call = self
            .call(
                Role::State,
                "changes",
                span!("state.changes"),
                Repeat::Reads,
            )
            .waiting(wait);
        self.layer
            .call(&call, || self.inner.changes(after, limit, wait))
            .await
    }

    async fn head(&self) -> Result<Cursor> {
        let call = self.call(Role::State, "head", span!("state.head"), Repeat::Reads);
        self.layer.call(&call, || self.inner.head()).await
    }

    async fn oldest(&self) -> Result<Cursor> {
        let call = self.call(Role::State, "oldest", span!("state.oldest"), Repeat::Reads);
        self.layer.call(&call, || self.inner.oldest()).await
    }

    async fn follow(&self, name: &FollowerName, spec: FollowerSpec) -> Result<Follower> {
        let call = self.call(
            Role::State,
            "follow",
            span!("state.follow"),
            Repeat::Idempotent,
        );
        self.layer
            .call(&call, || self.inner.follow(name, spec.clone()))
            .await
    }

    async fn advance(&self, name: &FollowerName, cursor: &Cursor) -> Result<()> {
        let call = self.call(
            Role::State,
            "advance",
            span!("state.advance"),
            Repeat::Idempotent,
        );
        self.layer
            .call(&call, || self.inner.advance(name, cursor))
            .await
    }

    async fn followers(&self) -> Result<Vec<Follower>> {
        let call = self.call(
            Role::State,
            "followers",
            span!("state.followers"),
            Repeat::Reads,
        );
        self.layer.call(&call, || self.inner.followers()).await
    }

    async fn unfollow(&self, name: &FollowerName) -> Result<bool> {
        let call = self.call(
            Role::State,
            "unfollow",
            span!("state.unfollow"),
            Repeat::Unsafe,
        );
        self.layer.call(&call, || self.inner.unfollow(name)).await
    }

    async fn trim(&self, trim: Trim) -> Result<u64> {
        let call = self.call(Role::State, "trim", span!("state.trim"), Repeat::Unsafe);
        self.layer.call(&call, || self.inner.trim(trim)).await
    }
}

#[async_trait]
impl<L: Layer> Outbox for Around<dyn StateManager, L> {
    async fn outbox_lease(&self, owner: &str, lease: Duration) -> Result<Option<Lease>> {
        let call = self.call(
            Role::State,
            "outbox_lease",
            span!("outbox.lease"),
            Repeat::Idempotent,
        );
        self.layer
            .call(&call, || self.inner.outbox_lease(owner, lease))
            .await
    }

    async fn outbox_extend(&self, token: &LeaseToken, lease: Duration) -> Result<Lease> {
        let call = self.call(
            Role::State,
            "outbox_extend",
            span!("outbox.extend"),
            Repeat::Idempotent,
        );
        self.layer
            .call(&call, || self.inner.outbox_extend(token, lease))
            .await
    }

    async fn outbox_release(&self, token: &LeaseToken) -> Result<()> {
        let call = self.call(
            Role::State,
            "outbox_release",
            span!("outbox.release"),
            Repeat::Idempotent,
        );
        self.layer
            .call(&call, || self.inner.outbox_release(token))
            .await
    }

    async fn outbox_read(
        &self,
        token: &LeaseToken,
        after: u64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<OutboxEntry>> {
        let call = self
            .call(
                Role::State,
                "outbox_read",
                span!("outbox.read"),
                Repeat::Reads,
            )
            .waiting(wait);
        self.layer
            .call(&call, || self.inner.outbox_read(token, after, limit, wait))
            .await
    }

    async fn outbox_settle(&self, token: &LeaseToken, settles: Vec<OutboxSettle>) -> Result<()> {
        let call = self
            .call(
                Role::State,
                "outbox_settle",
                span!("outbox.settle"),
                Repeat::Idempotent,
            )
            .carrying(settles.len());
        let mut settles = Kept::<L, _>::new(settles);
        self.layer
            .call(&call, || self.inner.outbox_settle(token, settles.next()))
            .await
    }

    async fn outbox_depth(&self) -> Result<u64> {
        let call = self.call(
            Role::State,
            "outbox_depth",
            span!("outbox.depth"),
            Repeat::Reads,
        );
        self.layer.call(&call, || self.inner.outbox_depth()).await
    }

    async fn outbox_parked(
        &self,
        limit: usize,
        after: Option<&PageCursor>,
    ) -> Result<Page<OutboxEntry>> {
        let call = self.call(
            Role::State,
            "outbox_parked",
            span!("outbox.parked"),
            Repeat::Reads,
        );
        self.layer
            .call(&call, || self.inner.outbox_parked(limit, after))
            .await
    }

    async fn outbox_unpark(&self, position: u64) -> Result<()> {
        let call = self.call(
            Role::State,
            "outbox_unpark",
            span!("outbox.unpark"),
            Repeat::Unsafe,
        );
        self.layer
            .call(&call, || self.inner.outbox_unpark(position))
            .await
    }

    async fn outbox_discard(&self, position: u64) -> Result<()> {
        let call = self.call(
            Role::State,
            "outbox_discard",
            span!("outbox.discard"),
            Repeat::Unsafe,
        );
        self.layer
            .call(&call, || self.inner.outbox_discard(position))
            .await
    }
}
