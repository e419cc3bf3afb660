use std::fmt::Debug;
use std::sync::Arc;

use statehouse_contracts::{
    Backend, Consumer, Endpoint, Error, Namespace, Principal, Producer, ReferenceId,
    ReferenceStore, Result, Scope, StateManager, TaskStack,
};
use tokio::sync::{Mutex, OnceCell};
use uuid::Uuid;

use crate::setup::Wrap;
use crate::{Damage, Expected, Place, Setup, Timing};

/// The backend that all cases of a group share; opened by the first that needs it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) setup: Setup,
    pub(crate) wrap: Wrap,
    opened: OnceCell<Instance>,
    open_for_cases: Mutex<Vec<Arc<dyn Backend>>>,
}

impl Shared {
    pub(crate) fn new(setup: Setup, wrap: Wrap) -> Arc<Self> {
        Arc::new(Self {
            setup,
            wrap,
            opened: OnceCell::new(),
            open_for_cases: Mutex::default(),
        })
    }

    /// Closes what is still open, at the end of all cases.
    pub(crate) async fn close(&self) {
        let mut backends = std::mem::take(&mut *self.open_for_cases.lock().await);
        backends.extend(self.opened.get().map(|instance| instance.backend.clone()));
        for backend in backends {
            // Only the cases on closing judge how it goes.
            let _ = backend.close().await;
        }
    }
}

/// What a case gets: handles in a namespace of its own, on a backend that it shares with others,
/// and further backends on demand.
#[derive(Clone, Debug)]
pub struct Context {
    shared: Arc<Shared>,
    scope: Scope,
}

impl Context {
    pub(crate) fn new(shared: Arc<Shared>) -> Result<Self> {
        let scope = Scope::new(unique_namespace()?, Principal::new("conformance")?);
        Ok(Self { shared, scope })
    }

    /// The case's own namespace and principal.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// A scope of another namespace that nobody else uses.
    ///
    /// # Errors
    /// None in practice.
    pub fn other_scope(&self) -> Result<Scope> {
        Ok(Scope::new(
            unique_namespace()?,
            self.scope.principal.clone(),
        ))
    }

    /// The same namespace for another principal.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for a bad name.
    pub fn scope_of(&self, principal: &str) -> Result<Scope> {
        Ok(Scope::new(
            self.scope.namespace.clone(),
            Principal::new(principal)?,
        ))
    }

    /// What the adapter is expected to do.
    pub fn expected(&self) -> &Expected {
        &self.shared.setup.expected
    }

    /// The adapter's name.
    pub fn adapter(&self) -> &'static str {
        self.shared.setup.factory.name()
    }

    /// Whether opening the same data again, also beside an open backend, finds it.
    pub fn reopens(&self) -> bool {
        self.shared.setup.hooks.persistent
    }

    /// How long to wait for what, with messages and references.
    pub fn timing(&self) -> Timing {
        Timing::messages(self.expected())
    }

    /// How long to wait for what, with tasks.
    pub fn task_timing(&self) -> Timing {
        Timing::tasks(self.expected())
    }

    /// The backend that all cases share. Not to be closed.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn backend(&self) -> Result<Arc<dyn Backend>> {
        let open =
            || async { Instance::open(self.shared.clone(), self.shared.setup.place()?).await };
        let instance = self.shared.opened.get_or_try_init(open).await?;
        Ok(instance.backend.clone())
    }

    /// A handle that sends in the case's namespace.
    ///
    /// # Errors
    /// Those of the backend; so for the others.
    pub async fn producer(&self) -> Result<Arc<dyn Producer>> {
        self.backend().await?.producer(&self.scope).await
    }

    /// A handle that receives in the case's namespace.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn consumer(&self) -> Result<Arc<dyn Consumer>> {
        self.backend().await?.consumer(&self.scope).await
    }

    /// A handle on the state of the case's namespace.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn state(&self) -> Result<Arc<dyn StateManager>> {
        self.backend().await?.state(&self.scope).await
    }

    /// A handle on the tasks of the case's namespace.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn tasks(&self) -> Result<Arc<dyn TaskStack>> {
        self.backend().await?.tasks(&self.scope).await
    }

    /// A handle on the references of the case's namespace.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn references(&self) -> Result<Arc<dyn ReferenceStore>> {
        self.backend().await?.references(&self.scope).await
    }

    /// A backend for this case alone, which it may close and reopen. On a server it is a further
    /// client of the same server.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn fresh(&self) -> Result<Instance> {
        Instance::open(self.shared.clone(), self.shared.setup.place()?).await
    }

    /// A backend for this case alone whose namespaces have a quota for references.
    ///
    /// # Errors
    /// When it cannot be opened, or the setup has none.
    pub async fn with_quota(&self) -> Result<Instance> {
        let make = self.shared.setup.hooks.quota.clone();
        let make = make.ok_or_else(|| Error::internal("the setup has no place with a quota"))?;
        Instance::open(self.shared.clone(), make(&self.shared.setup)?).await
    }
}

/// A backend for one case alone. It is closed when all cases are done, if the case does not.
#[derive(Clone, Debug)]
pub struct Instance {
    shared: Arc<Shared>,
    place: Place,
    backend: Arc<dyn Backend>,
}

impl Instance {
    async fn open(shared: Arc<Shared>, place: Place) -> Result<Self> {
        let backend = shared.setup.open(&place, shared.wrap).await?;
        shared.open_for_cases.lock().await.push(backend.clone());
        Ok(Self {
            shared,
            place,
            backend,
        })
    }

    /// The backend.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Where it keeps its data.
    ///
    /// # Errors
    /// When the place's URL makes no sense.
    pub fn endpoint(&self) -> Result<Endpoint> {
        Endpoint::parse(self.place.url())
    }

    /// The same data, opened once more beside this one, as by another process.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn beside(&self) -> Result<Instance> {
        Self::open(self.shared.clone(), self.place.clone()).await
    }

    /// Closes the backend and opens the same data again.
    ///
    /// # Errors
    /// When it cannot be closed or opened.
    pub async fn reopen(&self) -> Result<Instance> {
        self.backend.close().await?;
        self.beside().await
    }

    /// Changes one byte of stored content behind the adapter's back.
    ///
    /// # Errors
    /// When that cannot be done.
    pub async fn damage(&self, namespace: &Namespace, id: ReferenceId, at: u64) -> Result<()> {
        let hook = self.shared.setup.hooks.damage.clone();
        let hook = hook.ok_or_else(|| Error::internal("the setup has no way to damage content"))?;
        let (place, namespace) = (self.place.clone(), namespace.clone());
        hook(Damage {
            place,
            namespace,
            id,
            at,
        })
        .await
    }
}

/// Also unique on a server that remembers earlier runs.
fn unique_namespace() -> Result<Namespace> {
    Namespace::new(format!("c-{}", Uuid::now_v7().simple()))
}
