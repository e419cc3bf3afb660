//! Settling claims by their tokens, and cancelling.

use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

use bytes::Bytes;
use rusqlite::OptionalExtension;
use statehouse_contracts::{
    Backoff, ContentType, Error, FailRetry, Lease, LeaseToken, Result, TaskId, TaskSettle,
    TaskSettled, TaskState,
};

use super::{
    clock::Clock,
    node::{self, Held, Next, Node},
    push::parse_backoff,
    token::Token,
};
use crate::{engine::Tx, error::Failure, time::after};

/// The bytes of an error that are kept.
const MAX_ERROR: usize = 4096;

/// One settle with its token read.
#[derive(Debug)]
pub(super) struct Item {
    token: Token,
    act: Act,
}

#[derive(Debug)]
enum Act {
    Complete(Bytes, ContentType),
    Fail(String, FailRetry),
    Extend(Duration),
    Release,
}

impl Item {
    pub(super) fn new(settle: TaskSettle) -> Result<Self> {
        let (token, act) = match settle {
            TaskSettle::Complete {
                token,
                result,
                content_type,
            } => (token, Act::Complete(result, content_type)),
            TaskSettle::Fail {
                token,
                error,
                retry,
            } => (token, Act::Fail(shorten(error), retry)),
            TaskSettle::Extend { token, lease } => (token, Act::Extend(lease)),
            TaskSettle::Release { token } => (token, Act::Release),
        };
        Self::of(&token, act)
    }

    fn of(token: &LeaseToken, act: Act) -> Result<Self> {
        Ok(Self {
            token: Token::open(token)?,
            act,
        })
    }

    /// Whether it says how the work went, which must be on disk; the rest is about the lease.
    pub(super) fn is_final(&self) -> bool {
        matches!(self.act, Act::Complete(..) | Act::Fail(..))
    }
}

fn shorten(mut error: String) -> String {
    error.truncate(error.floor_char_boundary(MAX_ERROR));
    error
}

/// What became of a task, and the lease it goes on under.
#[derive(Debug)]
pub(super) struct Settled {
    state: TaskState,
    lease: Option<(Token, Duration)>,
}

impl Settled {
    fn now(state: TaskState) -> Self {
        Self { state, lease: None }
    }

    /// The answer to a settle that was asked for at `asked`.
    pub(super) fn answer(self, asked: Instant) -> Result<TaskSettled> {
        let lease = self.lease.map(|(token, length)| {
            Ok(Lease {
                token: token.seal()?,
                deadline: asked + length,
            })
        });
        Ok(TaskSettled {
            state: self.state,
            lease: lease.transpose()?,
        })
    }
}

/// Settles each in turn. What is refused writes nothing.
pub(super) fn settle(
    tx: &Tx<'_>,
    ns: i64,
    clock: &Clock,
    items: &[Item],
) -> Result<Vec<Result<Settled>>, Failure> {
    items
        .iter()
        .map(|item| settle_one(tx, ns, clock, item))
        .collect()
}

fn settle_one(
    tx: &Tx<'_>,
    ns: i64,
    clock: &Clock,
    item: &Item,
) -> Result<Result<Settled>, Failure> {
    let held = Node::held(tx, ns, item.token)?;
    if let Held::Lost(Some(node)) = &held
        && is_repeat(tx, node, item)?
    {
        return Ok(Ok(Settled::now(node.state)));
    }
    let node = match held.node() {
        Ok(node) => node,
        Err(error) => return Ok(Err(error)),
    };
    let settled = match &item.act {
        Act::Complete(result, content_type) => {
            keep_result(tx, &node, result, content_type)?;
            node.finish(tx, TaskState::Completed)?;
            Settled::now(TaskState::Completed)
        }
        Act::Fail(error, retry) => {
            let next = next(tx, &node, *retry)?;
            let nonce = Some(item.token.nonce);
            Settled::now(node.fail_attempt(tx, clock, error, nonce, next)?)
        }
        Act::Extend(length) => extend(tx, clock, &node, *length)?,
        Act::Release => Settled::now(node.release(tx)?),
    };
    Ok(Ok(settled))
}

/// Whether this very settle was done before.
fn is_repeat(tx: &Tx<'_>, node: &Node, item: &Item) -> rusqlite::Result<bool> {
    match item.act {
        Act::Complete(..) => {
            Ok(node.state == TaskState::Completed && node.nonce == Some(item.token.nonce))
        }
        Act::Fail(..) => tx
            .prepare_cached("SELECT 1 FROM task_error WHERE seq = ?1 AND nonce = ?2")?
            .query_row((node.seq, item.token.nonce), |_| Ok(()))
            .optional()
            .map(|found| found.is_some()),
        Act::Release => Ok(node.state == TaskState::Ready && node.nonce == Some(item.token.nonce)),
        Act::Extend(_) => Ok(false),
    }
}

fn keep_result(
    tx: &Tx<'_>,
    node: &Node,
    result: &Bytes,
    content_type: &ContentType,
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT OR REPLACE INTO task_result (seq, content_type, result) VALUES (?1, ?2, ?3)",
    )?
    .execute((node.seq, content_type.as_str(), &result[..]))?;
    Ok(())
}

fn next(tx: &Tx<'_>, node: &Node, retry: FailRetry) -> Result<Next, Failure> {
    let wait = match retry {
        FailRetry::Never => return Ok(Next::Never),
        FailRetry::After(wait) => wait,
        FailRetry::Backoff => {
            let stored: Option<String> = tx
                .prepare_cached("SELECT backoff FROM task WHERE seq = ?1")?
                .query_row((node.seq,), |row| row.get(0))?;
            let backoff = match stored {
                Some(text) => parse_backoff(&text)?,
                None => Backoff::default(),
            };
            backoff.wait(u32::try_from(node.attempt).unwrap_or(u32::MAX), fraction())
        }
    };
    Ok(Next::At((!wait.is_zero()).then(|| after(tx.now(), wait))))
}

/// A random number in 0.0..1.0.
fn fraction() -> f64 {
    let bits = RandomState::new().hash_one(()) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

fn extend(tx: &Tx<'_>, clock: &Clock, node: &Node, length: Duration) -> rusqlite::Result<Settled> {
    let end = after(tx.now(), length);
    clock.set(end);
    let nonce = tx
        .prepare_cached(
            "UPDATE task SET nonce = random(), wake_at = ?2 WHERE seq = ?1 RETURNING nonce",
        )?
        .query_row((node.seq, end), |row| row.get(0))?;
    let token = Token {
        seq: node.seq,
        nonce,
    };
    Ok(Settled {
        state: TaskState::Running,
        lease: Some((token, length)),
    })
}

/// Cancels a task and everything below it; answers how many tasks it ended.
pub(super) fn cancel(tx: &Tx<'_>, ns: i64, clock: &Clock, id: &TaskId) -> Result<u64, Failure> {
    if Node::named(tx, ns, id.as_str())?.is_none() {
        return Err(Error::not_found(format!("there is no task {id:?}")).into());
    }
    // A lease that has just ended may have been the last.
    node::tick(tx, clock)?;
    let mut ended = 0;
    let mut open: Vec<Node> = Node::named(tx, ns, id.as_str())?.into_iter().collect();
    while let Some(node) = open.pop() {
        if node.state.is_finished() {
            continue;
        }
        node.finish(tx, TaskState::Cancelled)?;
        ended += 1;
        // Only a suspended task has children that go on.
        if node.state == TaskState::Suspended {
            open.extend(node.unfinished_children(tx)?);
        }
    }
    Ok(ended)
}
