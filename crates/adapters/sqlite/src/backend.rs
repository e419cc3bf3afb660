//! Opening a file, and its handles.

use std::sync::Arc;

use async_trait::async_trait;
use statehouse_contracts::{
    Backend, BackendInfo, Consumer, Endpoint, Factory, Namespace, Producer, ReferenceStore, Result,
    Scope, StateManager, TaskStack,
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    engine::Engine,
    error::{Failure, map},
    housekeeping, queue, references,
    schema::SCHEMA,
    session::Store,
    state, tasks,
};

/// The adapter's name and its one scheme.
const NAME: &str = "sqlite";

/// Opens `sqlite:` URLs, such as `sqlite:statehouse.db?synchronous=normal`. See [`Config`] for the
/// parameters.
#[derive(Clone, Copy, Debug, Default)]
pub struct SqliteFactory;

#[async_trait]
impl Factory for SqliteFactory {
    fn name(&self) -> &'static str {
        NAME
    }

    fn schemes(&self) -> &'static [&'static str] {
        &[NAME]
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["gc_interval", "quota", "task_retention"]
    }

    async fn open(&self, endpoint: &Endpoint) -> Result<Arc<dyn Backend>> {
        let (path, config) = Config::of(endpoint)?;
        let engine = Engine::open(path, config.engine(), SCHEMA)
            .await
            .map_err(|error| map("open", error))?;
        let store = Arc::new(Store {
            engine,
            config,
            closing: CancellationToken::new(),
        });
        housekeeping::start(&store);
        Ok(Arc::new(SqliteBackend { store }))
    }
}

/// One open file.
#[derive(Debug)]
struct SqliteBackend {
    store: Arc<Store>,
}

#[async_trait]
impl Backend for SqliteBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn info(&self) -> Result<BackendInfo> {
        let (path, config) = (self.store.engine.path().display(), &self.store.config);
        let mut facts = vec![("file".to_owned(), path.to_string())];
        facts.extend(config.facts());
        // Reaches the file.
        self.namespaces().await?;
        Ok(BackendInfo {
            name: NAME,
            server: format!("SQLite {}", rusqlite::version()),
            facts,
        })
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        let sql = format!(
            "SELECT name FROM namespace WHERE {} OR {} OR {} OR {} ORDER BY name",
            state::HOLDS,
            queue::HOLDS,
            tasks::HOLDS,
            references::HOLDS
        );
        let names = self.store.engine.read(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let names = statement.query_map((), |row| row.get::<_, String>(0))?;
            names
                .map(|name| Ok(Namespace::new(name?)?))
                .collect::<Result<Vec<_>, Failure>>()
        });
        names.await.map_err(|failure| failure.of("namespaces"))
    }

    async fn producer(&self, scope: &Scope) -> Result<Arc<dyn Producer>> {
        queue::producer(&self.store, scope).await
    }

    async fn consumer(&self, scope: &Scope) -> Result<Arc<dyn Consumer>> {
        queue::consumer(&self.store, scope).await
    }

    async fn state(&self, scope: &Scope) -> Result<Arc<dyn StateManager>> {
        state::open(&self.store, scope).await
    }

    async fn tasks(&self, scope: &Scope) -> Result<Arc<dyn TaskStack>> {
        tasks::open(&self.store, scope).await
    }

    async fn references(&self, scope: &Scope) -> Result<Arc<dyn ReferenceStore>> {
        references::open(&self.store, scope).await
    }

    async fn close(&self) -> Result<()> {
        self.store.closing.cancel();
        self.store.engine.close().await;
        Ok(())
    }
}
