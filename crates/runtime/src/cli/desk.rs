//! The handles that a command works with.

use std::sync::Arc;
use std::time::Duration;

use statehouse_config::{Config, SharedMemory as SharedMemoryRules};
use statehouse_contracts::{
    Backend, Consumer, Endpoint, Error, ErrorKind, Precondition, Producer, ReferenceStore, Result,
    Scope, StateKey, StateManager, TaskStack, Version,
};
use statehouse_messaging::{Mailboxes, SharedMemory};
use statehouse_service::{Backends, MailPlan, TrioBackend};
use statehouse_wire::TrioStatusDoc;

use crate::adapters;

/// Every role for one namespace and principal, opened when first used.
#[derive(Clone, Debug)]
pub struct Desk {
    scope: Scope,
    is_service: bool,
    state: Arc<dyn Backend>,
    messages: Arc<dyn Backend>,
    tasks: Arc<dyn Backend>,
    references: Arc<dyn Backend>,
    trio: TrioPlace,
    rules: Rules,
}

/// What the configuration says of messages.
#[derive(Clone, Debug)]
struct Rules {
    mail: MailPlan,
    request_timeout: Duration,
    keep: Duration,
    shared: SharedMemoryRules,
}

impl Rules {
    fn of(config: &Config) -> Self {
        Self {
            mail: MailPlan::new(config),
            request_timeout: config.messaging.requests.timeout,
            keep: config.messaging.bus.keep,
            shared: config.messaging.shared_memory.clone(),
        }
    }
}

/// Where the trio is.
#[derive(Clone, Debug)]
enum TrioPlace {
    Nowhere,
    Here(Arc<TrioBackend>),
    /// Behind the service at this endpoint, if it has one.
    There(Endpoint),
}

impl Desk {
    /// With one backend for every role: a running service, at `endpoint`.
    pub fn of_service(
        service: Arc<dyn Backend>,
        endpoint: Endpoint,
        scope: Scope,
        config: &Config,
    ) -> Self {
        let (state, messages, tasks) = (service.clone(), service.clone(), service.clone());
        Self {
            scope,
            is_service: true,
            state,
            messages,
            tasks,
            references: service,
            trio: TrioPlace::There(endpoint),
            rules: Rules::of(config),
        }
    }

    /// With the backends of a configuration.
    pub fn of_backends(backends: Backends, scope: Scope, config: &Config) -> Self {
        let Backends {
            state,
            messages,
            tasks,
            references,
            trio,
            ..
        } = backends;
        Self {
            scope,
            is_service: false,
            state,
            messages,
            tasks,
            references,
            trio: trio.map_or(TrioPlace::Nowhere, TrioPlace::Here),
            rules: Rules::of(config),
        }
    }

    /// Whether a running service does the work, with its own background services.
    pub fn is_service(&self) -> bool {
        self.is_service
    }

    /// For whom it works.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// State.
    ///
    /// # Errors
    /// Those of the backend; so for the others.
    pub async fn state(&self) -> Result<Arc<dyn StateManager>> {
        self.state.state(&self.scope).await
    }

    /// The three stores of the trio behind the state.
    ///
    /// # Errors
    /// [`Unsupported`](statehouse_contracts::ErrorKind::Unsupported) where none is configured.
    pub(super) async fn trio(&self) -> Result<TrioStatusDoc> {
        match &self.trio {
            TrioPlace::Here(trio) => {
                let status = trio.trio(&self.scope).await?.status().await;
                Ok(statehouse_service::http::trio_document(status))
            }
            TrioPlace::There(endpoint) => adapters::trio_of_service(endpoint, &self.scope).await,
            TrioPlace::Nowhere => Err(no_trio()),
        }
    }

    /// Restores the version before the latest; answers its version.
    ///
    /// # Errors
    /// As for [`Desk::trio`], and those of [`Trio::restore`](statehouse_state::Trio::restore).
    pub(super) async fn restore(&self, key: &StateKey, when: Precondition) -> Result<Version> {
        match &self.trio {
            TrioPlace::Here(trio) => trio.trio(&self.scope).await?.restore(key, when).await,
            TrioPlace::There(endpoint) => {
                adapters::restore_by_service(endpoint, &self.scope, key, when).await
            }
            TrioPlace::Nowhere => Err(no_trio()),
        }
    }

    /// Sending.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn producer(&self) -> Result<Arc<dyn Producer>> {
        self.messages.producer(&self.scope).await
    }

    /// Receiving.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn consumer(&self) -> Result<Arc<dyn Consumer>> {
        self.messages.consumer(&self.scope).await
    }

    /// Tasks.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn tasks(&self) -> Result<Arc<dyn TaskStack>> {
        self.tasks.tasks(&self.scope).await
    }

    /// References.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn references(&self) -> Result<Arc<dyn ReferenceStore>> {
        self.references.references(&self.scope).await
    }

    /// Mailboxes, and the messenger beneath them.
    ///
    /// # Errors
    /// Those of the backends.
    pub async fn mail(&self) -> Result<Mailboxes> {
        let references = match self.references().await {
            Ok(references) => Some(references),
            Err(error) if error.kind() == ErrorKind::Unsupported => None,
            Err(error) => return Err(error),
        };
        let plan = &self.rules.mail;
        let state = match plan.validates() {
            true => Some(self.state().await?),
            false => None,
        };
        let (producer, consumer) = (self.producer().await?, self.consumer().await?);
        Ok(plan.mail(producer, consumer, references, state))
    }

    /// What agents share; private values are those of the principal.
    ///
    /// # Errors
    /// Those of the backend.
    pub(super) async fn shared(&self) -> Result<SharedMemory> {
        SharedMemory::new(self.state().await?, self.scope.principal.as_str())
    }

    /// What holds for values that are shared.
    pub(super) fn shared_rules(&self) -> &SharedMemoryRules {
        &self.rules.shared
    }

    /// How long a request waits that says nothing of its own.
    pub(super) fn request_timeout(&self) -> Duration {
        self.rules.request_timeout
    }

    /// How long the content of a large message is kept for who hears it.
    pub(super) fn keep(&self) -> Duration {
        self.rules.keep
    }

    /// The backends, each once, with the roles that it has here.
    pub(super) fn backends(&self) -> Vec<(Vec<&'static str>, Arc<dyn Backend>)> {
        let mut backends: Vec<(Vec<&'static str>, Arc<dyn Backend>)> = Vec::new();
        let roles = [
            ("state", &self.state),
            ("messages", &self.messages),
            ("tasks", &self.tasks),
            ("references", &self.references),
        ];
        for (role, backend) in roles {
            match backends
                .iter_mut()
                .find(|(_, known)| Arc::ptr_eq(known, backend))
            {
                Some((roles, _)) => roles.push(role),
                None => backends.push((vec![role], Arc::clone(backend))),
            }
        }
        backends
    }
}

fn no_trio() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "there is no trio here; configure backends.trio",
    )
}
