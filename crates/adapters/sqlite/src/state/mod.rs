//! Versioned state.

mod apply;
mod commit;
mod current;
mod expiry;
mod import;
mod list;
mod op_id;
mod place;
mod prune;
mod read;
mod row;

use std::sync::Arc;

use async_trait::async_trait;
use statehouse_contracts::{
    Applied, HistoryQuery, ListQuery, Page, PageCursor, Prune, Pruned, Record, Result, Scope,
    StateCapability, StateKey, StateManager, Transaction, Version, Wake,
};

use self::{apply::Prepared, current::Current};
pub(crate) use self::{
    commit::at,
    op_id::before,
    place::{Range, head, outbox_head, outbox_waiting},
    read::page_size,
    row::{damaged, operation, timestamp, version},
};
use crate::{
    changes::{self, Incarnation},
    engine::EngineOptions,
    housekeeping::Chore,
    session::{Session, Store},
    time,
};

/// The largest record, in bytes.
pub(crate) const MAX_DATA: usize = 16 << 20;

/// The most writes and messages of one transaction.
const MAX_WRITES: usize = 1000;

/// The largest payload of a message of a transaction, in bytes.
const MAX_MESSAGE: usize = 1 << 20;

/// The largest page.
pub(crate) const MAX_PAGE: usize = 1000;

/// A page ends with the record that reaches this many bytes.
pub(crate) const MAX_PAGE_BYTES: usize = 16 << 20;

/// The role's regular work.
pub(crate) const CHORES: &[Chore] = &[expiry::SWEEP, op_id::FORGET, changes::BOUND];

/// Whether the namespace `namespace.id` holds anything of this role, as an SQL condition.
pub(crate) const HOLDS: &str = "EXISTS (
        SELECT 1 FROM state_key WHERE ns = namespace.id AND life < 3
    ) OR EXISTS (
        SELECT 1 FROM state_outbox WHERE pos BETWEEN namespace.id << 40 AND (namespace.id + 1) << 40
    )";

/// A handle on state.
pub(crate) async fn open(store: &Arc<Store>, scope: &Scope) -> Result<Arc<dyn StateManager>> {
    let session = store.session(scope).await?;
    let incarnation = session.read("open", Incarnation::of).await?;
    Ok(Arc::new(SqliteState {
        session,
        incarnation,
    }))
}

/// One handle on the state, the change log and the outbox of a namespace.
#[derive(Debug)]
pub(crate) struct SqliteState {
    pub(crate) session: Session,
    pub(crate) incarnation: Incarnation,
}

#[async_trait]
impl StateManager for SqliteState {
    fn capability(&self) -> StateCapability {
        let config = self.session.config();
        StateCapability {
            durability: config.durability(),
            max_data: MAX_DATA,
            max_writes: MAX_WRITES,
            max_message: MAX_MESSAGE,
            max_page: MAX_PAGE,
            dedup_window: config.op_window,
            expiry_lag: expiry::LAG,
            import_export: true,
            deliver_local: true,
            wake: Wake::Poll(EngineOptions::default().foreign_poll),
        }
    }

    async fn apply(&self, transaction: Transaction) -> Result<Applied> {
        let prepared = Prepared::new(transaction)?;
        let session = self.session.clone();
        self.session
            .write("apply", move |tx| apply::apply(tx, &session, &prepared))
            .await
    }

    async fn get_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Record>>> {
        let (ns, keys) = (self.session.ns, keys.to_vec());
        let alone = keys.len() == 1;
        let get =
            move |connection: &rusqlite::Connection| read::get_many(connection, ns, &keys, now());
        // A lone key is read under one statement, which is a snapshot by itself.
        if alone {
            self.session.read("get", get).await
        } else {
            self.session.snapshot("get", get).await
        }
    }

    async fn read_version(&self, key: &StateKey, version: Version) -> Result<Record> {
        let (ns, key) = (self.session.ns, key.clone());
        self.session
            .snapshot("read_version", move |connection| {
                let current = Current::find(connection, ns, &key)?;
                let version = row::number(version);
                read::version(connection, &key, current.as_ref(), version, now())
            })
            .await
    }

    async fn list(&self, query: ListQuery) -> Result<Page<Record>> {
        let ns = self.session.ns;
        self.session
            .snapshot("list", move |connection| {
                list::list(connection, ns, &query, now())
            })
            .await
    }

    async fn history(&self, key: &StateKey, query: HistoryQuery) -> Result<Vec<Record>> {
        let (ns, key) = (self.session.ns, key.clone());
        self.session
            .snapshot("history", move |connection| {
                read::history(connection, ns, &key, query)
            })
            .await
    }

    async fn prune(&self, prune: Prune) -> Result<Pruned> {
        if prune.keep_last == Some(0) {
            return Err(statehouse_contracts::Error::invalid(
                "keep_last is 0; the current version always stays: write 1 or more",
            ));
        }
        prune::prune(&self.session, prune).await
    }

    async fn export(&self, limit: usize, after: Option<&PageCursor>) -> Result<Page<Record>> {
        let (ns, after) = (self.session.ns, after.cloned());
        self.session
            .snapshot("export", move |connection| {
                list::export(connection, ns, limit, after.as_ref(), now())
            })
            .await
    }

    async fn import(&self, records: Vec<Record>) -> Result<Vec<bool>> {
        import::check(&records)?;
        let session = self.session.clone();
        self.session
            .write("import", move |tx| import::import(tx, &session, &records))
            .await
    }

    async fn close(&self) -> Result<()> {
        self.session.close().await
    }
}

/// The time of a read, in nanoseconds.
fn now() -> i64 {
    time::now().saturating_mul(1000)
}
