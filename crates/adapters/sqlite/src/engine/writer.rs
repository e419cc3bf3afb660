//! The writer thread: gathers what waits into one transaction, commits it, answers.
//!
//! Three passes, each needed only when the one before it failed. The plain pass runs every job
//! in one transaction. A job that fails without having written costs nothing; one that fails
//! after writing spoils the transaction, so the guarded pass runs the jobs again with a savepoint
//! each. When the transaction itself breaks (a full disk, a commit that fails), every job runs
//! again alone, so that each gets an answer of its own.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rusqlite::Connection;

use super::{
    EngineError, EngineOptions, Schema, Synchronous, Tx,
    checkpoint::Checkpointer,
    handle::Shared,
    inbox::Taken,
    job::{Job, Ran, panic_message},
    open, readers,
    statements::Statements,
    transaction::{GroupState, Wakes},
};

/// The most jobs one transaction takes.
const MAX_GROUP: usize = 2048;

/// A group is committed once it has run this long, whatever still waits.
const MAX_GROUP_TIME: Duration = Duration::from_millis(20);

/// The share of the last commit's time, as a divisor, that the writer spends gathering the next
/// group. Measured with 64 callers: half the commits for the same puts.
const GATHER_SHARE: u32 = 8;

/// After this many jobs in a row that the storage refused, the rest of the group is not tried.
const REFUSALS: usize = 3;

/// Opens the file and starts its threads.
pub(super) fn start(
    path: PathBuf,
    options: EngineOptions,
    schema: Schema,
) -> Result<Arc<Shared>, EngineError> {
    let mut connection = open::writer(&path, &options, schema)?;
    let shared = Arc::new(Shared::new(path, options));
    let readers = readers::start(&shared, &shared.path, &shared.options)
        .inspect_err(|_| shared.readers.close())?;
    let checkpointer =
        Checkpointer::attach(&mut connection, &shared).inspect_err(|_| shared.readers.close())?;
    let of_thread = Arc::clone(&shared);
    thread::Builder::new()
        .name("sqlite-writer".to_owned())
        .spawn(move || {
            let _ended = Ended(Arc::clone(&of_thread));
            // Closed before it is said that the file is.
            let connection = connection;
            Writer::new(&connection, checkpointer, of_thread).run(readers);
        })
        .map_err(|error| {
            shared.readers.close();
            EngineError::Io {
                message: error.to_string(),
                ambiguous: false,
            }
        })?;
    Ok(shared)
}

/// Says that the file is closed when the writer ends, however it ends.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.inbox.abandon();
        self.0.readers.close();
        self.0.mark_ended();
    }
}

/// Why a group could not be committed as it was run.
enum Spoiled {
    /// A job failed after it had written.
    ByJob,
    /// The transaction itself failed.
    Broken(EngineError),
}

impl From<rusqlite::Error> for Spoiled {
    fn from(error: rusqlite::Error) -> Self {
        Self::Broken(error.into())
    }
}

struct Writer<'c> {
    connection: &'c Connection,
    statements: Statements<'c>,
    shared: Arc<Shared>,
    checkpointer: Checkpointer,
    group: RefCell<GroupState>,
    last_time: i64,
    last_size: usize,
    last_took: Duration,
    data_version: i64,
    /// What the connection is set to now.
    synchronous: Synchronous,
}

impl<'c> Writer<'c> {
    fn new(connection: &'c Connection, checkpointer: Checkpointer, shared: Arc<Shared>) -> Self {
        let synchronous = shared.options.synchronous;
        let mut writer = Self {
            connection,
            statements: Statements::new(connection),
            shared,
            checkpointer,
            group: RefCell::default(),
            last_time: 0,
            last_size: 0,
            last_took: Duration::ZERO,
            data_version: 0,
            synchronous,
        };
        writer.foreign_commit();
        writer
    }

    fn run(mut self, readers: Vec<JoinHandle<()>>) {
        let mut jobs = Vec::new();
        loop {
            match self.next(&mut jobs) {
                Taken::Jobs => self.work(&mut jobs),
                Taken::Nothing => {}
                Taken::Closed => break,
            }
            if self.shared.hub.is_awaited() && self.foreign_commit() {
                self.shared.hub.wake_all();
            }
        }
        self.shared.readers.close();
        for reader in readers {
            // A reader that panicked has nothing left to finish.
            let _ = reader.join();
        }
        self.checkpointer.finish(self.connection);
    }

