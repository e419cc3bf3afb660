//! Runs handlers on a stack of tasks.

use std::fmt::{self, Debug};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use statehouse_contracts::{
    ChildOutcome, Claim, ClaimRequest, ContentType, Error, ErrorKind, FailRetry, Lease, NewTask,
    Push, Result, StackName, Task, TaskStack, TaskStackExt, WorkerName,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How a processor works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessorOptions {
    /// From which stack.
    pub stack: StackName,
    /// Under which name.
    pub worker: WorkerName,
    /// How many tasks run at once, at least 1.
    pub concurrency: usize,
    /// How long a claim holds; it is extended while its handler runs.
    pub lease: Duration,
    /// How long running handlers may take to finish at a stop; then their tasks are given back.
    pub grace: Duration,
}

impl ProcessorOptions {
    /// One task at a time, leases of 30 s, 10 s of grace.
    pub fn new(stack: StackName, worker: WorkerName) -> Self {
        Self {
            stack,
            worker,
            concurrency: 1,
            lease: Duration::from_secs(30),
            grace: Duration::from_secs(10),
        }
    }
}

/// One task in a handler's hands.
#[derive(Clone, Debug)]
pub struct TaskContext {
    /// The task.
    pub task: Task,
    /// How its children ended, when it was suspended before.
    pub outcomes: Vec<ChildOutcome>,
    /// Cancelled when the task is lost: it was cancelled, or its lease has ended. The handler is
    /// dropped at its next await then; blocking work should look at this.
    pub lost: CancellationToken,
}

/// How a handler ends.
#[derive(Clone, Debug)]
pub enum TaskEnd {
    /// The task is done, with this answer.
    Complete {
        /// The answer.
        result: Bytes,
        /// Its media type.
        content_type: ContentType,
    },
    /// The task waits for these children, and its handler runs again with their outcomes.
    Suspend {
        /// Where they go.
        stack: StackName,
        /// The children; the last runs first.
        children: Vec<NewTask>,
    },
}

impl TaskEnd {
    /// Done, with nothing to say.
    pub fn done() -> Self {
        TaskEnd::Complete {
            result: Bytes::new(),
            content_type: ContentType::BYTES,
        }
    }
}

/// Why a handler failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerError {
    /// What went wrong; kept with the task.
    pub message: String,
    /// Whether another attempt follows.
    pub retry: FailRetry,
}

impl HandlerError {
    /// Failed; tried again after the task's backoff.
    pub fn retry(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            retry: FailRetry::Backoff,
        }
    }

    /// Failed for good.
    pub fn fatal(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            retry: FailRetry::Never,
        }
    }
}

impl<E: std::error::Error> From<E> for HandlerError {
    fn from(error: E) -> Self {
        HandlerError::retry(error.to_string())
    }
}

/// Handles tasks.
#[async_trait]
pub trait TaskHandler: Send + Sync + 'static {
    /// Handles one task. It may run again for the same task: after a failure, after a lost lease,
    /// and after its children have ended.
    async fn handle(&self, context: TaskContext) -> Result<TaskEnd, HandlerError>;
}

/// How the work on one task ended.
enum Ended {
    Handled(Result<TaskEnd, HandlerError>),
    Lost,
    Cut,
}

/// Claims the newest tasks of a stack and runs a handler on each: the LIFO that addresses the most
/// recent task first, then moves back to the original one.
///
/// Leases are extended while handlers run. A handler that fails, or panics, ends its attempt only;
/// one whose task is cancelled or lost is dropped.
#[derive(Clone)]
pub struct TaskProcessor {
    tasks: Arc<dyn TaskStack>,
    handler: Arc<dyn TaskHandler>,
    options: ProcessorOptions,
}

