//! What every role's handle is made of: the shared server, its scope, and its own closing.

use std::sync::Arc;

use fred::interfaces::SetsInterface;
use fred::types::{Key, Value};
use statehouse_contracts::{Error, Namespace, Principal, Result, Scope};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::config::Config;
use crate::durability::Server;
use crate::housekeeping::Houses;
use crate::keys::{self, Keys, Role};
use crate::queue::Queues;
use crate::rounds::Rounds;
use crate::script::Script;
use crate::state::{Applying, Glances};
use crate::wake::{Listener, Wakes, Woken};

/// The server, shared by the backend and all its handles.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) client: Arc<Client>,
    pub(crate) config: Config,
    /// What the server said of itself when it was opened.
    pub(crate) server: Server,
    pub(crate) wakes: Wakes,
    pub(crate) houses: Houses,
    pub(crate) queues: Queues,
    pub(crate) applies: Rounds<Applying>,
    pub(crate) glances: Glances,
    /// Cancelled when the backend closes.
    pub(crate) closing: CancellationToken,
}

impl Store {
    /// The keys of `role` in `namespace`.
    pub(crate) fn keys(&self, namespace: &Namespace, role: Role) -> Keys {
        Keys::new(&self.config.prefix, namespace, role)
    }

    /// Fails once the backend is closed.
    pub(crate) fn check_open(&self, operation: &'static str) -> Result<()> {
        if self.closing.is_cancelled() {
            Err(Error::closed().with_operation(operation))
        } else {
            Ok(())
        }
    }

    /// Makes the namespace known to [`Store::known`], and kept in order.
    pub(crate) async fn enter(&self, namespace: &Namespace) -> Result<()> {
        let key = keys::namespaces(&self.config.prefix);
        let name = namespace.as_str().to_owned();
        let entered = self.client.run("open", false, |commands| async move {
            commands.sadd::<(), _, _>(key, name).await
        });
        entered.await
    }

    /// All namespaces that were ever entered, in order.
    pub(crate) async fn known(&self) -> Result<Vec<Namespace>> {
        let key = keys::namespaces(&self.config.prefix);
        let names = self.client.run("namespaces", false, |commands| async move {
            commands.smembers::<Vec<String>, _>(key).await
        });
        let mut names = names.await?;
        names.sort_unstable();
        names.into_iter().map(Namespace::new).collect()
    }

    /// Begins a handle of `role` for `scope`.
    pub(crate) async fn session(self: &Arc<Self>, scope: &Scope, role: Role) -> Result<Session> {
        self.check_open("open")?;
        self.enter(&scope.namespace).await?;
        self.houses.add(&scope.namespace);
        Ok(self.begin(scope, role))
    }

    /// Begins a handle that the backend uses itself, in a namespace that is known.
    pub(crate) fn begin(self: &Arc<Self>, scope: &Scope, role: Role) -> Session {
        Session {
            store: Arc::clone(self),
            keys: self.keys(&scope.namespace, role),
            namespace: scope.namespace.clone(),
            principal: scope.principal.clone(),
            closing: self.closing.child_token(),
        }
    }
}

/// One handle of one role. Clones are the same handle.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) store: Arc<Store>,
    /// The keys of this role in this namespace.
    pub(crate) keys: Keys,
    pub(crate) namespace: Namespace,
    pub(crate) principal: Principal,
    closing: CancellationToken,
}

impl Session {
    /// The backend's configuration.
    pub(crate) fn config(&self) -> &Config {
        &self.store.config
    }

    /// Fails once the handle or its backend is closed.
    pub(crate) fn check_open(&self, operation: &'static str) -> Result<()> {
        if self.closing.is_cancelled() {
            Err(Error::closed().with_operation(operation))
        } else {
            Ok(())
        }
    }

    /// Runs a script, unless the handle is closed.
    pub(crate) async fn script(
        &self,
        operation: &'static str,
        script: &'static Script,
        keys: Vec<Key>,
        arguments: Vec<Value>,
    ) -> Result<Value> {
        self.check_open(operation)?;
        let client = &self.store.client;
        client.script(operation, script, keys, arguments).await
    }

    /// Hears the wake-ups of `channel`, a name made by [`Keys`].
    pub(crate) async fn listen(&self, channel: &str) -> Result<Listener> {
        self.store.wakes.listen(&self.store.client, channel).await
    }

    /// Waits for a wake-up, until `deadline` or the close of the handle.
    pub(crate) async fn wait(&self, listener: &mut Listener, deadline: Instant) -> Result<Woken> {
        tokio::select! {
            () = self.closing.cancelled() => Err(Error::closed()),
            woken = listener.wait(deadline) => woken,
        }
    }

    /// Resolves when the handle is closed.
    pub(crate) async fn closed(&self) {
        self.closing.cancelled().await;
    }

    /// Closes this handle: calls that wait end.
    pub(crate) fn close(&self) {
        self.closing.cancel();
    }
}