    /// Waits for jobs. Callers answered together come back together, a little apart: gathering
    /// them makes one group of them. A lone caller is never waited for.
    fn next(&mut self, jobs: &mut Vec<Job>) -> Taken {
        let answered = std::mem::take(&mut self.last_size);
        self.shared
            .inbox
            .gather(answered, self.last_took / GATHER_SHARE);
        let patience = if self.shared.hub.is_awaited() {
            Some(self.shared.options.foreign_poll)
        } else {
            self.checkpointer.patience()
        };
        let taken = self.shared.inbox.take(jobs, patience);
        if taken == Taken::Nothing {
            self.checkpointer.idle();
        }
        taken
    }

    /// Commits all jobs, in as few groups as the limits allow.
    fn work(&mut self, jobs: &mut Vec<Job>) {
        let mut waiting = &mut jobs[..];
        while !waiting.is_empty() {
            let begun = Instant::now();
            let size = waiting.len().min(MAX_GROUP);
            let done = self.commit(&mut waiting[..size]);
            self.last_took = begun.elapsed().min(MAX_GROUP_TIME);
            self.last_size = done;
            self.wake();
            for job in &mut waiting[..done] {
                job.reply();
            }
            self.checkpointer.after_commit(self.connection);
            waiting = &mut waiting[done..];
        }
        jobs.clear();
    }

    /// Wakes those whom the committed group concerns.
    fn wake(&self) {
        let mut group = self.group.borrow_mut();
        let wakes = group.wakes();
        self.shared.hub.wake(&wakes.all, &wakes.one);
    }

    /// Gives every one of the first jobs a result that is durable, and says how many.
    fn commit(&mut self, jobs: &mut [Job]) -> usize {
        let now = self.tick();
        if let Err(error) = self.set_synchronous(jobs) {
            return refuse_all(jobs, &error.into());
        }
        match self.pass(jobs, now, Guard::None) {
            Ok(done) => return done,
            Err(Spoiled::Broken(error @ EngineError::Busy { .. })) => {
                return refuse_all(jobs, &error);
            }
            Err(Spoiled::ByJob) if jobs.len() == 1 => return 1,
            Err(Spoiled::ByJob) => {
                if let Ok(done) = self.pass(jobs, now, Guard::Savepoint) {
                    return done;
                }
            }
            Err(Spoiled::Broken(error)) => {
                if error.is_storage_failure() {
                    self.checkpointer.make_room(self.connection);
                }
            }
        }
        self.commit_each_alone(jobs, now)
    }

    /// A group syncs unless none of its callers asks for it.
    fn set_synchronous(&mut self, jobs: &[Job]) -> rusqlite::Result<()> {
        let wanted = if jobs.iter().all(|job| job.is_relaxed()) {
            Synchronous::Normal
        } else {
            self.shared.options.synchronous
        };
        if wanted != self.synchronous {
            self.connection
                .pragma_update(None, "synchronous", wanted.pragma())?;
            self.synchronous = wanted;
        }
        Ok(())
    }

    fn commit_each_alone(&mut self, jobs: &mut [Job], now: i64) -> usize {
        let mut refusals = 0;
        let mut wakes = Wakes::default();
        for tried in 0..jobs.len() {
            match self.pass(&mut jobs[tried..=tried], now, Guard::None) {
                Ok(_) | Err(Spoiled::ByJob) => {
                    refusals = 0;
                    wakes.append(self.group.borrow_mut().wakes());
                }
                Err(Spoiled::Broken(error)) => {
                    refusals += usize::from(error.is_storage_failure());
                    if refusals == REFUSALS || matches!(error, EngineError::Busy { .. }) {
                        refuse_all(&mut jobs[tried..], &error);
                        break;
                    }
                    jobs[tried].fail(error);
                }
            }
        }
        *self.group.borrow_mut().wakes() = wakes;
        jobs.len()
    }

    /// Runs the first jobs in one transaction and commits it. An error leaves no transaction.
    fn pass(&self, jobs: &mut [Job], now: i64, guard: Guard) -> Result<usize, Spoiled> {
        self.group.borrow_mut().reset();
        self.begin()?;
        let result = self.run_all(jobs, now, guard).and_then(|done| {
            self.group.borrow_mut().flush(&self.statements)?;
            let commit = self.statements.with("COMMIT", |commit| commit.execute(()));
            commit.map_err(|error| Spoiled::Broken(EngineError::from(error).at_commit()))?;
            Ok(done)
        });
        let committed = self.group.borrow_mut().take_after_commit();
        match result {
            Ok(_) => committed.into_iter().for_each(|run| run()),
            Err(_) => {
                drop(committed);
                self.group.borrow_mut().reset();
                self.roll_back();
            }
        }
        result
    }

