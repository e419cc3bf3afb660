//! Task stacks.

mod claim;
mod clock;
mod node;
mod op_id;
mod push;
mod read;
mod retention;
mod settle;
mod stack;
mod token;

#[cfg(test)]
mod plans;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use statehouse_contracts::{
    Claim, ClaimRequest, Error, Fencing, Page, Push, Pushed, Result, Scope, StackDepth, StackName,
    Task, TaskCapability, TaskId, TaskQuery, TaskSettle, TaskSettled, TaskStack, Wake,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::{clock::Clock, push::Prepared, settle::Item};
use crate::{
    engine::{EngineOptions, Tx},
    error::Failure,
    housekeeping::Chore,
    session::{Session, Store},
};

/// The largest payload, and the largest result, in bytes.
const MAX_PAYLOAD: usize = 1 << 20;

/// The most tasks of one push.
const MAX_PUSH: usize = 1000;

/// The most tasks of one claim.
const MAX_CLAIM: usize = 256;

/// The deepest nesting of subtasks.
const MAX_NESTING: usize = 64;

/// The largest page.
const MAX_PAGE: usize = 256;

/// A page, and a claim, ends with the task that reaches this many bytes.
const MAX_PAGE_BYTES: usize = 16 << 20;

const MIN_LEASE: Duration = Duration::from_millis(10);
const MAX_LEASE: Duration = Duration::from_secs(12 * 3600);

/// How late delays and leases are seen to end: a timer's precision, and time for a busy writer.
const LAG: Duration = Duration::from_millis(100);

/// How late the lease of a process that was killed is seen to end by another, which looks once a
/// second.
const REDELIVERY_LAG: Duration = Duration::from_millis(1100);

/// The role's regular work.
pub(crate) const CHORES: &[Chore] = &[retention::TICK, retention::FORGET, op_id::FORGET];

/// Whether the namespace `namespace.id` holds anything of this role, as an SQL condition.
pub(crate) const HOLDS: &str = "EXISTS (
        SELECT 1 FROM task WHERE seq BETWEEN namespace.id << 40 AND (namespace.id + 1) << 40
    )";

/// A handle on tasks.
pub(crate) async fn open(store: &Arc<Store>, scope: &Scope) -> Result<Arc<dyn TaskStack>> {
    let session = store.session(scope).await?;
    let (clock, ended) = (Arc::new(Clock::new()), CancellationToken::new());
    clock::start(&session, &clock, ended.clone());
    Ok(Arc::new(SqliteTasks {
        session,
        clock,
        _ended: ended.drop_guard(),
    }))
}

/// One handle on the tasks of a namespace.
#[derive(Debug)]
struct SqliteTasks {
    session: Session,
    clock: Arc<Clock>,
    _ended: DropGuard,
}

/// Runs a job whose effect need not survive a loss of power: the record of a lease. It is in the
/// operating system's hands when this answers, so a kill of the process does not undo it.
async fn write_relaxed<T, F>(session: &Session, operation: &'static str, job: F) -> Result<T>
where
    F: FnMut(&Tx<'_>) -> Result<T, Failure> + Send + 'static,
    T: Send + 'static,
{
    session
        .check_open()
        .map_err(|error| error.with_operation(operation))?;
    let done = session.store.engine.write_relaxed(job).await;
    done.map_err(|failure| failure.of(operation))
}

fn check_lease(lease: Duration) -> Result<()> {
    if (MIN_LEASE..=MAX_LEASE).contains(&lease) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the lease is {lease:?}; {MIN_LEASE:?} to {MAX_LEASE:?} are allowed"
    )))
}

fn prepare(settle: TaskSettle) -> Result<Item> {
    match &settle {
        TaskSettle::Extend { lease, .. } => check_lease(*lease)?,
        TaskSettle::Complete { result, .. } if result.len() > MAX_PAYLOAD => {
            let (got, most) = (result.len() as u64, MAX_PAYLOAD as u64);
            return Err(Error::beyond_limit("the result", got, "max_payload", most));
        }
        _ => {}
    }
    Item::new(settle)
}

