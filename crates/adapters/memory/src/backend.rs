//! Opening stores, and handles on them.

use std::sync::Arc;

use async_trait::async_trait;
use statehouse_contracts::{
    Backend, BackendInfo, Consumer, Endpoint, Factory, Namespace, Producer, ReferenceStore, Result,
    Scope, StateManager, TaskStack,
};

use crate::config::Config;
use crate::store::Store;
use crate::{consumer, housekeeping, producer, reference, state, tasks};

/// Opens stores in memory, by the scheme `memory`. Needs a tokio runtime with time enabled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory;

#[async_trait]
impl Factory for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["memory"]
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["gc_interval", "quota", "task_retention"]
    }

    async fn open(&self, endpoint: &Endpoint) -> Result<Arc<dyn Backend>> {
        let store = Arc::new(Store::new(Config::of(endpoint)?));
        housekeeping::start(&store);
        Ok(Arc::new(MemoryBackend { store }))
    }
}

#[derive(Debug)]
struct MemoryBackend {
    store: Arc<Store>,
}

#[async_trait]
impl Backend for MemoryBackend {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn info(&self) -> Result<BackendInfo> {
        self.store.gate.check()?;
        let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Ok(BackendInfo {
            name: "memory",
            server: format!("Statehouse {}", env!("CARGO_PKG_VERSION")),
            facts: vec![fact("data", "in this process only; gone when it ends")],
        })
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.store.gate.check()?;
        let spaces = self.store.spaces().into_iter();
        let used = spaces.filter(|(_, space)| !space.is_empty());
        Ok(used.map(|(name, _)| name).collect())
    }

    async fn producer(&self, scope: &Scope) -> Result<Arc<dyn Producer>> {
        Ok(producer::producer(self.store.handle(scope)?))
    }

    async fn consumer(&self, scope: &Scope) -> Result<Arc<dyn Consumer>> {
        Ok(consumer::consumer(self.store.handle(scope)?))
    }

    async fn state(&self, scope: &Scope) -> Result<Arc<dyn StateManager>> {
        Ok(state::open(self.store.handle(scope)?))
    }

    async fn tasks(&self, scope: &Scope) -> Result<Arc<dyn TaskStack>> {
        Ok(tasks::open(self.store.handle(scope)?))
    }

    async fn references(&self, scope: &Scope) -> Result<Arc<dyn ReferenceStore>> {
        Ok(reference::open(self.store.handle(scope)?))
    }

    async fn close(&self) -> Result<()> {
        self.store.gate.close();
        Ok(())
    }
}
