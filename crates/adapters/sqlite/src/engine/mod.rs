//! The engine: one writer thread per database file that commits whatever waits as one group,
//! a pool of readers, and wake-ups after commits.
//!
//! ```text
//!  write(job) ─► inbox ─► writer thread ─► one transaction per group ─► fsync ─► replies, wake-ups
//!  read(f) ───► queue ─► reader threads (read-only connections)
//! ```
//!
//! A *job* is a closure over a [`Tx`] that may be run more than once: it must not use up what it
//! captured. It validates first and writes after, because an error returned before the first
//! write costs nothing, while one after a write makes the whole group run again. A job's answer
//! comes after the commit is durable. Jobs of one process run in the order handed in, except
//! that a group with a failing job may be run again as a whole.

mod busy;
mod checkpoint;
mod error;
mod handle;
mod inbox;
mod job;
mod open;
mod readers;
mod statements;
mod transaction;
mod watch;
mod writer;

use std::{path::Path, sync::Arc, time::Duration};

use rusqlite::Connection;

use self::handle::Handle;
pub use self::{
    error::EngineError,
    job::Receipt,
    transaction::{AtEnd, Counter, Tx},
    watch::{Channel, Listener, Woken},
};

/// The tables of a file and how they came to be.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// Marks a file as ours, in its header.
    pub application_id: i32,
    /// Step `n` (from 0) brings a file from version `n` to `n + 1`, by scripts run in order. A
    /// released step is never changed; changes are new steps.
    pub steps: &'static [&'static [&'static str]],
}

impl Schema {
    /// The version a file has after all steps.
    #[must_use]
    pub fn version(self) -> i32 {
        i32::try_from(self.steps.len()).unwrap_or(i32::MAX)
    }

    fn steps_after(self, version: i32) -> &'static [&'static [&'static str]] {
        let done = usize::try_from(version).unwrap_or(0);
        self.steps.get(done..).unwrap_or_default()
    }
}

/// When a commit counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synchronous {
    /// Once it is on the disk: it survives a loss of power.
    #[default]
    Full,
    /// Once the operating system has it: it survives a kill of the process, while a loss of
    /// power may take the last commits (never part of one, never the file).
    Normal,
}

impl Synchronous {
    fn pragma(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Normal => "NORMAL",
        }
    }
}

/// How to run the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// When a commit counts as durable.
    pub synchronous: Synchronous,
    /// How long a write waits for another process's transaction before it fails as busy.
    pub busy_timeout: Duration,
    /// How many read-only connections, each with a thread.
    pub readers: usize,
    /// How often to look for commits of other processes while a listener waits.
    pub foreign_poll: Duration,
    /// The page size of a new file, in bytes.
    pub page_size: u32,
    /// The writer's page cache, in KiB.
    pub writer_cache_kib: i64,
    /// The page cache of each reader, in KiB.
    pub reader_cache_kib: i64,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            synchronous: Synchronous::Full,
            busy_timeout: Duration::from_secs(5),
            readers: 4,
            foreign_poll: Duration::from_millis(25),
            page_size: 4096,
            writer_cache_kib: 64 * 1024,
            reader_cache_kib: 16 * 1024,
        }
    }
}

impl EngineOptions {
    /// Two handles of one file share its writer, so they must agree on what it promises.
    fn check_same(&self, open: &handle::Shared) -> Result<(), EngineError> {
        if self.synchronous == open.options.synchronous {
            return Ok(());
        }
        Err(EngineError::OptionsDiffer {
            path: open.path.clone(),
            what: format!("synchronous={}", open.options.synchronous.pragma()),
        })
    }
}

/// A handle of one database file. Clones are the same handle; opening the same file again in
/// this process makes another handle on the same writer.
#[derive(Debug, Clone)]
pub struct Engine {
    handle: Arc<Handle>,
}

