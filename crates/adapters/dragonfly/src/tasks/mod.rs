//! The task stack: scripts over the book of a namespace's tasks.

mod claim;
mod push;
mod row;
mod script;
mod settle;
mod token;
mod wake;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use fred::types::{Key, Value};
use statehouse_contracts::{
    Claim, ClaimRequest, Error, Fencing, Page, PageCursor, Push, Pushed, Result, StackDepth,
    StackName, Task, TaskCapability, TaskId, TaskQuery, TaskSettle, TaskSettled, TaskStack, Wake,
};

use crate::keys::Keys;
use crate::reply::Reply;
use crate::script::Script;
use crate::session::Session;
use crate::tasks::settle::Item;
use crate::tasks::wake::Wakes;
use crate::time::micros;

/// The deepest nesting of subtasks.
const MAX_NESTING: usize = 64;

/// The largest payload, and the largest result.
const MAX_PAYLOAD: usize = 1024 * 1024;

/// The leases that make sense on a server: each begins and ends with a round trip and a sync.
const MIN_LEASE: Duration = Duration::from_millis(500);
const MAX_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// After so many bytes of payload an answer with several tasks ends, and a batch of settles.
const MAX_PAGE_BYTES: i64 = 8 * 1024 * 1024;

/// How many settles one script call takes at most: other callers wait meanwhile.
const MAX_SETTLES: usize = 200;

const MAX_PAGE: usize = 1_000;

/// How many tasks one page looks at before it is cut short.
const MAX_SCAN: i64 = 1_000;

/// What every script of the stack answers when it had so much due that it did nothing else.
const AGAIN: &str = "AGAIN";

/// The tasks of one namespace.
#[derive(Debug)]
struct Tasks {
    session: Session,
    book: Vec<Key>,
}

impl Tasks {
    fn new(session: Session) -> Self {
        Self {
            book: script::BOOK_KEYS
                .map(|name| session.keys.one(name).into())
                .into(),
            session,
        }
    }

    async fn call(
        &self,
        operation: &'static str,
        script: &'static Script,
        arguments: Vec<Value>,
    ) -> Result<Reply> {
        self.call_with(operation, script, None, arguments).await
    }

    /// Runs a script over the book, and one more key, until it has done its own work.
    async fn call_with(
        &self,
        operation: &'static str,
        script: &'static Script,
        more: Option<Key>,
        arguments: Vec<Value>,
    ) -> Result<Reply> {
        let keys: Vec<Key> = self.book.iter().cloned().chain(more).collect();
        let names = &self.session.keys;
        let mut all: Vec<Value> = vec![
            names.of(script::READY_CHANNEL, "").into(),
            names.one(script::TIMER_CHANNEL).into(),
            micros(self.session.config().task_retention).into(),
        ];
        all.extend(arguments);
        loop {
            let (keys, all) = (keys.clone(), all.clone());
            let reply = self.session.script(operation, script, keys, all).await?;
            let reply = Reply::from(reply);
            if !reply.is(AGAIN) {
                return Ok(reply);
            }
        }
    }

    /// Lets happen what is due; answers how many microseconds later something is next.
    async fn tick(&self) -> Result<i64> {
        let reply = self.call("tick", &script::TICK, Vec::new()).await?;
        reply.row()?.number()
    }

    async fn settle(&self, batch: Vec<TaskSettle>) -> Result<Vec<Result<TaskSettled>>> {
        let mut answers = Vec::with_capacity(batch.len());
        let mut items: Vec<Result<Item>> = Vec::new();
        let mut bytes = 0;
        for settle in batch {
            let item = Item::new(settle);
            bytes += item.as_ref().map_or(0, Item::size);
            items.push(item);
            if items.len() == MAX_SETTLES || bytes as i64 >= MAX_PAGE_BYTES {
                answers.append(&mut self.settle_some(std::mem::take(&mut items)).await);
                bytes = 0;
            }
        }
        answers.append(&mut self.settle_some(items).await);
        Ok(answers)
    }

    /// Settles what one call takes. When that fails, each item tells it.
    async fn settle_some(&self, items: Vec<Result<Item>>) -> Vec<Result<TaskSettled>> {
        let asked = Instant::now();
        let mut arguments = Vec::new();
        for item in items.iter().flatten() {
            arguments.extend(item.arguments());
        }
        if arguments.is_empty() {
            return items.into_iter().map(|item| Err(wrong(item))).collect();
        }
        let replies = self.call("settle", &script::SETTLE, arguments).await;
        let mut replies = match replies.and_then(|reply| Ok(reply.list()?.collect::<Vec<_>>())) {
            Ok(replies) => replies.into_iter(),
            Err(error) => {
                let answer =
                    |item: Result<Item>| Err(item.err().unwrap_or_else(|| error.replicate()));
                return items.into_iter().map(answer).collect();
            }
        };
        let answer = |item: Result<Item>| {
            let item = item?;
            let reply = replies
                .next()
                .ok_or_else(|| Error::internal("a settle has no answer"))?;
            item.answer(reply, asked)
        };
        items.into_iter().map(answer).collect()
    }
}

fn wrong(item: Result<Item>) -> Error {
    item.err()
        .unwrap_or_else(|| Error::internal("a settle was not sent"))
}

/// A handle on the tasks of one namespace.
#[derive(Debug)]
struct DragonflyTasks {
    inner: Arc<Tasks>,
    wakes: Wakes,
}

impl DragonflyTasks {
    async fn tasks(
        &self,
        operation: &'static str,
        script: &'static Script,
        arguments: Vec<Value>,
    ) -> Result<Vec<Task>> {
        let reply = self.inner.call(operation, script, arguments).await?;
        Ok(reply
            .list()?
            .map(row::task)
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .map(|(_, task)| task)
            .collect())
    }
}

