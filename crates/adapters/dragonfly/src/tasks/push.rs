//! The arguments of a push.

use std::time::Duration;

use fred::types::Value;
use statehouse_contracts::{
    Backoff, Error, ErrorKind, NewTask, Principal, Push, Pushed, Result, TaskId,
};

use super::MAX_NESTING;
use super::settle::refused;
use super::token::Token;
use crate::reply::Reply;
use crate::time::micros;

/// What the script is given after the arguments that all have.
pub(super) fn arguments(push: Push, by: &Principal, op_window: Duration) -> Result<Vec<Value>> {
    let (place, nonce) = match push.parent.as_ref().map(Token::open).transpose()? {
        Some(token) => (token.place, token.nonce),
        None => Default::default(),
    };
    let fingerprint = match &push.op_id {
        Some(_) => push
            .fingerprint()
            .map(|byte| format!("{byte:02x}"))
            .concat(),
        None => String::new(),
    };
    let window = i64::try_from(op_window.as_millis()).unwrap_or(i64::MAX);
    let mut arguments: Vec<Value> = vec![
        push.stack.as_str().into(),
        by.as_str().into(),
        place.into(),
        nonce.into(),
        fingerprint.into(),
        window.max(1).into(),
        Value::Integer(MAX_NESTING as i64),
    ];
    for task in push.tasks {
        arguments.extend(fields(task));
    }
    Ok(arguments)
}

fn fields(task: NewTask) -> [Value; 7] {
    [
        task.id.as_str().into(),
        task.kind.as_str().into(),
        task.content_type.as_str().into(),
        task.payload.into(),
        i64::from(task.max_attempts).into(),
        backoff(&task.backoff).into(),
        micros(task.delay).into(),
    ]
}

/// "initial factor max jitter", the first and third in microseconds.
fn backoff(backoff: &Backoff) -> String {
    let (initial, max) = (micros(backoff.initial), micros(backoff.max));
    let jitter = u8::from(backoff.jitter);
    format!("{initial} {} {max} {jitter}", backoff.factor)
}

/// The answer to a push.
pub(super) fn answer(reply: Reply) -> Result<Vec<Pushed>> {
    let mut row = reply.row()?;
    match row.text()?.as_str() {
        "pushed" => {
            let ids = row.next()?.list()?;
            let digits = row.text()?;
            let pushed = |(id, digit): (Reply, u8)| {
                Ok(Pushed {
                    id: TaskId::new(id.text()?)?,
                    duplicate: digit == b'1',
                })
            };
            ids.zip(digits.bytes()).map(pushed).collect()
        }
        "other" => {
            let message = "the op_id was used for another push; use a new one";
            Err(Error::new(ErrorKind::Conflict, message))
        }
        "taken" => {
            let id = row.text()?;
            let message = format!(
                "there is a task {id:?} already, with another stack, kind, payload or parent"
            );
            Err(Error::new(ErrorKind::Conflict, message))
        }
        "nested" => Err(Error::beyond_limit(
            "the nesting of these subtasks",
            row.number()?,
            "max_nesting",
            MAX_NESTING as u64,
        )),
        how => Err(refused(how, None)),
    }
}