impl Engine {
    /// Opens or creates the file, and brings its schema up to date. The directory must exist.
    ///
    /// # Errors
    /// Each thing that can be wrong with a file has its own [`EngineError`]: a missing directory,
    /// no regular file, not writable, not a database, another application's, a newer schema, and
    /// `Busy` when another process keeps it locked.
    pub async fn open(
        path: impl AsRef<Path>,
        options: EngineOptions,
        schema: Schema,
    ) -> Result<Self, EngineError> {
        let path = path.as_ref().to_owned();
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || handle::open(&path, &options, schema, &runtime))
            .await
            .unwrap_or_else(|error| Err(EngineError::Panicked(error.to_string())))
            .map(|handle| Self { handle })
    }

    /// The file's canonical path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.handle.shared().path
    }

    /// Runs a job in the next group and answers once it is durable. Dropping the future does not
    /// undo the job; a job that was handed in is run.
    ///
    /// # Errors
    /// The job's own; [`EngineError::Closed`], `Busy`, `Full`, `Io`, `Panicked` of the engine, by
    /// `E`'s conversion.
    pub async fn write<T, E, F>(&self, job: F) -> Result<T, E>
    where
        F: FnMut(&Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<EngineError> + Send + 'static,
    {
        self.submit(job)?.await
    }

    /// As [`write`](Self::write), for what need not survive a loss of power, such as the record
    /// of a lease: answers once the operating system has the commit, so it survives a kill of
    /// the process. The next durable commit makes it durable too; nothing is ever reordered.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn write_relaxed<T, E, F>(&self, job: F) -> Result<T, E>
    where
        F: FnMut(&Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<EngineError> + Send + 'static,
    {
        self.hand_in(job, true)?.await
    }

    /// Hands in a durable job now, to be awaited later.
    ///
    /// # Errors
    /// [`EngineError::Closed`], by `E`'s conversion; the receipt resolves to the job's.
    pub fn submit<T, E, F>(&self, job: F) -> Result<Receipt<T, E>, E>
    where
        F: FnMut(&Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<EngineError> + Send + 'static,
    {
        self.hand_in(job, false)
    }

    /// Hands in a [relaxed](Self::write_relaxed) job now, to be awaited later.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn submit_relaxed<T, E, F>(&self, job: F) -> Result<Receipt<T, E>, E>
    where
        F: FnMut(&Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<EngineError> + Send + 'static,
    {
        self.hand_in(job, true)
    }

    fn hand_in<T, E, F>(&self, job: F, relaxed: bool) -> Result<Receipt<T, E>, E>
    where
        F: FnMut(&Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<EngineError> + Send + 'static,
    {
        self.handle.check_open()?;
        let (job, receipt) = job::job(job, relaxed);
        self.handle.shared().inbox.push(job)?;
        Ok(receipt)
    }

    /// Reads on one of the read-only connections. Each statement sees the newest commit; use
    /// [`snapshot`](Self::snapshot) where several must agree. Keep it short: a statement that is
    /// not finished holds back checkpoints.
    ///
    /// # Errors
    /// The closure's own; `Closed` and `Panicked` of the engine, by `E`'s conversion.
    pub async fn read<T, E, F>(&self, read: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<EngineError> + Send + 'static,
    {
        self.handle.check_open()?;
        self.handle.shared().readers.run(read).await
    }

    /// Reads inside one transaction, so that all statements see the same state.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn snapshot<T, E, F>(&self, read: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<EngineError> + Send + 'static,
    {
        self.read(move |connection| {
            let begin = connection.prepare_cached("BEGIN");
            begin
                .and_then(|mut begin| begin.execute(()))
                .map_err(EngineError::from)?;
            let result = read(connection);
            let end = connection.prepare_cached("COMMIT");
            end.and_then(|mut end| end.execute(()))
                .map_err(EngineError::from)?;
            result
        })
        .await
    }

    /// Registers for the wake-ups of some channels. Register first, then look, then wait.
    #[must_use]
    pub fn listen(&self, channels: &[Channel]) -> Listener {
        Listener::new(Arc::clone(&self.handle), channels)
    }

    /// Whether [`close`](Self::close) was called on this handle.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Closes this handle: new calls and waiting listeners end with `Closed`, accepted jobs are
    /// finished first. With the file's last handle the log is moved into the database and the
    /// file is closed. Closing again does nothing.
    pub async fn close(&self) {
        if self.handle.is_closed() {
            self.handle.ended().await;
            return;
        }
        // A job behind all accepted ones; it writes nothing and costs no sync.
        let accepted = self.submit(|_| Ok::<_, EngineError>(()));
        self.handle.close();
        if let Ok(receipt) = accepted {
            // Its only answer is that the jobs before it are done.
            let _ = receipt.await;
        }
        self.handle.ended().await;
    }
}
