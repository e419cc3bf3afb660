//! What every role's handle is made of: the shared file, its scope, and its own closing.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use statehouse_contracts::{Error, Result, Scope};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    engine::{Channel, Engine, EngineError, Listener, Tx, Woken},
    error::{Failure, map},
};

/// The open file, shared by the backend and all its handles.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) engine: Engine,
    pub(crate) config: Config,
    /// Cancelled when the backend closes.
    pub(crate) closing: CancellationToken,
}

impl Store {
    /// Begins a handle for `scope`.
    pub(crate) async fn session(self: &Arc<Self>, scope: &Scope) -> Result<Session> {
        let wanted = scope.clone();
        let known = self
            .engine
            .read(move |connection| find(connection, &wanted))
            .await;
        let (ns, by) = match known.map_err(|failure: Failure| failure.of("open"))? {
            Some(ids) => ids,
            None => self.intern(scope).await?,
        };
        Ok(Session {
            store: Arc::clone(self),
            ns,
            by,
            closing: self.closing.child_token(),
        })
    }

    async fn intern(&self, scope: &Scope) -> Result<(i64, i64)> {
        let scope = scope.clone();
        let interned = self.engine.write(move |tx| {
            tx.prepare_cached("INSERT OR IGNORE INTO namespace (name) VALUES (?1)")?
                .execute((scope.namespace.as_str(),))?;
            principal_id(tx, scope.principal.as_str())?;
            find(tx, &scope)?.ok_or_else(|| Error::internal("a name was not kept").into())
        });
        interned
            .await
            .map_err(|failure: Failure| failure.of("open"))
    }
}

/// The number of a principal, new or old.
pub(crate) fn principal_id(tx: &Tx<'_>, name: &str) -> rusqlite::Result<i64> {
    tx.prepare_cached("INSERT OR IGNORE INTO principal (name) VALUES (?1)")?
        .execute((name,))?;
    tx.prepare_cached("SELECT id FROM principal WHERE name = ?1")?
        .query_row((name,), |row| row.get(0))
}

/// The numbers of the namespace and the principal.
fn find(connection: &Connection, scope: &Scope) -> Result<Option<(i64, i64)>, Failure> {
    let names = (scope.namespace.as_str(), scope.principal.as_str());
    let ids = connection
        .prepare_cached(
            "SELECT namespace.id, principal.id FROM namespace, principal
             WHERE namespace.name = ?1 AND principal.name = ?2",
        )?
        .query_row(names, |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(ids)
}

/// One handle of one role. Clones are the same handle.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) store: Arc<Store>,
    /// The namespace's number.
    pub(crate) ns: i64,
    /// The principal's number.
    pub(crate) by: i64,
    closing: CancellationToken,
}

impl Session {
    /// The backend's configuration.
    pub(crate) fn config(&self) -> &Config {
        &self.store.config
    }

    /// Fails once the handle or its backend is closed.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closing.is_cancelled() {
            Err(Error::closed())
        } else {
            Ok(())
        }
    }

    /// Runs a job in the next group and answers once it is durable. The job may run more than
    /// once; it looks first and writes after, see [`Engine`].
    pub(crate) async fn write<T, F>(&self, operation: &'static str, job: F) -> Result<T>
    where
        F: FnMut(&Tx<'_>) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        self.check_open()
            .map_err(|error| error.with_operation(operation))?;
        let done = self.store.engine.write(job).await;
        done.map_err(|failure| failure.of(operation))
    }

    /// Reads by one statement.
    pub(crate) async fn read<T, F>(&self, operation: &'static str, read: F) -> Result<T>
    where
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        self.check_open()
            .map_err(|error| error.with_operation(operation))?;
        let done = self.store.engine.read(read).await;
        done.map_err(|failure| failure.of(operation))
    }

    /// Reads by several statements that see the same state.
    pub(crate) async fn snapshot<T, F>(&self, operation: &'static str, read: F) -> Result<T>
    where
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        self.check_open()
            .map_err(|error| error.with_operation(operation))?;
        let done = self.store.engine.snapshot(read).await;
        done.map_err(|failure| failure.of(operation))
    }

    /// Registers for wake-ups. Register first, then look, then [`wait`](Self::wait).
    pub(crate) fn listen(&self, channels: &[Channel]) -> Listener {
        self.store.engine.listen(channels)
    }

    /// Waits for a wake-up, until `deadline` or the close of the handle.
    pub(crate) async fn wait(&self, listener: &mut Listener, deadline: Instant) -> Result<Woken> {
        tokio::select! {
            () = self.closing.cancelled() => Err(Error::closed()),
            woken = listener.wait(deadline) => woken.map_err(|error| map("wait", error)),
        }
    }

    /// Closes this handle: calls that wait end, accepted ones are finished first.
    pub(crate) async fn close(&self) -> Result<()> {
        self.closing.cancel();
        // A job behind all accepted ones; it writes nothing and costs no sync.
        let accepted = self.store.engine.write(|_| Ok::<_, EngineError>(()));
        match accepted.await {
            Ok(()) | Err(EngineError::Closed) => Ok(()),
            Err(error) => Err(map("close", error)),
        }
    }
}
