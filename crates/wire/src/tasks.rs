//! The task stack.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use statehouse_contracts::{
    ChildOutcome, Claim, ClaimRequest, Error, Kind, LeaseToken, NewTask, OpId, Principal, Push,
    Pushed, Result, StackDepth, StackName, Task, TaskId, TaskState, WorkerName,
};
use utoipa::ToSchema;

use crate::{AttemptErrorDoc, BackoffDoc, ContentDoc, LeaseDoc, Span};

/// A task to push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTaskDoc {
    /// Its id, unique in the namespace; a new one is made when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub id: Option<TaskId>,
    /// What sort of task it is.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// What it is about.
    pub payload: ContentDoc,
    /// How many attempts it has. Default 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// The wait after a failed attempt.
    #[serde(default)]
    pub backoff: BackoffDoc,
    /// How long from now until it is ready first.
    #[serde(default)]
    pub delay: Span,
}

/// Tasks to push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PushDoc {
    /// The tasks; the last is the newest.
    pub tasks: Vec<NewTaskDoc>,
    /// The token of the task whose children they are: its lease ends, and it is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The identity of the push, for repeats; `Idempotency-Key` says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub op_id: Option<OpId>,
}

/// The answer for one pushed task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PushedDoc {
    /// Its id.
    #[schema(value_type = String)]
    pub id: TaskId,
    /// Whether it had been pushed before.
    pub duplicate: bool,
}

/// A task as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskDoc {
    /// Its id.
    #[schema(value_type = String)]
    pub id: TaskId,
    /// Its stack.
    #[schema(value_type = String)]
    pub stack: StackName,
    /// What sort of task it is.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// What it is about.
    pub payload: ContentDoc,
    /// `ready`, `delayed`, `running`, `suspended`, `completed`, `failed` or `cancelled`.
    #[schema(value_type = String, example = "ready")]
    pub state: TaskState,
    /// How many attempts it has had, the running one included.
    pub attempt: u32,
    /// How many it has.
    pub max_attempts: u32,
    /// Whose child it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub parent: Option<TaskId>,
    /// How deep it is nested; 0 without a parent.
    pub depth: u32,
    /// When it was pushed.
    pub created_at: Timestamp,
    /// By whom.
    #[schema(value_type = String)]
    pub created_by: Principal,
    /// When it is ready, while it is delayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// Who has it, while it is running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub worker: Option<WorkerName>,
    /// When it was finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// What it answered, once completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ContentDoc>,
    /// The last attempts that failed, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<AttemptErrorDoc>,
}

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChildOutcomeDoc {
    /// The child.
    #[schema(value_type = String)]
    pub id: TaskId,
    /// `completed`, `failed` or `cancelled`.
    #[schema(value_type = String, example = "completed")]
    pub state: TaskState,
    /// What it answered, when completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ContentDoc>,
    /// The last error, when failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What to claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimRequestDoc {
    /// For whom.
    #[schema(value_type = String)]
    pub worker: WorkerName,
    /// The most tasks. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<usize>,
    /// How long the claim holds. Default 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Span>,
    /// How long to wait for the first; not given: answers at once.
    #[serde(default)]
    pub wait: Span,
}

/// One claimed task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimDoc {
    /// The task.
    pub task: TaskDoc,
    /// The right to work on it.
    pub lease: LeaseDoc,
    /// How its children ended, in the order they were pushed.
    #[serde(default)]
    pub outcomes: Vec<ChildOutcomeDoc>,
}

/// How many tasks a stack holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StackDepthDoc {
    /// Can be claimed.
    pub ready: u64,
    /// Wait for a delay or backoff.
    pub delayed: u64,
    /// Are claimed.
    pub running: u64,
    /// Wait for their children.
    pub suspended: u64,
}

impl From<NewTask> for NewTaskDoc {
    fn from(task: NewTask) -> Self {
        Self {
            id: Some(task.id),
            kind: task.kind,
            payload: ContentDoc::new(&task.payload, task.content_type),
            max_attempts: Some(task.max_attempts),
            backoff: task.backoff.into(),
            delay: Span(task.delay),
        }
    }
}

impl TryFrom<NewTaskDoc> for NewTask {
    type Error = Error;
    fn try_from(doc: NewTaskDoc) -> Result<Self> {
        let (payload, content_type) = doc.payload.into_parts()?;
        let task = NewTask::new(doc.kind, payload, content_type);
        Ok(Self {
            id: doc.id.unwrap_or(task.id),
            max_attempts: doc.max_attempts.unwrap_or(task.max_attempts),
            backoff: doc.backoff.into(),
            delay: doc.delay.into(),
            kind: task.kind,
            payload: task.payload,
            content_type: task.content_type,
        })
    }
}

impl From<Push> for PushDoc {
    fn from(push: Push) -> Self {
        Self {
            tasks: push.tasks.into_iter().map(Into::into).collect(),
            parent: push.parent.map(|token| token.as_str().to_owned()),
            op_id: push.op_id,
        }
    }
}

