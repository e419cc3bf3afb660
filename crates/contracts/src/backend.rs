//! A backend: what a URL opens.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    Consumer, Error, Namespace, Producer, RecordCache, ReferenceStore, Result, Scope, StateManager,
    TaskStack,
};

/// What a backend says of itself, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendInfo {
    /// The adapter's name, such as `sqlite`.
    pub name: &'static str,
    /// The server or library it talks to, with its version, such as `SQLite 3.50.2`.
    pub server: String,
    /// Facts for the operator: where it keeps its data, settings that change what it promises.
    pub facts: Vec<(String, String)>,
}

/// An open backend. It opens handles, one per role and scope; a role that it does not have is
/// [`Unsupported`](crate::ErrorKind::Unsupported). Handles share its connections, and live on when
/// another handle is closed; closing the backend closes them all.
#[async_trait]
pub trait Backend: Debug + Send + Sync {
    /// The adapter's name, such as `sqlite`.
    fn name(&self) -> &'static str;

    /// Reaches the backend and tells what it is.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when it cannot be reached.
    async fn info(&self) -> Result<BackendInfo>;

    /// The namespaces that hold anything, in order.
    ///
    /// # Errors
    /// Those of the backend.
    async fn namespaces(&self) -> Result<Vec<Namespace>>;

    /// A handle that sends.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without this role; so for the others.
    async fn producer(&self, scope: &Scope) -> Result<Arc<dyn Producer>> {
        let _ = scope;
        Err(Error::unsupported(self.name(), "producer"))
    }

    /// A handle that receives.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without this role.
    async fn consumer(&self, scope: &Scope) -> Result<Arc<dyn Consumer>> {
        let _ = scope;
        Err(Error::unsupported(self.name(), "consumer"))
    }

    /// A handle on state.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without this role.
    async fn state(&self, scope: &Scope) -> Result<Arc<dyn StateManager>> {
        let _ = scope;
        Err(Error::unsupported(self.name(), "state"))
    }

    /// A handle on tasks.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without this role.
    async fn tasks(&self, scope: &Scope) -> Result<Arc<dyn TaskStack>> {
        let _ = scope;
        Err(Error::unsupported(self.name(), "tasks"))
    }

    /// A handle on large content.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without this role.
    async fn references(&self, scope: &Scope) -> Result<Arc<dyn ReferenceStore>> {
        let _ = scope;
        Err(Error::unsupported(self.name(), "references"))
    }

    /// A cache of the states of the scope's namespace, wherever those are stored. Layers hand it
    /// through: what fails is no more than a miss.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without this role.
    async fn cache(&self, scope: &Scope) -> Result<Arc<dyn RecordCache>> {
        let _ = scope;
        Err(Error::unsupported(self.name(), "cache"))
    }

    /// Closes the backend and all its handles. Idempotent; what was accepted is finished first.
    ///
    /// # Errors
    /// When what was accepted could not be finished.
    async fn close(&self) -> Result<()>;
}
