//! The task stack: newest first, then back to the task it came from.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    AttemptError, Backoff, ContentType, Error, Kind, Lease, LeaseToken, OpId, Page, PageCursor,
    Principal, Result, StackName, TaskCapability, TaskId, WorkerName,
};

/// A task to push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTask {
    /// Its id, unique in the namespace.
    pub id: TaskId,
    /// What sort of task it is.
    pub kind: Kind,
    /// What it is about.
    pub payload: Bytes,
    /// The media type of the payload.
    pub content_type: ContentType,
    /// How many attempts it has, at least 1.
    pub max_attempts: u32,
    /// The wait after a failed attempt.
    pub backoff: Backoff,
    /// How long from now until it is ready first.
    pub delay: Duration,
}

impl NewTask {
    /// A task with a new id, 4 attempts and the default backoff.
    pub fn new(kind: Kind, payload: impl Into<Bytes>, content_type: ContentType) -> Self {
        Self {
            id: TaskId::random(),
            kind,
            payload: payload.into(),
            content_type,
            max_attempts: 4,
            backoff: Backoff::default(),
            delay: Duration::ZERO,
        }
    }

    /// The same task under this id.
    pub fn with_id(mut self, id: TaskId) -> Self {
        self.id = id;
        self
    }
}

/// A batch of tasks to push.
#[derive(Clone, Debug)]
pub struct Push {
    /// Where to.
    pub stack: StackName,
    /// The tasks; the last is the newest.
    pub tasks: Vec<NewTask>,
    /// The lease of the task whose children they are: it ends, and the task is suspended.
    pub parent: Option<LeaseToken>,
    /// The identity of the push, for repeats.
    pub op_id: Option<OpId>,
}

impl Push {
    /// A digest of what it is about: by it a store tells a repeat from another push under the same
    /// op_id. The stack counts, and the kind, content type and payload of each task in order; the
    /// ids do not, so that a caller that makes them anew for the repeat gets the first ones, nor
    /// does the parent's token, which an extension may have replaced.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(self.stack.as_str().as_bytes());
        for task in &self.tasks {
            add(task.kind.as_str().as_bytes());
            add(task.content_type.as_str().as_bytes());
            add(&task.payload);
        }
        hash.finalize().into()
    }
}

/// The answer for one pushed task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Its id.
    pub id: TaskId,
    /// Whether it had been pushed before.
    pub duplicate: bool,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Can be claimed.
    Ready,
    /// Waits for its delay or backoff.
    Delayed,
    /// Is claimed.
    Running,
    /// Waits for its children.
    Suspended,
    /// Is done.
    Completed,
    /// Has failed for good.
    Failed,
    /// Was cancelled.
    Cancelled,
}

impl TaskState {
    /// Whether nothing more will happen to it.
    pub fn is_finished(self) -> bool {
        matches!(
            self,
            TaskState::Completed | TaskState::Failed | TaskState::Cancelled
        )
    }
}

/// A task as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Its stack.
    pub stack: StackName,
    /// What sort of task it is.
    pub kind: Kind,
    /// What it is about.
    pub payload: Bytes,
    /// The media type of the payload.
    pub content_type: ContentType,
    /// Where it stands.
    pub state: TaskState,
    /// How many attempts it has had, the running one included. Resuming is none.
    pub attempt: u32,
    /// How many it has.
    pub max_attempts: u32,
    /// Whose child it is.
    pub parent: Option<TaskId>,
    /// How deep it is nested; 0 without a parent.
    pub depth: u32,
    /// When it was pushed.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: Principal,
    /// When it is ready, while it is delayed.
    pub due_at: Option<Timestamp>,
    /// Who has it, while it is running.
    pub worker: Option<WorkerName>,
    /// When it was finished.
    pub finished_at: Option<Timestamp>,
    /// What it answered, once completed.
    pub result: Option<(Bytes, ContentType)>,
    /// The last attempts that failed, at most 10, oldest first.
    pub errors: Vec<AttemptError>,
}

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildOutcome {
    /// The child.
    pub id: TaskId,
    /// Its end: completed, failed or cancelled.
    pub state: TaskState,
    /// What it answered, when completed.
    pub result: Option<(Bytes, ContentType)>,
    /// The last error, when failed.
    pub error: Option<String>,
}

/// What to claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRequest {
    /// From where.
    pub stack: StackName,
    /// For whom.
    pub worker: WorkerName,
    /// The most tasks, at least 1.
    pub max: usize,
    /// How long the claim holds.
    pub lease: Duration,
    /// How long to wait for the first; zero answers at once.
    pub wait: Duration,
}

/// One claimed task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The task.
    pub task: Task,
    /// The right to work on it.
    pub lease: Lease,
    /// How its children ended, in the order they were pushed, over all of its pushes; empty
    /// before it has pushed any.
    pub outcomes: Vec<ChildOutcome>,
}

