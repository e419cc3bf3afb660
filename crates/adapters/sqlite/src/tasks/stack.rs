//! Stacks: their numbers, counters and channels.

use rusqlite::{Connection, OptionalExtension};
use statehouse_contracts::{StackDepth, StackName, TaskState};

use crate::{
    engine::{Channel, Counter, Tx},
    error::Failure,
};

/// The place of the newest task of a namespace.
pub(super) const fn head(ns: i64) -> Counter {
    Counter::new(300, ns)
}

/// The unfinished states, each counted per stack.
const COUNTED: [TaskState; 4] = [
    TaskState::Ready,
    TaskState::Delayed,
    TaskState::Running,
    TaskState::Suspended,
];

/// How many tasks of a stack are in a state; finished ones are not counted.
fn count_of(stack: i64, state: TaskState) -> Option<Counter> {
    let family = match state {
        TaskState::Ready => 301,
        TaskState::Delayed => 302,
        TaskState::Running => 303,
        TaskState::Suspended => 304,
        TaskState::Completed | TaskState::Failed | TaskState::Cancelled => return None,
    };
    Some(Counter::new(family, stack))
}

/// Adds `number` tasks in `state` to the counts of a stack.
pub(super) fn count(tx: &Tx<'_>, stack: i64, state: TaskState, number: i64) {
    if let Some(counter) = count_of(stack, state) {
        tx.add(counter, number);
    }
}

/// Who waits for a task of a stack listens here.
pub(super) fn channel(ns: i64, name: &str) -> Channel {
    Channel::of(&("tasks", ns, name))
}

/// Wakes whoever waits for a task of this stack.
pub(super) fn wake(tx: &Tx<'_>, stack: i64) -> rusqlite::Result<()> {
    let (ns, name): (i64, String) = tx
        .prepare_cached("SELECT ns, name FROM task_stack WHERE stack = ?1")?
        .query_row((stack,), |row| row.try_into())?;
    tx.notify_one(channel(ns, &name));
    Ok(())
}

/// The number of a stack.
pub(super) fn find(
    connection: &Connection,
    ns: i64,
    name: &StackName,
) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT stack FROM task_stack WHERE ns = ?1 AND name = ?2")?
        .query_row((ns, name.as_str()), |row| row.get(0))
        .optional()
}

/// The number of a stack, new or old.
pub(super) fn intern(tx: &Tx<'_>, ns: i64, name: &StackName) -> rusqlite::Result<i64> {
    if let Some(stack) = find(tx, ns, name)? {
        return Ok(stack);
    }
    tx.prepare_cached("INSERT INTO task_stack (ns, name) VALUES (?1, ?2) RETURNING stack")?
        .query_row((ns, name.as_str()), |row| row.get(0))
}

/// What a stack holds.
pub(super) fn depth(
    connection: &Connection,
    ns: i64,
    name: &StackName,
) -> Result<StackDepth, Failure> {
    match find(connection, ns, name)? {
        Some(stack) => Ok(depth_of(connection, stack)?),
        None => Ok(StackDepth::default()),
    }
}

fn depth_of(connection: &Connection, stack: i64) -> rusqlite::Result<StackDepth> {
    let number = |state| -> rusqlite::Result<u64> {
        match count_of(stack, state) {
            Some(counter) => Ok(u64::try_from(counter.read(connection)?).unwrap_or(0)),
            None => Ok(0),
        }
    };
    Ok(StackDepth {
        ready: number(TaskState::Ready)?,
        delayed: number(TaskState::Delayed)?,
        running: number(TaskState::Running)?,
        suspended: number(TaskState::Suspended)?,
    })
}

/// The stacks that hold unfinished tasks, by name.
pub(super) fn unfinished(connection: &Connection, ns: i64) -> Result<Vec<StackName>, Failure> {
    let mut select = connection
        .prepare_cached("SELECT stack, name FROM task_stack WHERE ns = ?1 ORDER BY name")?;
    let mut rows = select.query((ns,))?;
    let mut names = Vec::new();
    while let Some(row) = rows.next()? {
        if depth_of(connection, row.get(0)?)? != StackDepth::default() {
            names.push(StackName::new(row.get::<_, String>(1)?)?);
        }
    }
    Ok(names)
}

/// Forgets a stack without tasks.
pub(super) fn forget(tx: &Tx<'_>, stack: i64) -> rusqlite::Result<()> {
    let gone = tx
        .prepare_cached(
            "DELETE FROM task_stack WHERE stack = ?1
             AND NOT EXISTS (SELECT 1 FROM task WHERE task.stack = ?1)",
        )?
        .execute((stack,))?;
    if gone > 0 {
        for state in COUNTED {
            if let Some(counter) = count_of(stack, state) {
                tx.remove_counter(counter)?;
            }
        }
    }
    Ok(())
}
