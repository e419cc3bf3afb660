//! What a job sees: the connection inside the group's transaction, the group's clock, counters,
//! and the wake-ups to send after the commit.

use std::{
    cell::RefCell,
    collections::{HashMap, hash_map::Entry},
    fmt,
    ops::Deref,
};

use rusqlite::{Connection, OptionalExtension, Params, Statement};

use super::{
    Channel, EngineError,
    statements::{Lend, Statements},
};

/// The engine's own table, created with the first schema version.
pub(super) const COUNTERS_SQL: &str = "CREATE TABLE IF NOT EXISTS engine_counter (
    family INTEGER NOT NULL,
    id INTEGER NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (family, id)
) WITHOUT ROWID";

const READ_COUNTER: &str = "SELECT value FROM engine_counter WHERE family = ?1 AND id = ?2";
const ADD_TO_COUNTER: &str = "INSERT INTO engine_counter (family, id, value) VALUES (?1, ?2, ?3)
    ON CONFLICT (family, id) DO UPDATE SET value = value + excluded.value";
const REMOVE_COUNTER: &str = "DELETE FROM engine_counter WHERE family = ?1 AND id = ?2";

/// Names one counter: a family chosen by the role that owns it, and a row id within the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Counter {
    /// What is counted; each role uses numbers of its own.
    pub family: u32,
    /// Whose count it is, such as the row id of a group.
    pub id: i64,
}

impl Counter {
    /// The counter `id` of `family`.
    #[must_use]
    pub const fn new(family: u32, id: i64) -> Self {
        Self { family, id }
    }

    /// The committed value; 0 for a counter never touched.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn read(self, connection: &Connection) -> rusqlite::Result<i64> {
        let value = connection
            .prepare_cached(READ_COUNTER)?
            .query_row((self.family, self.id), |row| row.get(0))
            .optional()?;
        Ok(value.unwrap_or(0))
    }
}

/// What is to be done once a group is durable.
type AfterCommit = Box<dyn FnOnce() + Send>;

/// What is still to be done inside the transaction, once the jobs are done.
pub type AtEnd = fn(&Tx<'_>) -> Result<(), EngineError>;

/// What the jobs of a group leave for its end, with what is needed to forget one job's part.
#[derive(Default)]
pub(super) struct GroupState {
    at_end: Vec<AtEnd>,
    job_at_end_from: usize,
    /// How often a set of jobs was begun that is taken back together.
    unit: u64,
    deltas: HashMap<Counter, i64>,
    /// Values as they were read, without the deltas.
    values: HashMap<Counter, i64>,
    /// How often what jobs had seen or done was taken back.
    epoch: u64,
    wakes: Wakes,
    after_commit: Vec<AfterCommit>,
    job_deltas: Vec<(Counter, i64)>,
    job_wakes_from: (usize, usize),
    job_after_commit_from: usize,
}

impl fmt::Debug for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupState")
            .field("deltas", &self.deltas)
            .field("wakes", &self.wakes)
            .finish_non_exhaustive()
    }
}

/// Who is to be woken after the commit.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    /// Channels whose listeners are all woken.
    pub(super) all: Vec<Channel>,
    /// Channels of which one listener is woken for each mention.
    pub(super) one: Vec<Channel>,
}

impl Wakes {
    /// Adds those of another transaction of the same group.
    pub(super) fn append(&mut self, other: &mut Self) {
        self.all.append(&mut other.all);
        self.one.append(&mut other.one);
    }

    fn len(&self) -> (usize, usize) {
        (self.all.len(), self.one.len())
    }

    fn truncate(&mut self, (all, one): (usize, usize)) {
        self.all.truncate(all);
        self.one.truncate(one);
    }
}

impl GroupState {
    /// Forgets everything, for a new group.
    pub(super) fn reset(&mut self) {
        self.deltas.clear();
        self.begin_epoch();
        self.wakes.truncate((0, 0));
        self.after_commit.clear();
        self.at_end.clear();
        self.begin_unit();
        self.begin_job();
    }

    /// Marks the start of jobs that are taken back together.
    pub(super) fn begin_unit(&mut self) {
        self.unit += 1;
    }

    /// Takes what is to be done inside the transaction.
    pub(super) fn take_at_end(&mut self) -> Vec<AtEnd> {
        std::mem::take(&mut self.at_end)
    }

    /// Forgets what was read: it may not be true any more.
    fn begin_epoch(&mut self) {
        self.values.clear();
        self.epoch += 1;
    }

    /// Marks the start of a job.
    pub(super) fn begin_job(&mut self) {
        self.job_deltas.clear();
        self.job_wakes_from = self.wakes.len();
        self.job_after_commit_from = self.after_commit.len();
        self.job_at_end_from = self.at_end.len();
    }

    /// Forgets what the running job left.
    pub(super) fn undo_job(&mut self) {
        self.begin_epoch();
        for (counter, delta) in self.job_deltas.drain(..) {
            *self.deltas.entry(counter).or_insert(0) -= delta;
        }
        self.wakes.truncate(self.job_wakes_from);
        self.after_commit.truncate(self.job_after_commit_from);
        self.at_end.truncate(self.job_at_end_from);
    }