#[async_trait]
impl TaskStack for SqliteTasks {
    fn capability(&self) -> TaskCapability {
        let config = self.session.config();
        TaskCapability {
            durability: config.durability(),
            max_payload: MAX_PAYLOAD,
            max_push: MAX_PUSH,
            max_claim: MAX_CLAIM,
            max_nesting: MAX_NESTING,
            min_lease: MIN_LEASE,
            max_lease: MAX_LEASE,
            fencing: Fencing::Server,
            redelivery_lag: REDELIVERY_LAG,
            delay_precision: LAG,
            retention: config.task_retention,
            wake: Wake::Poll(EngineOptions::default().foreign_poll),
        }
    }

    async fn push(&self, push: Push) -> Result<Vec<Pushed>> {
        let prepared = Prepared::new(push).map_err(|error| error.with_operation("push"))?;
        let (session, clock) = (self.session.clone(), Arc::clone(&self.clock));
        self.session
            .write("push", move |tx| {
                push::push(tx, &session, &clock, &prepared)
            })
            .await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Claim>> {
        check_lease(request.lease).map_err(|error| error.with_operation("claim"))?;
        claim::claim(self, request).await
    }

    async fn settle(&self, batch: Vec<TaskSettle>) -> Result<Vec<Result<TaskSettled>>> {
        let asked = Instant::now();
        let mut refused = Vec::with_capacity(batch.len());
        let mut items = Vec::with_capacity(batch.len());
        for settle in batch {
            match prepare(settle) {
                Ok(item) => {
                    items.push(item);
                    refused.push(None);
                }
                Err(error) => refused.push(Some(error.with_operation("settle"))),
            }
        }
        let is_final = items.iter().any(Item::is_final);
        let (ns, clock) = (self.session.ns, Arc::clone(&self.clock));
        let job = move |tx: &Tx<'_>| settle::settle(tx, ns, &clock, &items);
        let settled = if is_final {
            self.session.write("settle", job).await?
        } else {
            write_relaxed(&self.session, "settle", job).await?
        };
        let mut settled = settled.into_iter();
        let answer = |refused: Option<Error>| match refused {
            Some(error) => Err(error),
            None => settled
                .next()
                .unwrap_or_else(|| Err(Error::internal("a settle has no answer")))
                .and_then(|settled| settled.answer(asked))
                .map_err(|error| error.with_operation("settle")),
        };
        Ok(refused.into_iter().map(answer).collect())
    }

    async fn cancel(&self, id: &TaskId) -> Result<u64> {
        let (ns, clock, id) = (self.session.ns, Arc::clone(&self.clock), id.clone());
        self.session
            .write("cancel", move |tx| settle::cancel(tx, ns, &clock, &id))
            .await
    }

    async fn get(&self, id: &TaskId) -> Result<Option<Task>> {
        let (ns, id) = (self.session.ns, id.clone());
        self.session
            .snapshot("get", move |connection| read::by_id(connection, ns, &id))
            .await
    }

    async fn peek(&self, stack: &StackName, max: usize) -> Result<Vec<Task>> {
        let (ns, stack) = (self.session.ns, stack.clone());
        self.session
            .snapshot("peek", move |connection| {
                read::peek(connection, ns, &stack, max)
            })
            .await
    }

    async fn list(&self, query: TaskQuery) -> Result<Page<Task>> {
        let ns = self.session.ns;
        self.session
            .snapshot("list", move |connection| read::list(connection, ns, &query))
            .await
    }

    async fn depth(&self, stack: &StackName) -> Result<StackDepth> {
        let (ns, stack) = (self.session.ns, stack.clone());
        self.session
            .snapshot("depth", move |connection| {
                stack::depth(connection, ns, &stack)
            })
            .await
    }

    async fn stacks(&self) -> Result<Vec<StackName>> {
        let ns = self.session.ns;
        self.session
            .snapshot("stacks", move |connection| {
                stack::unfinished(connection, ns)
            })
            .await
    }

    async fn close(&self) -> Result<()> {
        self.session.close().await
    }
}
