//! State manager, change log and outbox.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use statehouse_contracts::{
    Applied, ChangeLog, ChangePage, Cursor, Error, Follower, FollowerName, FollowerSpec,
    HistoryQuery, Lease, LeaseToken, ListQuery, Message, MessageDelivery, Operation, Outbox,
    OutboxEntry, OutboxSettle, Page, PageCursor, Precondition, Prune, Pruned, Record, Result,
    RollbackTo, StateCapability, StateKey, StateManager, Transaction, Trim, Version, Write,
};

use super::{Guard, limits};

/// The headers that a message of a transaction may have: as many as the strictest producer takes.
const HEADERS: (usize, usize) = (64, 8 * 1024);

fn version(what: &str, version: Version) -> Result<()> {
    if i64::try_from(version).is_ok() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{what} is {version}; versions go up to {}",
        i64::MAX
    )))
}

fn schema(schema: Option<&String>) -> Result<()> {
    let bytes = schema.map_or(0, String::len);
    limits::at_most("schema", bytes, "MAX_ATTRIBUTE", Message::MAX_ATTRIBUTE)
}

fn check_write(write: &Write, can: &StateCapability) -> Result<()> {
    if let Precondition::Version(number) = write.precondition {
        version("the precondition's version", number)?;
    }
    match &write.operation {
        Operation::Put {
            data,
            schema: name,
            ttl,
            ..
        } => {
            limits::at_most("size of the data", data.len(), "max_data", can.max_data)?;
            schema(name.as_ref())?;
            limits::ttl(*ttl)
        }
        Operation::Append { data } => {
            limits::at_most("size of the data", data.len(), "max_data", can.max_data)
        }
        Operation::Rollback {
            to: RollbackTo::Version(number),
        } => version("the version to roll back to", *number),
        Operation::Rollback {
            to: RollbackTo::Previous,
        }
        | Operation::Delete
        | Operation::Check => Ok(()),
    }
}

impl Guard<dyn StateManager> {
    fn check(&self, transaction: &Transaction) -> Result<()> {
        let can = self.inner.capability();
        let items = transaction.writes.len() + transaction.messages.len();
        limits::at_most("transaction", items, "max_writes", can.max_writes)?;
        if transaction.delivery == MessageDelivery::Local && !can.deliver_local {
            return Err(Error::unsupported(self.backend, "deliver_local"));
        }
        let mut keys = HashSet::new();
        for (place, write) in transaction.writes.iter().enumerate() {
            let checked = check_write(write, &can);
            checked.map_err(|e| {
                e.with_context("write", place)
                    .with_context("key", &write.key)
            })?;
            if !keys.insert(&write.key) {
                return Err(Error::invalid(format!(
                    "{} is written twice in one transaction",
                    write.key
                ))
                .with_context("write", place));
            }
        }
        for (place, message) in transaction.messages.iter().enumerate() {
            limits::message(message, can.max_message, HEADERS)
                .map_err(|error| error.with_context("message", place))?;
        }
        Ok(())
    }

    fn page(&self, limit: usize) -> Result<()> {
        limits::at_most("limit", limit, "max_page", self.inner.capability().max_page)
    }

    fn import_export(&self, operation: &'static str) -> Result<()> {
        if self.inner.capability().import_export {
            return Ok(());
        }
        Err(Error::unsupported(self.backend, operation))
    }
}

#[async_trait]
impl StateManager for Guard<dyn StateManager> {
    fn capability(&self) -> StateCapability {
        self.inner.capability()
    }

    async fn apply(&self, transaction: Transaction) -> Result<Applied> {
        self.check(&transaction)
            .map_err(|error| error.with_operation("apply"))?;
        self.inner.apply(transaction).await
    }

    async fn get_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Record>>> {
        self.inner.get_many(keys).await
    }

    async fn read_version(&self, key: &StateKey, number: Version) -> Result<Record> {
        version("the version", number)?;
        self.inner.read_version(key, number).await
    }

    async fn list(&self, query: ListQuery) -> Result<Page<Record>> {
        self.page(query.limit)?;
        self.inner.list(query).await
    }

    async fn history(&self, key: &StateKey, query: HistoryQuery) -> Result<Vec<Record>> {
        self.page(query.limit)?;
        version("before", query.before.unwrap_or_default())?;
        self.inner.history(key, query).await
    }

    async fn prune(&self, prune: Prune) -> Result<Pruned> {
        if prune.keep_last == Some(0) {
            return Err(Error::invalid(
                "keep_last is 0; the current version always stays, so at least 1",
            ));
        }
        self.inner.prune(prune).await
    }

    async fn export(&self, limit: usize, after: Option<&PageCursor>) -> Result<Page<Record>> {
        self.import_export("export")?;
        self.page(limit)?;
        self.inner.export(limit, after).await
    }

    async fn import(&self, records: Vec<Record>) -> Result<Vec<bool>> {
        self.import_export("import")?;
        let can = self.inner.capability();
        limits::at_most("import", records.len(), "max_writes", can.max_writes)?;
        let mut keys = HashSet::new();
        for record in &records {
            version("a record's version", record.version)?;
            limits::at_least_one("a record's version", usize::from(record.version > 0))?;
            limits::at_most(
                "size of the data",
                record.data.len(),
                "max_data",
                can.max_data,
            )?;
            schema(record.schema.as_ref())?;
            if !keys.insert(&record.key) {
                return Err(Error::invalid(format!(
                    "{} is imported twice in one call",
                    record.key
                )));
            }
        }
        self.inner.import(records).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

#[async_trait]
impl ChangeLog for Guard<dyn StateManager> {
    async fn changes(&self, after: &Cursor, limit: usize, wait: Duration) -> Result<ChangePage> {
        self.page(limit)?;
        limits::duration("wait", wait)?;
        self.inner.changes(after, limit, wait).await
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
        self.inner.trim(trim).await
    }
}

#[async_trait]
impl Outbox for Guard<dyn StateManager> {
    async fn outbox_lease(&self, owner: &str, lease: Duration) -> Result<Option<Lease>> {
        outbox_lease(lease)?;
        self.inner.outbox_lease(owner, lease).await
    }

    async fn outbox_extend(&self, token: &LeaseToken, lease: Duration) -> Result<Lease> {
        outbox_lease(lease)?;
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
        self.page(limit)?;
        version("after", after)?;
        limits::duration("wait", wait)?;
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
        self.page(limit)?;
        self.inner.outbox_parked(limit, after).await
    }

    async fn outbox_unpark(&self, position: u64) -> Result<()> {
        version("position", position)?;
        self.inner.outbox_unpark(position).await
    }

    async fn outbox_discard(&self, position: u64) -> Result<()> {
        version("position", position)?;
        self.inner.outbox_discard(position).await
    }
}

fn outbox_lease(lease: Duration) -> Result<()> {
    if lease.is_zero() {
        return Err(Error::invalid(
            "lease is 0; the relay needs some time to work",
        ));
    }
    limits::duration("lease", lease)
}
