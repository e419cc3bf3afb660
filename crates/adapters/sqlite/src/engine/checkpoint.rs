//! When the write-ahead log goes back into the database.
//!
//! Two things must hold at once under load: the log stays small, and no commit waits long.
//! SQLite starts the log over only when all of it is in the database at the moment a writer
//! begins, so a checkpoint beside a busy writer never gets there, while one inside the writer
//! makes every caller wait for the sync of the database. Measured with 64 callers, 1 KiB values,
//! three statements each, on two cores; p99 as a multiple of p50, and the largest log:
//!
//! | schedule | puts/s | p99 | log |
//! |---|---|---|---|
//! | in the writer, every 4,000 pages | 47k | 10.4x | 17 MB |
//! | in the writer, every 1,000 pages (SQLite's default) | 44k | 10.4x | 4 MB |
//! | in the writer, every 250 pages | 37–48k | 4.4x | 1.5 MB |
//! | beside it, every 4 MB; the rest in the writer from 32 MB | 55k | 4.6x | 33 MB |
//! | beside it, every 0.4 MB; the rest in the writer from 8 MB | 28k | 5.4x | 11 MB |
//! | beside it, every 1 MB; the rest in the writer from 16 MB | 52–57k | 3.4–4.2x | 17 MB |
//! | beside it, every 0.5 MB; the rest in the writer from 24 MB | 44–58k | 2.1–2.5x | 26 MB |
//!
//! The last one is what this module does. A thread of its own moves the log in steps of about
//! 0.5 MB, small enough that its syncs hardly delay the writer's. From 24 MB on, the writer moves
//! the rest itself, right after the thread has finished a step: then that is little, and the next
//! commit starts the log over. The file is not cut: overwriting it costs half the sync that
//! appending does. Where the thread falls 8 MB behind (large values, a slow disk), the writer waits
//! for it. A reader in an old snapshot holds all this back: from 36 MB on the writer waits a little
//! for it, from 48 MB on longer. A reader that outlasts that (a stuck program on the same file)
//! lets the log grow on, because stopping all writes would be worse.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::{EngineError, busy::Patience, handle::Shared, open};

/// Bytes the log grows between two steps of the thread.
const STEP: i64 = 512 << 10;

/// Bytes in the log from which the writer finishes the work of the thread.
const FINISH: i64 = 24 << 20;

/// Bytes the log may grow while the thread is at one step; then the writer waits for it.
const LAG: i64 = 8 << 20;

/// Bytes in the log from which the writer waits for readers.
const WAIT_FOR_READERS: i64 = 36 << 20;

/// How long it waits for them, once for each step.
const PATIENCE: Duration = Duration::from_millis(50);

/// Bytes in the log from which it waits longer.
const WAIT_LONG: i64 = 48 << 20;

/// How long it waits then, each time the log has grown by another eighth.
const LONG_PATIENCE: Duration = Duration::from_secs(1);

/// How long the last handle's close waits for the readers of other processes.
const CLOSE_PATIENCE: Duration = Duration::from_millis(250);

/// After this long without a commit the thread moves what is left.
const IDLE: Duration = Duration::from_millis(500);

/// Watches the log's size and has it moved into the database.
#[derive(Debug)]
pub(super) struct Checkpointer {
    /// Pages in the log after the last commit, whoever wrote them.
    log_pages: Arc<AtomicI64>,
    background: Background,
    writer_patience: Patience,
    /// The constants above, in pages.
    limits: Limits,
    /// The log's size at the last step of the thread.
    stepped_at: i64,
    /// The log's size at which the writer tries to finish next.
    finish_at: i64,
    last_commit: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    step: i64,
    lag: i64,
    finish: i64,
    wait_for_readers: i64,
    wait_long: i64,
}