    /// Writes the pending deltas, one row per counter.
    pub(super) fn flush(&mut self, statements: &Statements<'_>) -> rusqlite::Result<()> {
        for (counter, delta) in self.deltas.drain().filter(|(_, delta)| *delta != 0) {
            statements.with(ADD_TO_COUNTER, |add| {
                add.execute((counter.family, counter.id, delta))
            })?;
        }
        Ok(())
    }

    /// Takes what is to be done now that the group is durable.
    pub(super) fn take_after_commit(&mut self) -> Vec<AfterCommit> {
        std::mem::take(&mut self.after_commit)
    }

    /// Who is to be woken, each channel once.
    pub(super) fn wakes(&mut self) -> &mut Wakes {
        self.wakes.all.sort_unstable();
        self.wakes.all.dedup();
        &mut self.wakes
    }
}

/// The transaction of a group, as one job sees it.
///
/// It dereferences to the connection. A job must not begin, commit or roll back: the engine does.
pub struct Tx<'c> {
    connection: &'c Connection,
    statements: &'c dyn Lend,
    now: i64,
    state: &'c RefCell<GroupState>,
}

impl<'c> Tx<'c> {
    pub(super) fn new(
        connection: &'c Connection,
        statements: &'c dyn Lend,
        now: i64,
        state: &'c RefCell<GroupState>,
    ) -> Self {
        Self {
            connection,
            statements,
            now,
            state,
        }
    }

    /// The group's time, in microseconds since the Unix epoch. It is the same for all jobs of a
    /// group and never before that of an earlier group of this process.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.now
    }

    /// A number that stays the same while everything in the file is as the jobs of this group have
    /// left it, and is never used again once a group ends or a job is taken back. What was read
    /// under it is true under it, but for what jobs change.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.state.borrow().epoch
    }

    /// A number that stays the same among jobs that are either all committed or all taken back, and
    /// is never used again. What one of them keeps for [`at_end`](Self::at_end) is void under
    /// another number.
    #[must_use]
    pub fn unit(&self) -> u64 {
        self.state.borrow().unit
    }

    /// Does something inside the transaction once the jobs of the [unit](Self::unit) are done: what
    /// costs less for all of them together. It is called once for each call of this. When it fails,
    /// the job fails, or the jobs are run again one by one.
    pub fn at_end(&self, run: AtEnd) {
        self.state.borrow_mut().at_end.push(run);
    }

    /// Uses the statement of this text, which is kept prepared. For what every write does; the
    /// connection's `prepare_cached` does for the rest.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn with<T>(
        &self,
        sql: &'static str,
        run: impl FnOnce(&mut Statement<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let (mut run, mut result) = (Some(run), Err(rusqlite::Error::InvalidQuery));
        self.statements.lend(sql, &mut |statement| {
            if let Some(run) = run.take() {
                result = run(statement);
            }
        })?;
        result
    }

    /// Executes such a statement; says how many rows it changed.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn run(&self, sql: &'static str, params: impl Params) -> rusqlite::Result<usize> {
        self.with(sql, |statement| statement.execute(params))
    }

    /// Wakes all listeners of `channel` once the group is committed.
    pub fn notify(&self, channel: Channel) {
        let all = &mut self.state.borrow_mut().wakes.all;
        if all.last() != Some(&channel) {
            all.push(channel);
        }
    }

    /// Wakes one listener of `channel`, for each call, once the group is committed. For work that
    /// one listener takes, so that a thousand idle ones do not all come for it.
    pub fn notify_one(&self, channel: Channel) {
        self.state.borrow_mut().wakes.one.push(channel);
    }

    /// Does something short once the group is durable, on the writer thread: handing over what
    /// the job made for somebody else. It is dropped undone when the job or the group fails.
    pub fn after_commit(&self, run: impl FnOnce() + Send + 'static) {
        self.state.borrow_mut().after_commit.push(Box::new(run));
    }

    /// Adds to a counter. The sum of a group's additions is written as one row at its end, and
    /// counts as nothing written when the job fails.
    pub fn add(&self, counter: Counter, delta: i64) {
        let mut state = self.state.borrow_mut();
        *state.deltas.entry(counter).or_insert(0) += delta;
        state.job_deltas.push((counter, delta));
    }

    /// A counter's value, with the additions of this group.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn counter(&self, counter: Counter) -> rusqlite::Result<i64> {
        let mut state = self.state.borrow_mut();
        let pending = state.deltas.get(&counter).copied().unwrap_or(0);
        let value = match state.values.entry(counter) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => *new.insert(counter.read(self)?),
        };
        Ok(value + pending)
    }

    /// Drops a counter whose owner is deleted, so that its row does not stay behind.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn remove_counter(&self, counter: Counter) -> rusqlite::Result<()> {
        self.run(REMOVE_COUNTER, (counter.family, counter.id))?;
        let mut state = self.state.borrow_mut();
        state.values.remove(&counter);
        if let Some(pending) = state.deltas.remove(&counter) {
            state.job_deltas.push((counter, -pending));
        }
        Ok(())
    }
}

impl Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}
