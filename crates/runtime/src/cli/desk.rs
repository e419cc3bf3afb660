//! The handles that a command works with.

use std::sync::Arc;

use statehouse_contracts::{
    Backend, Consumer, Endpoint, Error, ErrorKind, Precondition, Producer, ReferenceStore, Result,
    Scope, StateKey, StateManager, TaskStack, Version,
};
use statehouse_wire::TrioStatusDoc;

use crate::adapters;
use crate::backends::{Backends, TrioBackend};

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
    pub fn of_service(service: Arc<dyn Backend>, endpoint: Endpoint, scope: Scope) -> Self {
        let (state, messages, tasks) = (service.clone(), service.clone(), service.clone());
        Self {
            scope,
            is_service: true,
            state,
            messages,
            tasks,
            references: service,
            trio: TrioPlace::There(endpoint),
        }
    }

    /// With the backends of a configuration.
    pub fn of_backends(backends: Backends, scope: Scope) -> Self {
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
                Ok(crate::http::trio::document(status))
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
