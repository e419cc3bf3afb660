//! State: records with their versions, the change log, the outbox.

mod apply;
mod changes;
mod expiry;
mod glance;
mod import;
mod list;
mod names;
mod outbox;
mod packed;
mod prune;
mod read;
mod scripts;
mod version;

use std::sync::Arc;

use async_trait::async_trait;
use statehouse_contracts::{
    Applied, HistoryQuery, ListQuery, Namespace, Page, PageCursor, Prune, Pruned, Record, Result,
    Scope, StateCapability, StateKey, StateManager, Transaction, Trim, Version, Wake,
};

pub(crate) use self::apply::Applying;
pub(crate) use self::glance::Glances;

use self::names::Names;
use crate::keys::{Keys, Role};
use crate::queue::Desk;
use crate::session::{Session, Store};
use crate::wake::Hearing;

/// The largest record, in bytes.
const MAX_DATA: usize = 16 << 20;
/// The most writes and messages of one transaction.
const MAX_WRITES: usize = 1000;
/// The largest payload of a message of a transaction, in bytes.
const MAX_MESSAGE: usize = 1 << 20;
/// The largest page.
const MAX_PAGE: usize = 1000;
/// A page ends with the record that reaches this many bytes.
const MAX_PAGE_BYTES: usize = 16 << 20;

/// A handle on state.
pub(crate) async fn open(store: &Arc<Store>, scope: &Scope) -> Result<Arc<dyn StateManager>> {
    let session = store.session(scope, Role::State).await?;
    let desk = Desk::new(store.begin(scope, Role::Queue));
    Ok(Arc::new(DragonflyState {
        names: Names::new(session.keys.clone()),
        changed: Hearing::default(),
        posted: Hearing::default(),
        session,
        desk,
    }))
}

/// The keys that exist only while the namespace holds state.
pub(crate) fn witnesses(keys: &Keys) -> [String; 2] {
    Names::witnesses(keys)
}

/// One round of housekeeping.
pub(crate) async fn look_after(store: &Arc<Store>, namespace: &Namespace) -> Result<()> {
    expiry::sweep(store, namespace).await?;
    let bound = Trim {
        keep_last: store.config.change_log_keep,
        max_age: store.config.change_log_age,
    };
    if bound != Trim::default() {
        let names = Names::new(store.keys(namespace, Role::State));
        changes::trim(&store.client, &names, bound).await?;
    }
    Ok(())
}

/// One handle on the state, the change log and the outbox of a namespace.
#[derive(Debug)]
pub(crate) struct DragonflyState {
    session: Session,
    /// Where messages go that are delivered inside a transaction.
    desk: Desk,
    names: Names,
    /// What wakes those who wait for changes, and for messages to send.
    changed: Hearing,
    posted: Hearing,
}

#[async_trait]
impl StateManager for DragonflyState {
    fn capability(&self) -> StateCapability {
        StateCapability {
            durability: self.session.store.server.durability,
            max_data: MAX_DATA,
            max_writes: MAX_WRITES,
            max_message: MAX_MESSAGE,
            max_page: MAX_PAGE,
            dedup_window: self.session.config().op_window,
            expiry_lag: expiry::LAG,
            import_export: true,
            deliver_local: true,
            wake: Wake::Push,
        }
    }

    async fn apply(&self, transaction: Transaction) -> Result<Applied> {
        apply::apply(self, transaction).await
    }

    async fn get_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Record>>> {
        read::get_many(self, keys).await
    }

    async fn read_version(&self, key: &StateKey, version: Version) -> Result<Record> {
        read::version(self, key, version).await
    }

    async fn list(&self, query: ListQuery) -> Result<Page<Record>> {
        list::list(self, &query).await
    }

    async fn history(&self, key: &StateKey, query: HistoryQuery) -> Result<Vec<Record>> {
        read::history(self, key, query).await
    }

    async fn prune(&self, prune: Prune) -> Result<Pruned> {
        prune::prune(self, prune).await
    }

    async fn export(&self, limit: usize, after: Option<&PageCursor>) -> Result<Page<Record>> {
        list::export(self, limit, after).await
    }

    async fn import(&self, records: Vec<Record>) -> Result<Vec<bool>> {
        import::import(self, records).await
    }

    async fn close(&self) -> Result<()> {
        self.session.close();
        Ok(())
    }
}