    fn begin(&self) -> Result<(), Spoiled> {
        let begun = Instant::now();
        match self
            .connection
            .prepare_cached("BEGIN IMMEDIATE")?
            .execute(())
        {
            Ok(_) => Ok(()),
            Err(error) if open::is_busy(&error) => Err(Spoiled::Broken(EngineError::Busy {
                waited: begun.elapsed(),
            })),
            Err(error) => Err(error.into()),
        }
    }

    fn run_all(&self, jobs: &mut [Job], now: i64, guard: Guard) -> Result<usize, Spoiled> {
        let begun = Instant::now();
        let tx = Tx::new(self.connection, &self.statements, now, &self.group);
        let together = jobs.len() > 1 && guard == Guard::None;
        let mut done = 0;
        for job in jobs {
            if !together {
                self.group.borrow_mut().begin_unit();
            }
            self.group.borrow_mut().begin_job();
            guard.before(self.connection)?;
            let changes = self.connection.total_changes();
            let mut ran = job.run(&tx);
            if !together
                && ran == Ran::Accepted
                && let Err(error) = self.end_unit(&tx)
            {
                job.fail(error);
                ran = Ran::Refused;
            }
            let ended = self.connection.is_autocommit();
            if ended && ran == Ran::Accepted {
                job.fail(EngineError::TransactionEnded);
            }
            if ended || ran == Ran::Refused {
                self.group.borrow_mut().undo_job();
                if ended || self.connection.total_changes() != changes {
                    guard.undo(self.connection)?;
                }
            }
            guard.after(self.connection)?;
            done += 1;
            if begun.elapsed() > MAX_GROUP_TIME {
                break;
            }
        }
        if together {
            // Alone, the job at fault gets the error.
            self.end_unit(&tx).map_err(|_| Spoiled::ByJob)?;
        }
        Ok(done)
    }

    /// Does what jobs have left for the end of their unit.
    fn end_unit(&self, tx: &Tx<'_>) -> Result<(), EngineError> {
        let at_end = self.group.borrow_mut().take_at_end();
        let run = || at_end.iter().try_for_each(|run| run(tx));
        catch_unwind(AssertUnwindSafe(run))
            .unwrap_or_else(|panic| Err(EngineError::Panicked(panic_message(&*panic))))
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit() {
            // Some errors end the transaction by themselves; a failed ROLLBACK leaves none either.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    /// The time of a new group.
    fn tick(&mut self) -> i64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.last_time = self
            .last_time
            .max(i64::try_from(now.as_micros()).unwrap_or(i64::MAX));
        self.last_time
    }

    /// Whether another process committed since the last look. This connection's own commits do
    /// not change its data version.
    fn foreign_commit(&mut self) -> bool {
        let version = self
            .connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut statement| statement.query_row((), |row| row.get(0)));
        match version {
            Ok(version) => std::mem::replace(&mut self.data_version, version) != version,
            // Waking somebody for nothing is better than missing a commit.
            Err(_) => true,
        }
    }
}

/// Answers all jobs with one error.
fn refuse_all(jobs: &mut [Job], error: &EngineError) -> usize {
    for job in jobs.iter_mut() {
        job.fail(error.clone());
    }
    jobs.len()
}

/// Whether each job of a pass has a savepoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    None,
    Savepoint,
}

impl Guard {
    fn before(self, connection: &Connection) -> rusqlite::Result<()> {
        self.execute(connection, "SAVEPOINT job")
    }

    fn after(self, connection: &Connection) -> rusqlite::Result<()> {
        self.execute(connection, "RELEASE job")
    }

    /// Takes back what a failed job wrote.
    fn undo(self, connection: &Connection) -> Result<(), Spoiled> {
        match self {
            Self::None => Err(Spoiled::ByJob),
            Self::Savepoint => Ok(self.execute(connection, "ROLLBACK TO job")?),
        }
    }

    fn execute(self, connection: &Connection, sql: &str) -> rusqlite::Result<()> {
        if let Self::Savepoint = self {
            connection.prepare_cached(sql)?.execute(())?;
        }
        Ok(())
    }
}
