//! A task as writes see it, and how it goes from state to state.

use rusqlite::{Connection, OptionalExtension, Row};
use statehouse_contracts::{Error, ErrorKind, TaskState};

use super::{clock::Clock, stack, token::Token};
use crate::{engine::Tx, error::Failure, state::Range};

/// The number of a state in the file.
pub(super) fn code(state: TaskState) -> i64 {
    match state {
        TaskState::Ready => 0,
        TaskState::Delayed => 1,
        TaskState::Running => 2,
        TaskState::Suspended => 3,
        TaskState::Completed => 4,
        TaskState::Failed => 5,
        TaskState::Cancelled => 6,
    }
}

/// The state with this number.
pub(super) fn state_of(code: i64) -> TaskState {
    match code {
        0 => TaskState::Ready,
        1 => TaskState::Delayed,
        2 => TaskState::Running,
        3 => TaskState::Suspended,
        4 => TaskState::Completed,
        5 => TaskState::Failed,
        _ => TaskState::Cancelled,
    }
}

/// What is said of an attempt whose lease ran out.
const EXPIRED: &str = "lease expired";

/// The attempts whose error is kept.
const KEPT_ERRORS: i64 = 10;

/// What decides about a task's way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) seq: i64,
    pub(super) stack: i64,
    pub(super) state: TaskState,
    pub(super) attempt: i64,
    pub(super) max_attempts: i64,
    pub(super) parent: Option<i64>,
    pub(super) depth: i64,
    pub(super) resumed: bool,
    pub(super) nonce: Option<i64>,
    pub(super) wake_at: Option<i64>,
}

/// Whether a token's lease holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Held {
    /// It does.
    Yes(Node),
    /// The task was cancelled under it.
    Cancelled,
    /// It does not; the task as it is, if it is known.
    Lost(Option<Node>),
}

impl Held {
    /// The task of a lease that holds.
    pub(super) fn node(self) -> Result<Node, Error> {
        match self {
            Self::Yes(node) => Ok(node),
            Self::Cancelled => Err(Error::new(
                ErrorKind::Cancelled,
                "the task was cancelled: stop working on it",
            )),
            Self::Lost(_) => Err(Error::new(
                ErrorKind::LeaseLost,
                "the lease has ended or was replaced: somebody else may have the task",
            )),
        }
    }
}