impl Debug for TaskProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskProcessor")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl TaskProcessor {
    /// How long one wait for a task lasts.
    const WAIT: Duration = Duration::from_secs(5);
    /// How long to pause after a claim that failed.
    const PAUSE: Duration = Duration::from_millis(500);

    /// A processor of `tasks` by `handler`.
    pub fn new(
        tasks: Arc<dyn TaskStack>,
        handler: impl TaskHandler,
        options: ProcessorOptions,
    ) -> Self {
        Self {
            tasks,
            handler: Arc::new(handler),
            options,
        }
    }

    /// Runs until `stop`; then lets running handlers finish within the grace, and gives the rest
    /// back.
    pub async fn run(self, stop: CancellationToken) {
        let mut running = JoinSet::new();
        let cut = CancellationToken::new();
        while !stop.is_cancelled() {
            while running.len() >= self.options.concurrency.max(1) && !stop.is_cancelled() {
                tokio::select! {
                    () = stop.cancelled() => {}
                    _ = running.join_next() => {}
                }
            }
            let free = self
                .options
                .concurrency
                .max(1)
                .saturating_sub(running.len())
                .max(1);
            let claims = tokio::select! {
                () = stop.cancelled() => break,
                claims = self.claim(free) => claims,
            };
            for claim in claims {
                let (processor, cut) = (self.clone(), cut.clone());
                running.spawn(async move { processor.work(claim, cut).await });
            }
            while running.try_join_next().is_some() {}
        }
        let finish = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(self.options.grace, finish)
            .await
            .is_err()
        {
            cut.cancel();
            while running.join_next().await.is_some() {}
        }
    }

    async fn claim(&self, max: usize) -> Vec<Claim> {
        let request = ClaimRequest {
            stack: self.options.stack.clone(),
            worker: self.options.worker.clone(),
            max: max.min(self.tasks.capability().max_claim),
            lease: self.options.lease,
            wait: Self::WAIT,
        };
        match self.tasks.claim(request).await {
            Ok(claims) => claims,
            Err(error) => {
                tracing::warn!(stack = %self.options.stack, %error, "no task can be claimed");
                tokio::time::sleep(Self::PAUSE).await;
                Vec::new()
            }
        }
    }

    /// Runs the handler on one task, and settles it.
    async fn work(&self, claim: Claim, cut: CancellationToken) {
        let Claim {
            task,
            mut lease,
            outcomes,
        } = claim;
        let id = task.id.clone();
        let lost = CancellationToken::new();
        let context = TaskContext {
            task,
            outcomes,
            lost: lost.clone(),
        };
        let ended = tokio::select! {
            ended = self.handle(context, &mut lease) => ended,
            () = cut.cancelled() => Ended::Cut,
        };
        let settled = match ended {
            Ended::Handled(end) => self.settle(&lease, end).await,
            Ended::Lost => {
                lost.cancel();
                tracing::info!(task = %id, "the task was cancelled or lost; its handler was dropped");
                return;
            }
            Ended::Cut => {
                lost.cancel();
                self.tasks.release(&lease).await
            }
        };
        if let Err(error) = settled {
            tracing::warn!(task = %id, %error, "a task could not be settled; its lease runs out");
        }
    }

    /// Runs the handler while it extends the lease. An extension that was begun is awaited, also
    /// when the handler ends meanwhile: only the newest token settles.
    async fn handle(&self, context: TaskContext, lease: &mut Lease) -> Ended {
        let mut handler = pin!(AssertUnwindSafe(self.handler.handle(context)).catch_unwind());
        let mut end = None;
        while end.is_none() {
            tokio::select! {
                ended = &mut handler => {
                    end = Some(ended);
                    continue;
                }
                () = tokio::time::sleep(self.options.lease / 3) => {}
            }
            let held = lease.clone();
            let mut extension = pin!(self.tasks.extend(&held, self.options.lease));
            let extended = loop {
                tokio::select! {
                    extended = &mut extension => break extended,
                    ended = &mut handler, if end.is_none() => end = Some(ended),
                }
            };
            match extended {
                Ok(extended) => *lease = extended,
                Err(error) if is_lost(&error) || lease.remaining().is_zero() => return Ended::Lost,
                Err(error) => tracing::warn!(%error, "a lease could not be extended yet"),
            }
        }
        let end = end.unwrap_or_else(|| Ok(Err(HandlerError::retry("the handler did not end"))));
        Ended::Handled(end.unwrap_or_else(|panic| Err(panicked(&*panic))))
    }

    async fn settle(&self, lease: &Lease, end: Result<TaskEnd, HandlerError>) -> Result<()> {
        match end {
            Ok(TaskEnd::Complete {
                result,
                content_type,
            }) => self.tasks.complete(lease, result, content_type).await,
            Ok(TaskEnd::Suspend { children, .. }) if children.is_empty() => {
                let error = "the handler suspended its task without children";
                self.tasks
                    .fail(lease, error, FailRetry::Never)
                    .await
                    .map(|_| ())
            }
            Ok(TaskEnd::Suspend { stack, children }) => {
                let parent = Some(lease.token.clone());
                let push = Push {
                    stack,
                    tasks: children,
                    parent,
                    op_id: None,
                };
                let refused = match self.tasks.push(push).await {
                    Ok(_) => return Ok(()),
                    Err(error) if is_lost(&error) => return Err(error),
                    Err(error) => format!("its children were refused: {error}"),
                };
                self.tasks
                    .fail(lease, &refused, FailRetry::Backoff)
                    .await
                    .map(|_| ())
            }
            Err(error) => self
                .tasks
                .fail(lease, &error.message, error.retry)
                .await
                .map(|_| ()),
        }
    }
}

/// What a handler's panic says.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> HandlerError {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    HandlerError::retry(format!(
        "the handler panicked: {}",
        text.unwrap_or_default()
    ))
}

fn is_lost(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::LeaseLost | ErrorKind::Cancelled)
}
