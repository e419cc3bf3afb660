//! The handles that a command works with.

use std::sync::Arc;

use statehouse_contracts::{
    Backend, Consumer, Error, ErrorKind, Producer, ReferenceStore, Result, Scope, StateManager,
    TaskStack,
};
use statehouse_state::Trio;

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
    trio: Option<Arc<TrioBackend>>,
}

impl Desk {
    /// With one backend for every role: a running service.
    pub fn of_service(service: Arc<dyn Backend>, scope: Scope) -> Self {
        let (state, messages, tasks) = (service.clone(), service.clone(), service.clone());
        Self {
            scope,
            is_service: true,
            state,
            messages,
            tasks,
            references: service,
            trio: None,
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
            trio,
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

    /// The trio behind the state.
    ///
    /// # Errors
    /// [`Unsupported`](statehouse_contracts::ErrorKind::Unsupported) where none is configured, or a
    /// service hides it.
    pub(super) async fn trio(&self) -> Result<Trio> {
        match &self.trio {
            Some(trio) => trio.trio(&self.scope).await,
            None => Err(Error::new(
                ErrorKind::Unsupported,
                "there is no trio here; configure backends.trio, and leave --url out",
            )),
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