impl PushDoc {
    /// The push onto `stack`.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for what makes no
    /// sense.
    pub fn push(self, stack: StackName) -> Result<Push> {
        let tasks: Result<_> = self.tasks.into_iter().map(NewTask::try_from).collect();
        Ok(Push {
            stack,
            tasks: tasks?,
            parent: self.parent.map(LeaseToken::new).transpose()?,
            op_id: self.op_id,
        })
    }
}

impl From<Pushed> for PushedDoc {
    fn from(pushed: Pushed) -> Self {
        let Pushed { id, duplicate } = pushed;
        Self { id, duplicate }
    }
}

impl From<PushedDoc> for Pushed {
    fn from(doc: PushedDoc) -> Self {
        let PushedDoc { id, duplicate } = doc;
        Self { id, duplicate }
    }
}

impl From<Task> for TaskDoc {
    fn from(task: Task) -> Self {
        let result = task.result;
        Self {
            id: task.id,
            stack: task.stack,
            kind: task.kind,
            payload: ContentDoc::new(&task.payload, task.content_type),
            state: task.state,
            attempt: task.attempt,
            max_attempts: task.max_attempts,
            parent: task.parent,
            depth: task.depth,
            created_at: task.created_at,
            created_by: task.created_by,
            due_at: task.due_at,
            worker: task.worker,
            finished_at: task.finished_at,
            result: result.map(|(bytes, content_type)| ContentDoc::new(&bytes, content_type)),
            errors: task.errors.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<TaskDoc> for Task {
    type Error = Error;
    fn try_from(doc: TaskDoc) -> Result<Self> {
        let (payload, content_type) = doc.payload.into_parts()?;
        Ok(Self {
            id: doc.id,
            stack: doc.stack,
            kind: doc.kind,
            payload,
            content_type,
            state: doc.state,
            attempt: doc.attempt,
            max_attempts: doc.max_attempts,
            parent: doc.parent,
            depth: doc.depth,
            created_at: doc.created_at,
            created_by: doc.created_by,
            due_at: doc.due_at,
            worker: doc.worker,
            finished_at: doc.finished_at,
            result: doc.result.map(ContentDoc::into_parts).transpose()?,
            errors: doc.errors.into_iter().map(Into::into).collect(),
        })
    }
}

impl From<ChildOutcome> for ChildOutcomeDoc {
    fn from(outcome: ChildOutcome) -> Self {
        let result = outcome.result;
        Self {
            id: outcome.id,
            state: outcome.state,
            result: result.map(|(bytes, content_type)| ContentDoc::new(&bytes, content_type)),
            error: outcome.error,
        }
    }
}

impl TryFrom<ChildOutcomeDoc> for ChildOutcome {
    type Error = Error;
    fn try_from(doc: ChildOutcomeDoc) -> Result<Self> {
        Ok(Self {
            id: doc.id,
            state: doc.state,
            result: doc.result.map(ContentDoc::into_parts).transpose()?,
            error: doc.error,
        })
    }
}

impl ClaimRequestDoc {
    const LEASE: Duration = Duration::from_secs(30);

    /// The claim from `stack`.
    pub fn request(self, stack: StackName) -> ClaimRequest {
        ClaimRequest {
            stack,
            worker: self.worker,
            max: self.max.unwrap_or(1),
            lease: self.lease.map_or(Self::LEASE, Duration::from),
            wait: self.wait.into(),
        }
    }
}

impl From<ClaimRequest> for ClaimRequestDoc {
    fn from(request: ClaimRequest) -> Self {
        Self {
            worker: request.worker,
            max: Some(request.max),
            lease: Some(Span(request.lease)),
            wait: Span(request.wait),
        }
    }
}

impl ClaimDoc {
    /// The document of `claim`, in the answer to a request that arrived at `arrived`.
    pub fn new(claim: Claim, arrived: Instant) -> Self {
        Self {
            lease: LeaseDoc::new(&claim.lease, arrived),
            task: claim.task.into(),
            outcomes: claim.outcomes.into_iter().map(Into::into).collect(),
        }
    }

    /// The claim, in the answer to a request that began at `requested`.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for what makes no
    /// sense.
    pub fn claim(self, requested: Instant) -> Result<Claim> {
        let outcomes: Result<_> = self
            .outcomes
            .into_iter()
            .map(ChildOutcome::try_from)
            .collect();
        Ok(Claim {
            task: self.task.try_into()?,
            lease: self.lease.lease(requested)?,
            outcomes: outcomes?,
        })
    }
}

impl From<StackDepth> for StackDepthDoc {
    fn from(depth: StackDepth) -> Self {
        Self {
            ready: depth.ready,
            delayed: depth.delayed,
            running: depth.running,
            suspended: depth.suspended,
        }
    }
}

impl From<StackDepthDoc> for StackDepth {
    fn from(doc: StackDepthDoc) -> Self {
        Self {
            ready: doc.ready,
            delayed: doc.delayed,
            running: doc.running,
            suspended: doc.suspended,
        }
    }
}
