//! Reading tasks.

use bytes::Bytes;
use rusqlite::{Connection, Row, Rows};
use statehouse_contracts::{
    AttemptError, ChildOutcome, ContentType, Error, Kind, Page, PageCursor, Principal, Result,
    StackName, Task, TaskId, TaskQuery, TaskState, WorkerName,
};

use super::{
    MAX_PAGE, MAX_PAGE_BYTES,
    node::{code, state_of},
    stack,
};
use crate::{error::Failure, state::Range, time::timestamp};

/// The most tasks that one page looks at; where few match, a page may be empty.
const MAX_LOOKED_AT: usize = 10_000;

const STATES: i64 = 7;

/// Selects whole tasks, by a condition to be added.
const SELECT: &str = "SELECT t.seq, t.id, s.name, t.kind, p.payload, t.content_type, t.state,
        t.attempt, t.max_attempts, (SELECT id FROM task WHERE task.seq = t.parent), t.depth,
        t.created_at, (SELECT name FROM principal WHERE principal.id = t.created_by),
        t.wake_at, t.worker, t.finished_at, r.result, r.content_type
    FROM task t CROSS JOIN task_stack s ON s.stack = t.stack
        LEFT JOIN task_payload p ON p.seq = t.seq LEFT JOIN task_result r ON r.seq = t.seq";

fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Bytes>> {
    let blob = row.get_ref(column)?.as_blob_or_null()?;
    Ok(blob.map(Bytes::copy_from_slice))
}

fn answer(row: &Row<'_>, column: usize) -> Result<Option<(Bytes, ContentType)>, Failure> {
    let Some(result) = bytes(row, column)? else {
        return Ok(None);
    };
    let content_type = ContentType::new(row.get::<_, String>(column + 1)?)?;
    Ok(Some((result, content_type)))
}

/// Numbers in the file are never negative, and small enough.
fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn task(connection: &Connection, row: &Row<'_>) -> Result<Task, Failure> {
    let state = state_of(row.get(6)?);
    let attempt = row.get(7)?;
    let wake_at: Option<i64> = row.get(13)?;
    let due_at = wake_at.filter(|_| state == TaskState::Delayed);
    let worker: Option<String> = row.get(14)?;
    let parent: Option<String> = row.get(9)?;
    let finished_at: Option<i64> = row.get(15)?;
    Ok(Task {
        id: TaskId::new(row.get::<_, String>(1)?)?,
        stack: StackName::new(row.get::<_, String>(2)?)?,
        kind: Kind::new(row.get::<_, String>(3)?)?,
        payload: bytes(row, 4)?.unwrap_or_default(),
        content_type: ContentType::new(row.get::<_, String>(5)?)?,
        state,
        attempt: small(attempt),
        max_attempts: small(row.get(8)?),
        parent: parent.map(TaskId::new).transpose()?,
        depth: small(row.get(10)?),
        created_at: timestamp(row.get(11)?),
        created_by: Principal::new(row.get::<_, String>(12)?)?,
        due_at: due_at.map(timestamp),
        worker: worker.map(WorkerName::new).transpose()?,
        finished_at: finished_at.map(timestamp),
        result: answer(row, 16)?,
        errors: match attempt {
            0 => Vec::new(),
            _ => errors(connection, row.get(0)?)?,
        },
    })
}

fn errors(connection: &Connection, seq: i64) -> Result<Vec<AttemptError>, Failure> {
    let mut select = connection.prepare_cached(
        "SELECT attempt, at, error FROM task_error
         WHERE seq = ?1 AND error IS NOT NULL ORDER BY attempt",
    )?;
    let errors = select.query_map((seq,), |row| {
        Ok(AttemptError {
            attempt: small(row.get(0)?),
            at: timestamp(row.get(1)?),
            error: row.get(2)?,
        })
    })?;
    Ok(errors.collect::<rusqlite::Result<_>>()?)
}

