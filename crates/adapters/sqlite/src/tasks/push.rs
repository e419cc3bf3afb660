//! Accepting tasks.

use std::{collections::HashSet, time::Duration};

use rusqlite::OptionalExtension;
use statehouse_contracts::{
    Backoff, Error, ErrorKind, NewTask, OpId, Push, Pushed, Result, StackName, TaskId, TaskState,
};

use super::{
    MAX_NESTING, MAX_PAYLOAD, MAX_PUSH,
    clock::Clock,
    node::{Node, code},
    op_id::Repeat,
    stack,
    token::Token,
};
use crate::{
    engine::{Channel, Tx},
    error::Failure,
    session::Session,
    state::{Range, damaged},
    time::{after, micros},
};

/// A push that was checked as far as it can be without looking at the file.
#[derive(Debug)]
pub(super) struct Prepared {
    stack: StackName,
    tasks: Vec<NewTask>,
    parent: Option<Token>,
    op: Option<(OpId, [u8; 32])>,
}

impl Prepared {
    pub(super) fn new(push: Push) -> Result<Self> {
        check(&push)?;
        let op = push.op_id.clone().map(|op_id| (op_id, push.fingerprint()));
        Ok(Self {
            parent: push.parent.as_ref().map(Token::open).transpose()?,
            stack: push.stack,
            tasks: push.tasks,
            op,
        })
    }
}

fn check(push: &Push) -> Result<()> {
    let limit = |what: &str, got: usize, name, value: usize| {
        Err(Error::beyond_limit(what, got as u64, name, value as u64))
    };
    if push.tasks.len() > MAX_PUSH {
        return limit(
            "the number of tasks",
            push.tasks.len(),
            "max_push",
            MAX_PUSH,
        );
    }
    let mut ids = HashSet::new();
    for task in &push.tasks {
        if task.payload.len() > MAX_PAYLOAD {
            let what = format!("the payload of task {:?}", task.id);
            return limit(&what, task.payload.len(), "max_payload", MAX_PAYLOAD);
        }
        if task.max_attempts == 0 {
            return Err(Error::invalid(format!(
                "task {:?} has max_attempts 0; at least 1 is needed",
                task.id
            )));
        }
        if !ids.insert(&task.id) {
            return Err(Error::invalid(format!(
                "task {:?} is pushed twice in one call",
                task.id
            )));
        }
    }
    Ok(())
}

/// A backoff as text: initial and max in microseconds around the factor, and whether it jitters.
/// None for the default.
fn backoff_text(backoff: &Backoff) -> Option<String> {
    (*backoff != Backoff::default()).then(|| {
        format!(
            "{} {} {} {}",
            micros(backoff.initial),
            backoff.factor,
            micros(backoff.max),
            u8::from(backoff.jitter)
        )
    })
}

/// The backoff of a text.
pub(super) fn parse_backoff(text: &str) -> Result<Backoff, Failure> {
    let mut numbers = text.split(' ').map(str::parse::<u64>);
    let mut number = || match numbers.next() {
        Some(Ok(number)) => Ok(number),
        _ => Err(damaged(format!("{text:?} is no backoff"))),
    };
    Ok(Backoff {
        initial: Duration::from_micros(number()?),
        factor: u32::try_from(number()?).unwrap_or(u32::MAX),
        max: Duration::from_micros(number()?),
        jitter: number()? == 1,
    })
}

/// Pushes all tasks, or none.
pub(super) fn push(
    tx: &Tx<'_>,
    session: &Session,
    clock: &Clock,
    push: &Prepared,
) -> Result<Vec<Pushed>, Failure> {
    if push.tasks.is_empty() {
        return Ok(Vec::new());
    }
    let ns = session.ns;
    let repeat = push
        .op
        .as_ref()
        .map(|(op_id, fingerprint)| Repeat { op_id, fingerprint });
    if let Some(repeat) = repeat
        && let Some(first) = repeat.find(tx, ns, session.config().op_window)?
    {
        return Ok(first);
    }
    let parent = match push.parent {
        Some(token) => Some(Node::held(tx, ns, token)?.node()?),
        None => None,
    };
    let depth = nesting(parent.as_ref())?;
    let parent_seq = parent.map(|node| node.seq);
    let pushed = known(tx, ns, push, parent_seq)?;
    let new: Vec<&NewTask> = push
        .tasks
        .iter()
        .zip(&pushed)
        .filter(|(_, pushed)| !pushed.duplicate)
        .map(|(task, _)| task)
        .collect();
    let place = Place {
        stack: stack::intern(tx, ns, &push.stack)?,
        channel: stack::channel(ns, push.stack.as_str()),
        parent: parent_seq,
        depth,
    };
    insert(tx, session, clock, &place, &new)?;
    if let Some(parent) = parent {
        parent.suspend(tx, i64::try_from(new.len()).unwrap_or(i64::MAX))?;
    }
    if let Some(repeat) = repeat {
        repeat.record(tx, ns, &pushed)?;
    }
    Ok(pushed)
}