impl Node {
    const COLUMNS: &'static str =
        "seq, stack, state, attempt, max_attempts, parent, depth, resumed, nonce, wake_at";

    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            stack: row.get(1)?,
            state: state_of(row.get(2)?),
            attempt: row.get(3)?,
            max_attempts: row.get(4)?,
            parent: row.get(5)?,
            depth: row.get(6)?,
            resumed: row.get(7)?,
            nonce: row.get(8)?,
            wake_at: row.get(9)?,
        })
    }

    /// The task with this number.
    pub(super) fn read(connection: &Connection, seq: i64) -> rusqlite::Result<Option<Self>> {
        let sql = format!("SELECT {} FROM task WHERE seq = ?1", Self::COLUMNS);
        let mut select = connection.prepare_cached(&sql)?;
        select.query_row((seq,), Self::of).optional()
    }

    /// The task with this id.
    pub(super) fn named(
        connection: &Connection,
        ns: i64,
        id: &str,
    ) -> rusqlite::Result<Option<Self>> {
        let sql = format!(
            "SELECT {} FROM task WHERE ns = ?1 AND id = ?2",
            Self::COLUMNS
        );
        let mut select = connection.prepare_cached(&sql)?;
        select.query_row((ns, id), Self::of).optional()
    }

    /// The children that have not ended.
    pub(super) fn unfinished_children(&self, tx: &Tx<'_>) -> rusqlite::Result<Vec<Self>> {
        let sql = format!(
            "SELECT {} FROM task WHERE parent = ?1 AND finished_at IS NULL",
            Self::COLUMNS
        );
        let mut select = tx.prepare_cached(&sql)?;
        select.query_map((self.seq,), Self::of)?.collect()
    }

    /// Whether the lease of this token holds now.
    pub(super) fn held(tx: &Tx<'_>, ns: i64, token: Token) -> rusqlite::Result<Held> {
        let range = Range::of(ns);
        if !(range.row(0)..=range.last_row()).contains(&token.seq) {
            return Ok(Held::Lost(None));
        }
        let Some(node) = Self::read(tx, token.seq)? else {
            return Ok(Held::Lost(None));
        };
        let own = node.nonce == Some(token.nonce);
        let lasts = node.wake_at.is_some_and(|end| end > tx.now());
        Ok(match node.state {
            TaskState::Running if own && lasts => Held::Yes(node),
            TaskState::Cancelled if own => Held::Cancelled,
            _ => Held::Lost(Some(node)),
        })
    }

    fn recount(&self, tx: &Tx<'_>, state: TaskState) {
        stack::count(tx, self.stack, self.state, -1);
        stack::count(tx, self.stack, state, 1);
    }

    /// Gives the claim back as it was. The nonce stays until the next claim, to tell a repeat.
    pub(super) fn release(&self, tx: &Tx<'_>) -> rusqlite::Result<TaskState> {
        tx.prepare_cached(
            "UPDATE task SET state = ?2, attempt = ?3, wake_at = NULL, worker = NULL
             WHERE seq = ?1",
        )?
        .execute((
            self.seq,
            code(TaskState::Ready),
            self.attempt - i64::from(!self.resumed),
        ))?;
        self.recount(tx, TaskState::Ready);
        stack::wake(tx, self.stack)?;
        Ok(TaskState::Ready)
    }

    /// Puts it back to its place, ready now or after `due`. `resumed`: the attempt goes on.
    pub(super) fn put_back(
        &self,
        tx: &Tx<'_>,
        clock: &Clock,
        attempt: i64,
        resumed: bool,
        due: Option<i64>,
    ) -> rusqlite::Result<TaskState> {
        let state = match due {
            Some(due) => {
                clock.set(due);
                TaskState::Delayed
            }
            None => TaskState::Ready,
        };
        tx.prepare_cached(
            "UPDATE task SET state = ?2, attempt = ?3, resumed = ?4, wake_at = ?5,
                 nonce = NULL, worker = NULL
             WHERE seq = ?1",
        )?
        .execute((self.seq, code(state), attempt, resumed, due))?;
        self.recount(tx, state);
        if state == TaskState::Ready {
            stack::wake(tx, self.stack)?;
        }
        Ok(state)
    }

    /// Ends the lease until `pending` children have ended.
    pub(super) fn suspend(&self, tx: &Tx<'_>, pending: i64) -> rusqlite::Result<()> {
        let state = match pending {
            0 => TaskState::Ready,
            _ => TaskState::Suspended,
        };
        tx.prepare_cached(
            "UPDATE task SET state = ?2, pending = ?3, children = 1, resumed = 1,
                 wake_at = NULL, nonce = NULL, worker = NULL
             WHERE seq = ?1",
        )?
        .execute((self.seq, code(state), pending))?;
        self.recount(tx, state);
        if state == TaskState::Ready {
            stack::wake(tx, self.stack)?;
        }
        Ok(())
    }

    /// Ends it, and resumes its parent if that waits for nothing more.
    pub(super) fn finish(&self, tx: &Tx<'_>, state: TaskState) -> rusqlite::Result<()> {
        let nonce = match state {
            TaskState::Failed => None,
            _ => self.nonce,
        };
        tx.prepare_cached(
            "UPDATE task SET state = ?2, finished_at = ?3, nonce = ?4,
                 wake_at = NULL, worker = NULL, resumed = 0
             WHERE seq = ?1",
        )?
        .execute((self.seq, code(state), tx.now(), nonce))?;
        self.recount(tx, state);
        match self.parent {
            Some(parent) => child_ended(tx, parent),
            None => Ok(()),
        }
    }

    /// Ends an attempt without success: another follows now or after `due`, or the task fails.
    /// `nonce` is that of the lease that said so.
    pub(super) fn fail_attempt(
        &self,
        tx: &Tx<'_>,
        clock: &Clock,
        error: &str,
        nonce: Option<i64>,
        next: Next,
    ) -> rusqlite::Result<TaskState> {
        tx.prepare_cached(
            "INSERT OR REPLACE INTO task_error (seq, attempt, nonce, at, error)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((self.seq, self.attempt, nonce, tx.now(), error))?;
        if self.attempt > KEPT_ERRORS {
            tx.prepare_cached(
                "UPDATE task_error SET error = NULL WHERE seq = ?1 AND attempt = ?2",
            )?
            .execute((self.seq, self.attempt - KEPT_ERRORS))?;
        }
        match next {
            Next::At(due) if self.attempt < self.max_attempts => {
                self.put_back(tx, clock, self.attempt, false, due)
            }
            _ => {
                self.finish(tx, TaskState::Failed)?;
                Ok(TaskState::Failed)
            }
        }
    }
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    /// Another, now or at a time, while there are attempts left.
    At(Option<i64>),
    /// None.
    Never,
}

fn child_ended(tx: &Tx<'_>, parent: i64) -> rusqlite::Result<()> {
    let suspended = code(TaskState::Suspended);
    let last: Option<i64> = tx
        .prepare_cached(
            "UPDATE task SET pending = pending - 1, state = iif(pending = 1, 0, state)
             WHERE seq = ?1 AND state = ?2 RETURNING iif(pending = 0, stack, NULL)",
        )?
        .query_row((parent, suspended), |row| row.get(0))
        .optional()?
        .flatten();
    if let Some(stack) = last {
        stack::count(tx, stack, TaskState::Suspended, -1);
        stack::count(tx, stack, TaskState::Ready, 1);
        stack::wake(tx, stack)?;
    }
    Ok(())
}

/// Tasks whose time one run handles at most.
const STEP: i64 = 200;

pub(super) const DUE: &str = "SELECT seq FROM task WHERE wake_at <= ?1 ORDER BY wake_at LIMIT ?2";
pub(super) const NEXT_TIMER: &str = "SELECT min(wake_at) FROM task WHERE wake_at IS NOT NULL";

/// Handles delays and leases that have ended, some at a time, and tells the clock when to come
/// again. Answers how many it handled.
pub(super) fn tick(tx: &Tx<'_>, clock: &Clock) -> Result<usize, Failure> {
    let due: Vec<i64> = tx
        .prepare_cached(DUE)?
        .query_map((tx.now(), STEP), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for seq in &due {
        let Some(node) = Node::read(tx, *seq)? else {
            continue;
        };
        if node.state == TaskState::Running {
            node.fail_attempt(tx, clock, EXPIRED, None, Next::At(None))?;
        } else {
            node.put_back(tx, clock, node.attempt, node.resumed, None)?;
        }
    }
    let next: Option<i64> = tx
        .prepare_cached(NEXT_TIMER)?
        .query_row((), |row| row.get(0))?;
    if let Some(next) = next {
        clock.set(next);
    }
    Ok(due.len())
}