/// The task with this number.
pub(super) fn by_seq(connection: &Connection, seq: i64) -> Result<Option<Task>, Failure> {
    let mut select = connection.prepare_cached(&format!("{SELECT} WHERE t.seq = ?1"))?;
    let mut rows = select.query((seq,))?;
    rows.next()?.map(|row| task(connection, row)).transpose()
}

/// The task with this id.
pub(super) fn by_id(
    connection: &Connection,
    ns: i64,
    id: &TaskId,
) -> Result<Option<Task>, Failure> {
    let sql = format!("{SELECT} WHERE t.ns = ?1 AND t.id = ?2");
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query((ns, id.as_str()))?;
    rows.next()?.map(|row| task(connection, row)).transpose()
}

pub(super) const READY: &str = "SELECT seq FROM task
    WHERE stack = ?1 AND state = 0 ORDER BY seq DESC LIMIT ?2";

/// A number of rows as SQL takes it.
fn rows(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The numbers of the next ready tasks, in the order of their claims.
pub(super) fn ready(connection: &Connection, stack: i64, max: usize) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached(READY)?
        .query_map((stack, rows(max)), |row| row.get(0))?
        .collect()
}

/// The next ready tasks.
pub(super) fn peek(
    connection: &Connection,
    ns: i64,
    name: &StackName,
    max: usize,
) -> Result<Vec<Task>, Failure> {
    let Some(stack) = stack::find(connection, ns, name)? else {
        return Ok(Vec::new());
    };
    let mut tasks = Vec::new();
    let mut room = MAX_PAGE_BYTES;
    for seq in ready(connection, stack, max.min(MAX_PAGE))? {
        tasks.extend(by_seq(connection, seq)?);
        room = room.saturating_sub(tasks.last().map_or(0, size));
        if room == 0 {
            break;
        }
    }
    Ok(tasks)
}

/// The bytes of a task that count for pages.
pub(super) fn size(task: &Task) -> usize {
    task.payload.len() + task.result.as_ref().map_or(0, |(result, _)| result.len())
}

pub(super) const OUTCOMES: &str = "SELECT t.id, t.state, r.result, r.content_type,
        (SELECT error FROM task_error e WHERE e.seq = t.seq ORDER BY attempt DESC LIMIT 1)
    FROM task t LEFT JOIN task_result r ON r.seq = t.seq
    WHERE t.parent = ?1 ORDER BY t.seq";

/// How the children of a task ended, in the order pushed.
pub(super) fn outcomes(connection: &Connection, seq: i64) -> Result<Vec<ChildOutcome>, Failure> {
    let mut select = connection.prepare_cached(OUTCOMES)?;
    let mut rows = select.query((seq,))?;
    let mut outcomes = Vec::new();
    while let Some(row) = rows.next()? {
        let state = state_of(row.get(1)?);
        let error: Option<String> = row.get(4)?;
        outcomes.push(ChildOutcome {
            id: TaskId::new(row.get::<_, String>(0)?)?,
            state,
            result: answer(row, 2)?,
            error: error.filter(|_| state == TaskState::Failed),
        });
    }
    Ok(outcomes)
}

/// A page of tasks, newest first.
pub(super) fn list(
    connection: &Connection,
    ns: i64,
    query: &TaskQuery,
) -> Result<Page<Task>, Failure> {
    let below = below(ns, query.after.as_ref())?;
    let stack = match &query.stack {
        Some(name) => match stack::find(connection, ns, name)? {
            Some(stack) => Some(stack),
            None => return Ok(end(Vec::new())),
        },
        None => None,
    };
    if let Some(id) = &query.parent {
        let parent = super::node::Node::named(connection, ns, id.as_str())?;
        let Some(parent) = parent else {
            return Ok(end(Vec::new()));
        };
        let mut select = connection.prepare_cached(CHILDREN)?;
        let rows = select.query((parent.seq, below))?;
        return filtered(connection, rows, query, stack);
    }
    if let Some(stack) = stack {
        return of_stack(connection, stack, below, query);
    }
    let mut select = connection.prepare_cached(ALL)?;
    let rows = select.query((Range::of(ns).row(0), below))?;
    filtered(connection, rows, query, None)
}