fn nesting(parent: Option<&Node>) -> Result<i64> {
    let depth = parent.map_or(0, |parent| parent.depth + 1);
    if depth > MAX_NESTING as i64 {
        return Err(Error::beyond_limit(
            "the nesting of these subtasks",
            depth.unsigned_abs(),
            "max_nesting",
            MAX_NESTING as u64,
        ));
    }
    Ok(depth)
}

/// Which tasks were pushed before; none of them differently.
fn known(
    tx: &Tx<'_>,
    ns: i64,
    push: &Prepared,
    parent: Option<i64>,
) -> Result<Vec<Pushed>, Failure> {
    let mut select = tx.prepare_cached(
        "SELECT s.name = ?3 AND t.kind = ?4 AND t.parent IS ?5 AND p.payload = ?6
         FROM task t JOIN task_stack s ON s.stack = t.stack JOIN task_payload p ON p.seq = t.seq
         WHERE t.ns = ?1 AND t.id = ?2",
    )?;
    let mut pushed = Vec::with_capacity(push.tasks.len());
    for task in &push.tasks {
        let (id, kind) = (task.id.as_str(), task.kind.as_str());
        let content = (ns, id, push.stack.as_str(), kind, parent, &task.payload[..]);
        let same: Option<bool> = select.query_row(content, |row| row.get(0)).optional()?;
        if same == Some(false) {
            return Err(taken(&task.id).into());
        }
        pushed.push(Pushed {
            id: task.id.clone(),
            duplicate: same.is_some(),
        });
    }
    Ok(pushed)
}

fn taken(id: &TaskId) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("there is a task {id:?} already, with another stack, kind, payload or parent"),
    )
}

/// Where tasks are pushed.
struct Place {
    stack: i64,
    channel: Channel,
    parent: Option<i64>,
    depth: i64,
}

fn insert(
    tx: &Tx<'_>,
    session: &Session,
    clock: &Clock,
    place: &Place,
    tasks: &[&NewTask],
) -> Result<(), Failure> {
    let (ns, range) = (session.ns, Range::of(session.ns));
    let mut head = tx.counter(stack::head(ns))?;
    let mut task_row = tx.prepare_cached(
        "INSERT INTO task (seq, ns, id, stack, kind, content_type, state, max_attempts, backoff,
             parent, depth, wake_at, created_at, created_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    let mut payload_row =
        tx.prepare_cached("INSERT INTO task_payload (seq, payload) VALUES (?1, ?2)")?;
    for task in tasks {
        head += 1;
        let due = (!task.delay.is_zero()).then(|| after(tx.now(), task.delay));
        let state = match due {
            Some(due) => {
                clock.set(due);
                TaskState::Delayed
            }
            None => TaskState::Ready,
        };
        task_row.execute((
            range.row(head),
            ns,
            task.id.as_str(),
            place.stack,
            task.kind.as_str(),
            task.content_type.as_str(),
            code(state),
            task.max_attempts,
            backoff_text(&task.backoff),
            place.parent,
            place.depth,
            due,
            tx.now(),
            session.by,
        ))?;
        payload_row.execute((range.row(head), &task.payload[..]))?;
        stack::count(tx, place.stack, state, 1);
        if state == TaskState::Ready {
            tx.notify_one(place.channel);
        }
    }
    tx.add(
        stack::head(ns),
        i64::try_from(tasks.len()).unwrap_or(i64::MAX),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backoff_reads_back() {
        assert_eq!(backoff_text(&Backoff::default()), None);
        for backoff in [Backoff::NONE, Backoff::fixed(Duration::from_millis(7))] {
            let text = backoff_text(&backoff).unwrap();
            assert_eq!(parse_backoff(&text).unwrap(), backoff);
        }
        assert!(parse_backoff("1 2 x 0").is_err());
        assert!(parse_backoff("1 2").is_err());
    }
}
