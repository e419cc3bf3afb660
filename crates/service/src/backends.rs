//! Opens the configured backends, each URL once, with the layers around it.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use statehouse_config::{Config, Layers, ReplicaMode};
use statehouse_contracts::{
    Backend, BackendInfo, Endpoint, Namespace, Registry, Result, Scope, StateManager,
};
use statehouse_layers::{Retry, Stack};
use statehouse_state::{ReplicaMode as Replication, Trio, TrioOptions};

/// The open backends of one configuration, by role.
#[derive(Clone, Debug)]
pub struct Backends {
    /// States; a trio stands here as one.
    pub state: Arc<dyn Backend>,
    /// Messages.
    pub messages: Arc<dyn Backend>,
    /// Task stacks.
    pub tasks: Arc<dyn Backend>,
    /// References.
    pub references: Arc<dyn Backend>,
    /// The three stores of a trio, where there is one.
    pub trio: Option<Arc<TrioBackend>>,
    opened: Vec<Opened>,
}

/// One open backend and what it is used for.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its URL, without secrets when shown.
    pub endpoint: Endpoint,
    /// `state`, `messages`, `tasks`, `references`, or `state.main`, `state.replica`,
    /// `state.rollback`.
    pub roles: Vec<&'static str>,
    /// The backend, layers included.
    pub backend: Arc<dyn Backend>,
}

impl Backends {
    /// Opens every backend that `config` names. What was opened before a failure is closed again.
    ///
    /// # Errors
    /// Those of [`Registry::open`], with the key of the configuration at fault.
    pub async fn open(config: &Config, registry: &Registry) -> Result<Self> {
        let mut opening = Opening {
            registry,
            stack: stack(&config.layers),
            parameters: parameters(config),
            opened: Vec::new(),
        };
        match opening.roles(config).await {
            Ok(backends) => Ok(backends),
            Err(error) => {
                for opened in opening.opened {
                    if let Err(error) = opened.backend.close().await {
                        tracing::warn!(backend = %opened.endpoint, %error, "closing failed");
                    }
                }
                Err(error)
            }
        }
    }

    /// Every open backend, each once.
    pub fn opened(&self) -> &[Opened] {
        &self.opened
    }

    /// Closes all of them; what was accepted is finished first.
    ///
    /// # Errors
    /// The first failure; the others are closed all the same.
    pub async fn close(&self) -> Result<()> {
        let closing = self.opened.iter().map(|opened| async {
            let closed = opened.backend.close().await;
            closed.map_err(|error| error.with_context("path", &opened.endpoint))
        });
        join_all(closing).await.into_iter().collect()
    }
}

/// The layers that the configuration asks for.
fn stack(layers: &Layers) -> Stack {
    Stack {
        timeout: Some(layers.timeout),
        retry: Some(Retry {
            attempts: layers.retry_attempts.get(),
            base: layers.retry_base,
            cap: layers.retry_cap,
        }),
        observe: true,
    }
}

/// What the configuration says to adapters that keep data themselves, as URL parameters.
fn parameters(config: &Config) -> Vec<(&'static str, String)> {
    let mut parameters = vec![
        ("gc_interval", milliseconds(config.references.gc_interval)),
        ("task_retention", milliseconds(config.tasks.keep_finished)),
    ];
    if let Some(quota) = config.references.quota {
        parameters.push(("quota", quota.0.to_string()));
    }
    parameters
}

fn milliseconds(duration: std::time::Duration) -> String {
    format!("{}ms", duration.as_millis())
}

struct Opening<'a> {
    registry: &'a Registry,
    stack: Stack,
    parameters: Vec<(&'static str, String)>,
    opened: Vec<Opened>,
}

impl Opening<'_> {
    async fn roles(&mut self, config: &Config) -> Result<Backends> {
        let trio = self.trio(config).await?;
        let state: Arc<dyn Backend> = match &trio {
            Some(trio) => Arc::clone(trio) as _,
            None => self.open("state", config.state_backend()).await?,
        };
        Ok(Backends {
            state,
            trio,
            messages: self.open("messages", config.messages_backend()).await?,
            tasks: self.open("tasks", config.tasks_backend()).await?,
            references: self.open("references", config.references_backend()).await?,
            opened: self.opened.clone(),
        })
    }

    async fn trio(&mut self, config: &Config) -> Result<Option<Arc<TrioBackend>>> {
        let trio = &config.trio;
        let (Some(main), Some(replica), Some(rollback)) =
            (&trio.main, &trio.replica, &trio.rollback)
        else {
            return Ok(None);
        };
        let replication = match trio.mode {
            ReplicaMode::Native => Replication::Native,
            ReplicaMode::Fed => Replication::Fed,
        };
        Ok(Some(Arc::new(TrioBackend {
            main: self.open("state.main", main).await?,
            replica: self.open("state.replica", replica).await?,
            rollback: self.open("state.rollback", rollback).await?,
            replication,
        })))
    }

    /// The backend at `endpoint`, which may be open for another role.
    async fn open(&mut self, role: &'static str, endpoint: &Endpoint) -> Result<Arc<dyn Backend>> {
        let found = self
            .opened
            .iter_mut()
            .find(|opened| opened.endpoint == *endpoint);
        if let Some(opened) = found {
            opened.roles.push(role);
            return Ok(Arc::clone(&opened.backend));
        }
        let tuned = self.registry.tuned(endpoint, &self.parameters);
        let opened = self.registry.open(&tuned).await;
        let backend = opened.map_err(|error| error.with_context("role", role))?;
        let backend = self.stack.wrap(backend);
        self.opened.push(Opened {
            endpoint: endpoint.clone(),
            roles: vec![role],
            backend: Arc::clone(&backend),
        });
        Ok(backend)
    }
}

/// Three stores of states as one backend, which has that role only.
#[derive(Debug)]
pub struct TrioBackend {
    main: Arc<dyn Backend>,
    replica: Arc<dyn Backend>,
    rollback: Arc<dyn Backend>,
    replication: Replication,
}

impl TrioBackend {
    /// The trio of one scope.
    ///
    /// # Errors
    /// Those of the three backends.
    pub async fn trio(&self, scope: &Scope) -> Result<Trio> {
        let options = TrioOptions {
            replica: self.replication,
            ..TrioOptions::default()
        };
        Ok(Trio::new(
            self.main.state(scope).await?,
            self.replica.state(scope).await?,
            self.rollback.state(scope).await?,
            options,
        ))
    }
}

#[async_trait]
impl Backend for TrioBackend {
    fn name(&self) -> &'static str {
        "trio"
    }

    async fn info(&self) -> Result<BackendInfo> {
        let mut facts = Vec::new();
        let roles = [
            ("main", &self.main),
            ("replica", &self.replica),
            ("rollback", &self.rollback),
        ];
        for (role, backend) in roles {
            let info = backend.info().await?;
            facts.push((role.to_owned(), info.server));
        }
        Ok(BackendInfo {
            name: self.name(),
            server: "three stores of states".to_owned(),
            facts,
        })
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.main.namespaces().await
    }

    async fn state(&self, scope: &Scope) -> Result<Arc<dyn StateManager>> {
        Ok(Arc::new(self.trio(scope).await?))
    }

    /// Does nothing: the three are closed each for itself.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
