//! The backend: a service at a URL.

use std::sync::Arc;

use async_trait::async_trait;
use hyper::HeaderMap;
use statehouse_contracts::{
    Backend, BackendInfo, Consumer, Endpoint, Error, Factory, Namespace, Producer, ReferenceStore,
    Result, Scope, StateManager, TaskStack,
};
use statehouse_wire::{BackendDoc, CapabilitiesDoc, ItemsDoc, Span};
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::client::{Client, Handle};
use crate::consumer::HttpConsumer;
use crate::error::nonsense;
use crate::producer::HttpProducer;
use crate::reference::HttpReferences;
use crate::state::HttpState;
use crate::tasks::HttpTasks;

/// The adapter's name.
const NAME: &str = "http";

/// Opens `http://host:port` and, with the feature `tls`, `https://host`. See [`Config`] for the
/// parameters.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpFactory;

#[async_trait]
impl Factory for HttpFactory {
    fn name(&self) -> &'static str {
        NAME
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["http", "https"]
    }

    async fn open(&self, endpoint: &Endpoint) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(HttpBackend::at(endpoint).await?))
    }
}

/// A service that was reached.
#[derive(Debug)]
pub(crate) struct HttpBackend {
    /// For requests about the service itself.
    desk: Handle,
}

impl HttpBackend {
    /// The service at `endpoint`.
    pub(crate) async fn at(endpoint: &Endpoint) -> Result<Self> {
        let config = Config::of(endpoint)?;
        let client = Arc::new(Client::new(endpoint, &config)?);
        Self::reach(client).await
    }

    /// A handle for `scope`.
    pub(crate) fn handle(&self, scope: &Scope) -> Result<Handle> {
        Ok(Handle {
            scope: Handle::scope(scope)?,
            closed: self.desk.closed.child_token(),
            ..self.desk.clone()
        })
    }

    async fn reach(client: Arc<Client>) -> Result<Self> {
        let nothing = CapabilitiesDoc {
            version: String::new(),
            max_wait: Span::default(),
            body_limit: 0,
            producer: None,
            consumer: None,
            state: None,
            tasks: None,
            references: None,
        };
        let mut desk = Handle {
            client,
            capabilities: Arc::new(nothing),
            scope: HeaderMap::new(),
            closed: CancellationToken::new(),
        };
        let capabilities = desk.get("open", &["v1", "capabilities"]).answer().await?;
        desk.capabilities = Arc::new(capabilities);
        Ok(Self { desk })
    }

    /// A handle for `scope` on `role`, and what the service can do in it.
    fn role<D, C: From<D>>(
        &self,
        scope: &Scope,
        role: &'static str,
        capability: Option<D>,
    ) -> Result<(Handle, C)> {
        if self.desk.closed.is_cancelled() {
            return Err(Error::closed().with_operation(role));
        }
        let capability = capability.ok_or_else(|| Error::unsupported("the service", role))?;
        Ok((self.handle(scope)?, capability.into()))
    }
}

#[async_trait]
impl Backend for HttpBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn info(&self) -> Result<BackendInfo> {
        let request = self.desk.get("info", &["v1", "backends"]);
        let backends: ItemsDoc<BackendDoc> = request.answer().await?;
        let mut facts = vec![("url".to_owned(), self.desk.client.base().to_owned())];
        for BackendDoc { roles, info } in backends.items {
            facts.push((roles.join(", "), format!("{}, {}", info.name, info.server)));
            let of = |fact: String| format!("{}: {fact}", info.name);
            facts.extend(
                info.facts
                    .into_iter()
                    .map(|(fact, value)| (of(fact), value)),
            );
        }
        Ok(BackendInfo {
            name: NAME,
            server: format!("Statehouse {}", self.desk.capabilities.version),
            facts,
        })
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        let request = self.desk.get("namespaces", &["v1", "namespaces"]);
        let names: ItemsDoc<String> = request.answer().await?;
        let names: Result<_> = names.items.into_iter().map(Namespace::new).collect();
        names.map_err(|error| nonsense(error).with_operation("namespaces"))
    }

    async fn producer(&self, scope: &Scope) -> Result<Arc<dyn Producer>> {
        let capability = self.desk.capabilities.producer;
        let (handle, capability) = self.role(scope, "producer", capability)?;
        Ok(Arc::new(HttpProducer::new(handle, capability)))
    }

    async fn consumer(&self, scope: &Scope) -> Result<Arc<dyn Consumer>> {
        let capability = self.desk.capabilities.consumer;
        let (handle, capability) = self.role(scope, "consumer", capability)?;
        Ok(Arc::new(HttpConsumer::new(handle, capability)))
    }

    async fn state(&self, scope: &Scope) -> Result<Arc<dyn StateManager>> {
        let capability = self.desk.capabilities.state;
        let (handle, capability) = self.role(scope, "state", capability)?;
        Ok(Arc::new(HttpState::new(handle, capability)))
    }

    async fn tasks(&self, scope: &Scope) -> Result<Arc<dyn TaskStack>> {
        let capability = self.desk.capabilities.tasks;
        let (handle, capability) = self.role(scope, "tasks", capability)?;
        Ok(Arc::new(HttpTasks::new(handle, capability)))
    }

    async fn references(&self, scope: &Scope) -> Result<Arc<dyn ReferenceStore>> {
        let capability = self.desk.capabilities.references;
        let (handle, capability) = self.role(scope, "references", capability)?;
        Ok(Arc::new(HttpReferences::new(handle, capability)))
    }

    async fn close(&self) -> Result<()> {
        self.desk.close();
        Ok(())
    }
}