/// Whether a failed attempt is followed by another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailRetry {
    /// After the task's backoff, while it has attempts.
    #[default]
    Backoff,
    /// After this wait, while it has attempts.
    After(Duration),
    /// No: it has failed for good.
    Never,
}

/// What to do with one claimed task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskSettle {
    /// Done.
    Complete {
        /// The claim's token.
        token: LeaseToken,
        /// What it answers.
        result: Bytes,
        /// The media type of that.
        content_type: ContentType,
    },
    /// This attempt has failed.
    Fail {
        /// The claim's token.
        token: LeaseToken,
        /// What went wrong; up to 4 KiB are kept.
        error: String,
        /// Whether another attempt follows.
        retry: FailRetry,
    },
    /// The lease lasts this long from now, under a new token.
    Extend {
        /// The claim's token.
        token: LeaseToken,
        /// The new length.
        lease: Duration,
    },
    /// Given back as it was: ready at its old place, and the attempt does not count.
    Release {
        /// The claim's token.
        token: LeaseToken,
    },
}

/// The answer to one settle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSettled {
    /// Where the task stands now.
    pub state: TaskState,
    /// The lease that replaces the old one, after an extension.
    pub lease: Option<Lease>,
}

/// Which tasks to list.
#[derive(Clone, Debug, Default)]
pub struct TaskQuery {
    /// Only of this stack.
    pub stack: Option<StackName>,
    /// Only in this state.
    pub state: Option<TaskState>,
    /// Only children of this task.
    pub parent: Option<TaskId>,
    /// The most tasks; 0: as many as the backend likes.
    pub limit: usize,
    /// Where the page begins.
    pub after: Option<PageCursor>,
}

/// How many tasks a stack holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StackDepth {
    /// Can be claimed.
    pub ready: u64,
    /// Wait for a delay or backoff.
    pub delayed: u64,
    /// Are claimed.
    pub running: u64,
    /// Wait for their children.
    pub suspended: u64,
}

/// Stacks of tasks: last in, first out.
///
/// # Pushing
/// - `push` is atomic: all tasks or none. The last of the batch is the newest.
/// - An id is accepted once in its namespace: pushing it again with the same stack, kind, payload
///   and parent is `duplicate`; with others it is [`Conflict`](crate::ErrorKind::Conflict). One id
///   twice in a push is [`InvalidArgument`](crate::ErrorKind::InvalidArgument).
/// - A repeated `op_id` answers with the first result, also with the first ids: the repeat may
///   name others, but with another [`fingerprint`](Push::fingerprint) it is
///   [`Conflict`](crate::ErrorKind::Conflict). A push that failed leaves no op_id behind. Without
///   an op_id, repeating a push that ended its parent's lease is
///   [`LeaseLost`](crate::ErrorKind::LeaseLost).
/// - With a parent's lease, the push ends that lease and suspends the parent until every child has
///   completed, finally failed, or been cancelled. Then the parent is ready at its old place, and
///   its next claim carries the outcomes in the order pushed. Resuming is no attempt; a failed
///   child does not fail its parent. Children may lie on any stack of the namespace.
/// - Nesting beyond `max_nesting` is [`InvalidArgument`](crate::ErrorKind::InvalidArgument). An
///   empty push is `Ok` and does nothing, also to the parent.
///
/// # Claiming
/// - `claim` hands out the newest ready task. A task that waits for its backoff, is running or
///   suspended holds up no older one.
/// - An expired lease makes the task ready at its old place, at the latest `redelivery_lag` later;
///   after `max_attempts` attempts it has failed with the error `lease expired`.
/// - The attempt is recorded before the task is handed over and survives a kill of the process.
///
/// # Settling
/// - By a token whose lease has ended or was replaced, and the task went on:
///   [`LeaseLost`](crate::ErrorKind::LeaseLost), nothing changes. Repeating a complete or fail with
///   its own token is `Ok` while the task is remembered, repeating a release until the task is
///   claimed again; both answer where the task stands. A completed task never runs again.
/// - `cancel` ends a task and everything below it. Running ones get
///   [`Cancelled`](crate::ErrorKind::Cancelled) on their next settle. The parent of a cancelled
///   task counts it as ended.
///
/// # Looking
/// - Finished tasks are kept for the capability's `retention`, and at least until the parent that
///   awaits them is finished.
/// - `peek` shows the next ready tasks in the order of their claims; `list` is newest first.
#[async_trait]
pub trait TaskStack: Debug + Send + Sync {
    /// What this stack can do.
    fn capability(&self) -> TaskCapability;