impl Checkpointer {
    /// Takes over the checkpoints of a writer's connection.
    pub(super) fn attach(
        connection: &mut Connection,
        shared: &Shared,
    ) -> Result<Self, EngineError> {
        let log_pages = Arc::new(AtomicI64::new(0));
        let seen = Arc::clone(&log_pages);
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            seen.store(i64::from(pages), Ordering::Relaxed);
            Ok(())
        }))?;
        let page_size: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let limits = Limits {
            step: STEP / page_size,
            lag: LAG / page_size,
            finish: FINISH / page_size,
            wait_for_readers: WAIT_FOR_READERS / page_size,
            wait_long: WAIT_LONG / page_size,
        };
        Ok(Self {
            log_pages,
            background: Background::start(&shared.path, shared.options.synchronous.pragma())?,
            writer_patience: Patience::install(connection, shared.options.busy_timeout)?,
            limits,
            stepped_at: 0,
            finish_at: limits.finish,
            last_commit: Instant::now(),
        })
    }

    /// Decides after a commit whether a step is due.
    pub(super) fn after_commit(&mut self, connection: &Connection) {
        self.last_commit = Instant::now();
        let pages = self.log_pages.load(Ordering::Relaxed);
        if pages < self.stepped_at {
            // The log was started over.
            self.stepped_at = 0;
            self.finish_at = self.limits.finish;
        }
        if self.background.is_busy() {
            if pages < self.stepped_at + self.limits.lag {
                return;
            }
            self.background.wait();
        }
        if pages >= self.finish_at {
            self.finish_log(connection, pages);
        } else if pages >= self.stepped_at + self.limits.step {
            self.stepped_at = pages;
            self.background.step();
        }
    }

    /// Moves the rest, so that the next commit can start the log over. When a reader prevents
    /// that, the next try comes when the log has grown by some more.
    fn finish_log(&mut self, connection: &Connection, pages: i64) {
        self.stepped_at = pages;
        self.finish_at = pages + self.limits.step;
        if pages < self.limits.wait_for_readers {
            checkpoint(connection, Mode::Passive);
        } else if pages < self.limits.wait_long {
            self.writer_patience
                .limited(PATIENCE, || checkpoint(connection, Mode::Restart));
        } else {
            self.finish_at = pages + pages / 8;
            self.writer_patience
                .limited(LONG_PATIENCE, || checkpoint(connection, Mode::Restart));
        }
    }

    /// How long the writer may sleep before [`idle`](Self::idle) has something to do.
    pub(super) fn patience(&self) -> Option<Duration> {
        let left = self.log_pages.load(Ordering::Relaxed) != self.stepped_at;
        left.then(|| IDLE.saturating_sub(self.last_commit.elapsed()))
    }

    /// Has what is left moved, once nothing was committed for a while.
    pub(super) fn idle(&mut self) {
        let pages = self.log_pages.load(Ordering::Relaxed);
        if pages != self.stepped_at
            && self.last_commit.elapsed() >= IDLE
            && !self.background.is_busy()
        {
            self.stepped_at = pages;
            self.background.step();
        }
    }

    /// Tries to free the log's space, for a disk that is full.
    pub(super) fn make_room(&mut self, connection: &Connection) {
        self.writer_patience
            .limited(PATIENCE, || checkpoint(connection, Mode::Restart));
    }

    /// Moves everything into the database, for the close.
    pub(super) fn finish(self, connection: &Connection) {
        self.background.stop();
        self.writer_patience
            .limited(CLOSE_PATIENCE, || checkpoint(connection, Mode::Truncate));
    }
}

/// The thread that moves the log beside the writer.
#[derive(Debug)]
struct Background {
    steps: mpsc::Sender<()>,
    done: mpsc::Receiver<()>,
    busy: bool,
    thread: JoinHandle<()>,
}

impl Background {
    fn start(path: &Path, synchronous: &str) -> Result<Self, EngineError> {
        let connection = open::checkpointer(path, synchronous)?;
        let (steps, requests) = mpsc::channel();
        let (answers, done) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("sqlite-checkpoint".to_owned())
            .spawn(move || {
                while requests.recv().is_ok() {
                    checkpoint(&connection, Mode::Passive);
                    // Without a writer there is nobody to tell.
                    let _ = answers.send(());
                }
            })
            .map_err(|error| EngineError::Io {
                message: error.to_string(),
                ambiguous: false,
            })?;
        Ok(Self {
            steps,
            done,
            busy: false,
            thread,
        })
    }

    fn is_busy(&mut self) -> bool {
        if self.busy {
            self.busy = matches!(self.done.try_recv(), Err(mpsc::TryRecvError::Empty));
        }
        self.busy
    }

    fn step(&mut self) {
        self.busy = self.steps.send(()).is_ok();
    }

    fn wait(&mut self) {
        if self.busy {
            // A thread that is gone is not busy either.
            let _ = self.done.recv();
            self.busy = false;
        }
    }

    fn stop(self) {
        drop(self.steps);
        // A thread that panicked has nothing left to finish.
        let _ = self.thread.join();
    }
}

/// How far a checkpoint goes.
#[derive(Debug, Clone, Copy)]
enum Mode {
    /// As far as readers allow, without waiting.
    Passive,
    /// Waits for readers, so that the next commit starts the log over.
    Restart,
    /// As `Restart`, and cuts the log to nothing.
    Truncate,
}

/// A checkpoint that cannot be made now is made later: what is in the log is durable.
fn checkpoint(connection: &Connection, mode: Mode) {
    let sql = match mode {
        Mode::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        Mode::Restart => "PRAGMA wal_checkpoint(RESTART)",
        Mode::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    let _ = connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row((), |_| Ok(())));
}