#[async_trait]
impl TaskStack for DragonflyTasks {
    fn capability(&self) -> TaskCapability {
        TaskCapability {
            durability: self.inner.session.store.server.durability,
            max_payload: MAX_PAYLOAD,
            max_push: 1_000,
            max_claim: 256,
            max_nesting: MAX_NESTING,
            min_lease: MIN_LEASE,
            max_lease: MAX_LEASE,
            fencing: Fencing::Server,
            redelivery_lag: Duration::from_millis(50),
            delay_precision: Duration::from_millis(50),
            retention: self.inner.session.config().task_retention,
            wake: Wake::Push,
        }
    }

    async fn push(&self, push: Push) -> Result<Vec<Pushed>> {
        self.inner.session.check_open("push")?;
        if push.tasks.is_empty() {
            return Ok(Vec::new());
        }
        let op = push.op_id.as_ref().map_or("", |op_id| op_id.as_str());
        let session = &self.inner.session;
        let op = session.keys.of(script::OP, op).into();
        let arguments = push::arguments(push, &session.principal, session.config().op_window)?;
        let reply = self
            .inner
            .call_with("push", &script::PUSH, Some(op), arguments);
        let reply = reply.await?;
        push::answer(reply)
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Claim>> {
        self.inner.session.check_open("claim")?;
        claim::claim(self, request).await
    }

    async fn settle(&self, batch: Vec<TaskSettle>) -> Result<Vec<Result<TaskSettled>>> {
        self.inner.session.check_open("settle")?;
        self.inner.settle(batch).await
    }

    async fn cancel(&self, id: &TaskId) -> Result<u64> {
        self.inner.session.check_open("cancel")?;
        let reply = self
            .inner
            .call("cancel", &script::CANCEL, vec![id.as_str().into()])
            .await?;
        let ended: i64 = reply.number()?;
        u64::try_from(ended).map_err(|_| Error::not_found(format!("there is no task {id:?}")))
    }

    async fn get(&self, id: &TaskId) -> Result<Option<Task>> {
        self.inner.session.check_open("get")?;
        let mut found = self
            .tasks("get", &script::GET, vec![id.as_str().into()])
            .await?;
        Ok(found.pop())
    }

    async fn peek(&self, stack: &StackName, max: usize) -> Result<Vec<Task>> {
        self.inner.session.check_open("peek")?;
        let max = max.min(MAX_PAGE) as i64;
        let arguments = vec![stack.as_str().into(), max.into(), MAX_PAGE_BYTES.into()];
        self.tasks("peek", &script::PEEK, arguments).await
    }

    async fn list(&self, query: TaskQuery) -> Result<Page<Task>> {
        self.inner.session.check_open("list")?;
        let before = query.after.as_ref().map(last_of).transpose()?;
        let limit = match query.limit {
            0 => MAX_PAGE,
            limit => limit.min(MAX_PAGE),
        };
        let arguments = vec![
            query
                .stack
                .as_ref()
                .map_or("", |stack| stack.as_str())
                .into(),
            query.state.map_or("", row::word).into(),
            query.parent.as_ref().map_or("", |id| id.as_str()).into(),
            before.unwrap_or_default().into(),
            (limit as i64).into(),
            MAX_SCAN.into(),
            MAX_PAGE_BYTES.into(),
        ];
        let mut row = self
            .inner
            .call("list", &script::LIST, arguments)
            .await?
            .row()?;
        let next = row.optional()?.map(Reply::text).transpose()?;
        let items = row.next()?.list()?.map(|task| Ok(row::task(task)?.1));
        Ok(Page {
            items: items.collect::<Result<_>>()?,
            next: next.map(|last| PageCursor(format!("tasks.{last}"))),
        })
    }

    async fn depth(&self, stack: &StackName) -> Result<StackDepth> {
        self.inner.session.check_open("depth")?;
        let reply = self
            .inner
            .call("depth", &script::DEPTH, vec![stack.as_str().into()])
            .await?;
        let mut row = reply.row()?;
        Ok(StackDepth {
            ready: row.number()?,
            delayed: row.number()?,
            running: row.number()?,
            suspended: row.number()?,
        })
    }

    async fn stacks(&self) -> Result<Vec<StackName>> {
        self.inner.session.check_open("stacks")?;
        let reply = self
            .inner
            .call("stacks", &script::STACKS, Vec::new())
            .await?;
        let name = |counted: Reply| {
            let counted = counted.text()?;
            StackName::new(counted.split(':').next().unwrap_or_default())
        };
        let names: BTreeSet<StackName> = reply.list()?.map(name).collect::<Result<_>>()?;
        Ok(names.into_iter().collect())
    }

    async fn close(&self) -> Result<()> {
        self.inner.session.close();
        Ok(())
    }
}

/// The place of the last task of a page.
fn last_of(cursor: &PageCursor) -> Result<String> {
    let place = cursor
        .0
        .strip_prefix("tasks.")
        .filter(|place| token::is_place(place));
    place.map(str::to_owned).ok_or_else(|| {
        let message = format!("{:?} is no page cursor of a list of tasks", cursor.0);
        Error::invalid(message)
    })
}

/// A task stack of one namespace.
pub(crate) fn open(session: Session) -> Arc<dyn TaskStack> {
    Arc::new(DragonflyTasks {
        inner: Arc::new(Tasks::new(session)),
        wakes: Wakes::default(),
    })
}

/// The key that exists only while a namespace has tasks.
pub(crate) fn witness(keys: &Keys) -> String {
    keys.one(script::BOOK_KEYS[0])
}

/// Ends leases and forgets finished tasks where no one calls.
pub(crate) async fn look_after(session: &Session) -> Result<()> {
    Tasks::new(session.clone()).tick().await.map(|_| ())
}