    /// Pushes tasks; one answer per task, in their order.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict), [`LeaseLost`](crate::ErrorKind::LeaseLost),
    /// [`Cancelled`](crate::ErrorKind::Cancelled) (the parent was),
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument).
    async fn push(&self, push: Push) -> Result<Vec<Pushed>>;

    /// Claims up to `max` of the newest ready tasks: at once what is there, else waits up to `wait`
    /// for the first. None in time is `Ok` and empty; so is an unknown stack.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for a lease outside the limits.
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Claim>>;

    /// Settles each; one answer per item, in the same order.
    ///
    /// # Errors
    /// Of an item: [`LeaseLost`](crate::ErrorKind::LeaseLost),
    /// [`Cancelled`](crate::ErrorKind::Cancelled),
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument).
    async fn settle(&self, batch: Vec<TaskSettle>) -> Result<Vec<Result<TaskSettled>>>;

    /// Cancels the task and everything below it; answers how many tasks it ended. Of a finished
    /// task it is `Ok(0)`.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    async fn cancel(&self, id: &TaskId) -> Result<u64>;

    /// The task as it stands.
    ///
    /// # Errors
    /// Those of the backend.
    async fn get(&self, id: &TaskId) -> Result<Option<Task>>;

    /// The next ready tasks of a stack, at most `max`; changes nothing.
    ///
    /// # Errors
    /// Those of the backend.
    async fn peek(&self, stack: &StackName, max: usize) -> Result<Vec<Task>>;

    /// A page of tasks, newest first.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for a cursor that is none.
    async fn list(&self, query: TaskQuery) -> Result<Page<Task>>;

    /// How many tasks a stack holds; zeros for an unknown stack.
    ///
    /// # Errors
    /// Those of the backend.
    async fn depth(&self, stack: &StackName) -> Result<StackDepth>;

    /// The stacks that hold unfinished tasks, by name.
    ///
    /// # Errors
    /// Those of the backend.
    async fn stacks(&self) -> Result<Vec<StackName>>;

    /// Closes this handle. Idempotent; calls that wait end with
    /// [`Closed`](crate::ErrorKind::Closed); open leases run out.
    ///
    /// # Errors
    /// When what was accepted could not be finished.
    async fn close(&self) -> Result<()>;
}

/// Sugar over [`TaskStack`].
#[async_trait]
pub trait TaskStackExt: TaskStack {
    /// Pushes one task without a parent.
    ///
    /// # Errors
    /// Those of [`TaskStack::push`].
    async fn push_one(&self, stack: &StackName, task: NewTask) -> Result<Pushed> {
        let push = Push {
            stack: stack.clone(),
            tasks: vec![task],
            parent: None,
            op_id: None,
        };
        let mut answers = self.push(push).await?;
        answers
            .pop()
            .ok_or_else(|| Error::internal("push answered nothing for one task"))
    }

    /// Settles one task.
    ///
    /// # Errors
    /// Those of [`TaskStack::settle`].
    async fn settle_one(&self, settle: TaskSettle) -> Result<TaskSettled> {
        let mut answers = self.settle(vec![settle]).await?;
        answers
            .pop()
            .unwrap_or_else(|| Err(Error::internal("settle answered nothing for one task")))
    }

    /// Completes a claimed task with a result.
    ///
    /// # Errors
    /// Those of [`TaskStack::settle`].
    async fn complete(
        &self,
        lease: &Lease,
        result: Bytes,
        content_type: ContentType,
    ) -> Result<()> {
        let token = lease.token.clone();
        self.settle_one(TaskSettle::Complete {
            token,
            result,
            content_type,
        })
        .await
        .map(|_| ())
    }

    /// Fails a claimed task's attempt; answers where the task stands then.
    ///
    /// # Errors
    /// Those of [`TaskStack::settle`].
    async fn fail(&self, lease: &Lease, error: &str, retry: FailRetry) -> Result<TaskState> {
        let (token, error) = (lease.token.clone(), error.to_owned());
        Ok(self
            .settle_one(TaskSettle::Fail {
                token,
                error,
                retry,
            })
            .await?
            .state)
    }

    /// Extends a claim.
    ///
    /// # Errors
    /// Those of [`TaskStack::settle`].
    async fn extend(&self, lease: &Lease, length: Duration) -> Result<Lease> {
        let settle = TaskSettle::Extend {
            token: lease.token.clone(),
            lease: length,
        };
        let settled = self.settle_one(settle).await?;
        settled
            .lease
            .ok_or_else(|| Error::internal("an extension answered no lease"))
    }

    /// Gives a claim back.
    ///
    /// # Errors
    /// Those of [`TaskStack::settle`].
    async fn release(&self, lease: &Lease) -> Result<()> {
        self.settle_one(TaskSettle::Release {
            token: lease.token.clone(),
        })
        .await
        .map(|_| ())
    }
}

impl<T: TaskStack + ?Sized> TaskStackExt for T {}
