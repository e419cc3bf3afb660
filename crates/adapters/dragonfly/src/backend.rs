//! Opening a server, and its handles.

use std::sync::Arc;

use async_trait::async_trait;
use fred::interfaces::KeysInterface;
use futures::future::try_join_all;
use statehouse_contracts::{
    Backend, BackendInfo, Consumer, Endpoint, Factory, Namespace, Producer, RecordCache,
    ReferenceStore, Result, Scope, StateManager, TaskStack,
};
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::config::{Target, schemes};
use crate::consumer::DragonflyConsumer;
use crate::durability::Server;
use crate::housekeeping::{self, Houses};
use crate::keys::Role;
use crate::producer::DragonflyProducer;
use crate::queue::{self, Queues};
use crate::rounds::Rounds;
use crate::session::Store;
use crate::wake::Wakes;
use crate::{cache, reference, state, tasks};

/// The adapter's name.
const NAME: &str = "dragonfly";
const SCHEMES: &[&str] = &schemes();
/// How many namespaces are looked at at once.
const AT_ONCE: usize = 256;

/// Opens `dragonfly:`, `redis:` and `valkey:` URLs, and those with TLS: `dragonflys:`, `rediss:`,
/// `valkeys:`. See [`Config`](crate::Config) for the parameters.
#[derive(Clone, Copy, Debug, Default)]
pub struct DragonflyFactory;

#[async_trait]
impl Factory for DragonflyFactory {
    fn name(&self) -> &'static str {
        NAME
    }

    fn schemes(&self) -> &'static [&'static str] {
        SCHEMES
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["gc_interval", "quota", "task_retention"]
    }

    async fn open(&self, endpoint: &Endpoint) -> Result<Arc<dyn Backend>> {
        let target = Target::of(endpoint)?;
        let client = Client::open(&target).await.map_err(|error| {
            // Without its query, which says nothing about where the server is.
            error.with_context("server", &target.nodes[0])
        })?;
        let store = Arc::new(Store {
            server: Server::ask(&client).await?,
            client: Arc::new(client),
            config: target.config,
            wakes: Wakes::default(),
            houses: Houses::default(),
            queues: Queues::default(),
            applies: Rounds::default(),
            glances: state::Glances::default(),
            closing: CancellationToken::new(),
        });
        housekeeping::start(&store);
        Ok(Arc::new(DragonflyBackend { store }))
    }
}

/// One open server.
#[derive(Debug)]
struct DragonflyBackend {
    store: Arc<Store>,
}

impl DragonflyBackend {
    /// The keys of a namespace that exist only while it holds something, role by role.
    fn witnesses(&self, namespace: &Namespace) -> Vec<String> {
        let keys = |role| self.store.keys(namespace, role);
        let [records, outbox] = state::witnesses(&keys(Role::State));
        vec![
            records,
            outbox,
            tasks::witness(&keys(Role::Tasks)),
            reference::witness(&keys(Role::References)),
            queue::witness(&keys(Role::Queue)),
        ]
    }

    async fn holds(&self, namespace: &Namespace) -> Result<bool> {
        let witnesses = self.witnesses(namespace);
        let found = self
            .store
            .client
            .run("namespaces", false, |commands| async move {
                commands.exists::<u64, _>(witnesses).await
            });
        Ok(found.await? > 0)
    }
}

#[async_trait]
impl Backend for DragonflyBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn info(&self) -> Result<BackendInfo> {
        self.store.check_open("info")?;
        let server = Server::ask(&self.store.client).await?;
        let mut facts = server.facts();
        if server.durability != self.store.server.durability {
            let changed = "the server's settings have changed since this backend was opened";
            facts.push(("durability".to_owned(), changed.to_owned()));
        }
        Ok(BackendInfo {
            name: NAME,
            server: server.name,
            facts,
        })
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.store.check_open("namespaces")?;
        let known = self.store.known().await?;
        let mut holding = Vec::new();
        for some in known.chunks(AT_ONCE) {
            let held = try_join_all(some.iter().map(|namespace| self.holds(namespace))).await?;
            let held = some.iter().zip(held).filter(|(_, holds)| *holds);
            holding.extend(held.map(|(namespace, _)| namespace.clone()));
        }
        Ok(holding)
    }

    async fn producer(&self, scope: &Scope) -> Result<Arc<dyn Producer>> {
        let session = self.store.session(scope, Role::Queue).await?;
        Ok(Arc::new(DragonflyProducer::new(session)))
    }

    async fn consumer(&self, scope: &Scope) -> Result<Arc<dyn Consumer>> {
        let session = self.store.session(scope, Role::Queue).await?;
        Ok(Arc::new(DragonflyConsumer::new(session)))
    }

    async fn state(&self, scope: &Scope) -> Result<Arc<dyn StateManager>> {
        state::open(&self.store, scope).await
    }

    async fn tasks(&self, scope: &Scope) -> Result<Arc<dyn TaskStack>> {
        Ok(tasks::open(self.store.session(scope, Role::Tasks).await?))
    }

    async fn references(&self, scope: &Scope) -> Result<Arc<dyn ReferenceStore>> {
        let session = self.store.session(scope, Role::References).await?;
        Ok(reference::open(session))
    }

    async fn cache(&self, scope: &Scope) -> Result<Arc<dyn RecordCache>> {
        Ok(cache::open(self.store.session(scope, Role::Cache).await?))
    }

    async fn close(&self) -> Result<()> {
        self.store.closing.cancel();
        self.store.client.close().await;
        Ok(())
    }
}
