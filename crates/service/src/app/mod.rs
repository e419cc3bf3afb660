//! The service behind the HTTP API: backends by role, handles by scope, services by namespace.

mod capabilities;
mod messaging;
mod services;
mod session;
mod shared_by_all;
mod shared_cache;

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use statehouse_config::Config;
use statehouse_contracts::{
    Consumer, Error, Namespace, Principal, Producer, ReferenceStore, Registry, Result, Scope,
    StateManager, TaskStack,
};
use statehouse_state::{StateCache, StateService};
use tokio_util::sync::CancellationToken;

use crate::backends::Backends;

pub use capabilities::Capabilities;
pub(crate) use messaging::Hub;
pub use messaging::MailPlan;
use messaging::Messaging;
use services::Services;
use session::Session;
pub(crate) use shared_by_all::SharedByAll;
use shared_cache::SharedStore;

/// Who the service's own work is done for.
const SERVICE: &str = "statehouse";

/// The running service. Handles are opened when a scope first needs them and kept for a while;
/// each namespace has its own background services: relay, cache feed, retention, trio feeds, and
/// what looks after its messages.
///
/// Clones are the same service.
#[derive(Clone, Debug)]
pub struct App(SharedByAll<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    backends: Backends,
    capabilities: Capabilities,
    sessions: Cache<Scope, Arc<Session>>,
    services: Services,
    messaging: Messaging,
    draining: CancellationToken,
}

impl App {
    /// The most scopes whose handles are kept open.
    const SESSIONS: u64 = 4096;
    /// How long the handles of a scope that nobody uses are kept.
    const IDLE: Duration = Duration::from_secs(600);

    /// Opens the backends and starts the services of the namespaces that hold anything.
    ///
    /// # Errors
    /// Those of the backends.
    pub async fn open(config: Config, registry: &Registry) -> Result<Self> {
        let backends = Backends::open(&config, registry).await?;
        match Self::over(config, registry, &backends).await {
            Ok(app) => Ok(app),
            Err(error) => {
                backends.close().await?;
                Err(error)
            }
        }
    }

    async fn over(config: Config, registry: &Registry, backends: &Backends) -> Result<Self> {
        let scope = Scope::new(config.namespaces.default.clone(), service_principal()?);
        let capabilities = Capabilities::read(backends, &scope).await?;
        let shared = SharedStore::of(&config, registry, &scope).await?;
        let services = Services::new(&config, backends.clone(), shared, &capabilities)?;
        let sessions = Cache::builder()
            .max_capacity(Self::SESSIONS)
            .time_to_idle(Self::IDLE)
            .build();
        let messaging = Messaging::new(&config);
        let app = Self(SharedByAll::new(Inner {
            config,
            messaging,
            backends: backends.clone(),
            capabilities,
            sessions,
            services,
            draining: CancellationToken::new(),
        }));
        for opened in backends.opened() {
            let namespaces = match opened.backend.namespaces().await {
                Err(error) if !opened.roles.iter().any(|role| role.starts_with("state")) => {
                    let backend = &opened.endpoint;
                    tracing::warn!(%backend, %error, "its namespaces are looked after once used");
                    continue;
                }
                namespaces => namespaces?,
            };
            for namespace in namespaces {
                app.0.services.of(&namespace);
            }
        }
        Ok(app)
    }

    /// The configuration it runs with.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The open backends.
    pub fn backends(&self) -> &Backends {
        &self.0.backends
    }

    /// What each role can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.0.capabilities
    }

    /// Ends when the service is about to shut down: whoever waits for something to come stops.
    pub fn draining(&self) -> &CancellationToken {
        &self.0.draining
    }

    /// The namespaces that hold anything, over all backends, in order.
    ///
    /// # Errors
    /// Those of the backends.
    pub async fn namespaces(&self) -> Result<Vec<Namespace>> {
        let mut all = Vec::new();
        for opened in self.0.backends.opened() {
            all.extend(opened.backend.namespaces().await?);
        }
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// States through the cache.
    ///
    /// # Errors
    /// Those of the backend; so for the others.
    pub async fn states(&self, scope: &Scope) -> Result<StateService> {
        let cache = self.0.services.of(&scope.namespace);
        let manager = self.state(scope).await?;
        Ok(StateService::new(manager, cache))
    }

    /// The cache of a namespace, for whoever writes without [`App::states`].
    pub fn cache(&self, namespace: &Namespace) -> Option<Arc<StateCache>> {
        self.0.services.of(namespace)
    }

    /// The state manager beneath the cache.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn state(&self, scope: &Scope) -> Result<Arc<dyn StateManager>> {
        self.0.services.of(&scope.namespace);
        self.session(scope).state(&self.0.backends).await
    }

    /// Sending.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn producer(&self, scope: &Scope) -> Result<Arc<dyn Producer>> {
        self.session(scope).producer(&self.0.backends).await
    }

    /// Receiving.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn consumer(&self, scope: &Scope) -> Result<Arc<dyn Consumer>> {
        self.session(scope).consumer(&self.0.backends).await
    }

    /// Tasks.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn tasks(&self, scope: &Scope) -> Result<Arc<dyn TaskStack>> {
        self.session(scope).tasks(&self.0.backends).await
    }

    /// References.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn references(&self, scope: &Scope) -> Result<Arc<dyn ReferenceStore>> {
        self.session(scope).references(&self.0.backends).await
    }

    fn session(&self, scope: &Scope) -> Arc<Session> {
        if let Some(session) = self.0.sessions.get(scope) {
            return session;
        }
        let open = || Arc::new(Session::new(scope.clone()));
        self.0.sessions.get_with_by_ref(scope, open)
    }

    /// Ends the waits of requests, so that they can be answered.
    pub fn drain(&self) {
        self.0.draining.cancel();
    }

    /// Stops the services and closes the backends; what was accepted is finished first.
    ///
    /// # Errors
    /// Those of the backends.
    pub async fn close(&self) -> Result<()> {
        self.drain();
        self.0.messaging.close().await;
        self.0.services.stop().await;
        self.0.backends.close().await
    }
}

fn service_principal() -> Result<Principal, Error> {
    Principal::new(SERVICE)
}