pub(super) const CHILDREN: &str = "SELECT seq, stack, state FROM task
    WHERE parent = ?1 AND seq < ?2 ORDER BY seq DESC";
pub(super) const ALL: &str = "SELECT seq, stack, state FROM task
    WHERE seq > ?1 AND seq < ?2 ORDER BY seq DESC";
pub(super) const OF_STATE: &str = "SELECT seq FROM task
    WHERE stack = ?1 AND state = ?2 AND seq < ?3 ORDER BY seq DESC LIMIT ?4";

fn limit(query: &TaskQuery) -> usize {
    match query.limit {
        0 => MAX_PAGE,
        limit => limit.min(MAX_PAGE),
    }
}

/// Tasks of one stack: the newest of each state, merged.
fn of_stack(
    connection: &Connection,
    stack: i64,
    below: i64,
    query: &TaskQuery,
) -> Result<Page<Task>, Failure> {
    let limit = limit(query);
    let states = match query.state {
        Some(state) => code(state)..code(state) + 1,
        None => 0..STATES,
    };
    let mut select = connection.prepare_cached(OF_STATE)?;
    let mut newest: Vec<i64> = Vec::new();
    for state in states {
        let most = rows(limit + 1);
        let found = select.query_map((stack, state, below, most), |row| row.get(0))?;
        for seq in found {
            newest.push(seq?);
        }
    }
    newest.sort_unstable_by(|a, b| b.cmp(a));
    let mut page = Filling::new(connection, limit);
    for seq in newest {
        if !page.add(seq)? {
            break;
        }
    }
    Ok(page.finish())
}

/// Tasks that match, out of rows of number, stack and state.
fn filtered(
    connection: &Connection,
    mut rows: Rows<'_>,
    query: &TaskQuery,
    stack: Option<i64>,
) -> Result<Page<Task>, Failure> {
    let state = query.state.map(code);
    let mut page = Filling::new(connection, limit(query));
    let mut looked_at = 0;
    while let Some(row) = rows.next()? {
        let (seq, of, is): (i64, i64, i64) = row.try_into()?;
        let matches =
            stack.is_none_or(|stack| stack == of) && state.is_none_or(|state| state == is);
        if looked_at == MAX_LOOKED_AT {
            page.more = true;
            break;
        }
        looked_at += 1;
        if !matches {
            page.last = seq;
        } else if !page.add(seq)? {
            break;
        }
    }
    Ok(page.finish())
}

/// A page that is being filled.
struct Filling<'c> {
    connection: &'c Connection,
    tasks: Vec<Task>,
    limit: usize,
    room: usize,
    last: i64,
    more: bool,
}

impl<'c> Filling<'c> {
    fn new(connection: &'c Connection, limit: usize) -> Self {
        Self {
            connection,
            tasks: Vec::new(),
            limit,
            room: MAX_PAGE_BYTES,
            last: 0,
            more: false,
        }
    }

    /// Adds a task; false when the page was full before.
    fn add(&mut self, seq: i64) -> Result<bool, Failure> {
        if self.tasks.len() == self.limit || self.room == 0 {
            self.more = true;
            return Ok(false);
        }
        if let Some(task) = by_seq(self.connection, seq)? {
            self.room = self.room.saturating_sub(size(&task));
            self.tasks.push(task);
        }
        self.last = seq;
        Ok(true)
    }

    fn finish(self) -> Page<Task> {
        let next = self
            .more
            .then(|| PageCursor(Range::place(self.last).to_string()));
        Page {
            items: self.tasks,
            next,
        }
    }
}

fn end(items: Vec<Task>) -> Page<Task> {
    Page { items, next: None }
}

/// The number below which a page begins.
fn below(ns: i64, after: Option<&PageCursor>) -> Result<i64> {
    let range = Range::of(ns);
    let Some(PageCursor(text)) = after else {
        return Ok(range.last_row());
    };
    match text.parse() {
        Ok(place) if place >= 0 => Ok(range.row(place)),
        _ => Err(Error::invalid(format!(
            "the cursor {text:?} is none of a list of tasks"
        ))),
    }
}
