//! Tasks as the scripts show them.

use statehouse_contracts::{
    AttemptError, ChildOutcome, Claim, ContentType, Error, Kind, Lease, Principal, Result,
    StackName, Task, TaskId, TaskState, WorkerName,
};
use std::time::Instant;

use super::token::Token;
use crate::reply::Reply;

/// A task, and its place.
pub(super) fn task(reply: Reply) -> Result<(String, Task)> {
    let mut row = reply.row()?;
    let place = row.text()?;
    let task = Task {
        id: TaskId::new(row.text()?)?,
        stack: StackName::new(row.text()?)?,
        kind: Kind::new(row.text()?)?,
        payload: row.bytes()?,
        content_type: ContentType::new(row.text()?)?,
        state: state(&row.text()?)?,
        attempt: row.number()?,
        max_attempts: row.number()?,
        parent: row
            .optional()?
            .map(|id| TaskId::new(id.text()?))
            .transpose()?,
        depth: row.number()?,
        created_at: row.time()?,
        created_by: Principal::new(row.text()?)?,
        due_at: row.optional()?.map(Reply::time).transpose()?,
        worker: row
            .optional()?
            .map(|name| WorkerName::new(name.text()?))
            .transpose()?,
        finished_at: row.optional()?.map(Reply::time).transpose()?,
        result: row.optional()?.map(result).transpose()?,
        errors: row
            .next()?
            .list()?
            .map(attempt_error)
            .collect::<Result<_>>()?,
    };
    Ok((place, task))
}

/// A claim, with the lease that ends at `deadline`.
pub(super) fn claim(reply: Reply, deadline: Instant) -> Result<Claim> {
    let mut row = reply.row()?;
    let (place, task) = task(row.next()?)?;
    let nonce = row.text()?;
    let token = Token { place, nonce }.seal()?;
    Ok(Claim {
        task,
        lease: Lease { token, deadline },
        outcomes: row.next()?.list()?.map(outcome).collect::<Result<_>>()?,
    })
}

fn result(reply: Reply) -> Result<(bytes::Bytes, ContentType)> {
    let mut row = reply.row()?;
    let content_type = ContentType::new(row.text()?)?;
    Ok((row.bytes()?, content_type))
}

fn attempt_error(reply: Reply) -> Result<AttemptError> {
    let mut row = reply.row()?;
    Ok(AttemptError {
        attempt: row.number()?,
        at: row.time()?,
        error: row.text()?,
    })
}

fn outcome(reply: Reply) -> Result<ChildOutcome> {
    let mut row = reply.row()?;
    Ok(ChildOutcome {
        id: TaskId::new(row.text()?)?,
        state: state(&row.text()?)?,
        result: row.optional()?.map(result).transpose()?,
        error: row.optional()?.map(Reply::text).transpose()?,
    })
}

/// The state of a word.
pub(super) fn state(word: &str) -> Result<TaskState> {
    ALL.into_iter()
        .find(|state| self::word(*state) == word)
        .ok_or_else(|| Error::internal(format!("the server knows a task as {word:?}")))
}

const ALL: [TaskState; 7] = [
    TaskState::Ready,
    TaskState::Delayed,
    TaskState::Running,
    TaskState::Suspended,
    TaskState::Completed,
    TaskState::Failed,
    TaskState::Cancelled,
];

/// The word of a state.
pub(super) fn word(state: TaskState) -> &'static str {
    match state {
        TaskState::Ready => "ready",
        TaskState::Delayed => "delayed",
        TaskState::Running => "running",
        TaskState::Suspended => "suspended",
        TaskState::Completed => "completed",
        TaskState::Failed => "failed",
        TaskState::Cancelled => "cancelled",
    }
}
