//! What most cases about tasks begin with: a stack, and short ways to push, claim and settle.

use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{
    Backend, Backoff, ChildOutcome, Claim, ClaimRequest, ContentType, Error, ErrorKind, FailRetry,
    Kind, LeaseToken, NewTask, Push, Pushed, Scope, StackName, Task, TaskId, TaskStack,
    TaskStackExt, TaskState, WorkerName,
};

use crate::{Context, Failure, Timing, ensure_eq, eventually, expect_kind, some};

/// The stack `s` of a namespace.
#[derive(Clone, Debug)]
pub(crate) struct Yard {
    pub(crate) tasks: Arc<dyn TaskStack>,
    pub(crate) stack: StackName,
    pub(crate) timing: Timing,
}

/// A task named `id`, with no backoff and many attempts; its payload is its name.
pub(crate) fn task(id: &str) -> NewTask {
    let kind = Kind::new("work").unwrap_or_else(|error| panic!("kind of a case: {error}"));
    NewTask {
        backoff: Backoff::NONE,
        max_attempts: 100,
        ..NewTask::new(kind, id.to_owned(), ContentType::TEXT).with_id(task_id(id))
    }
}

/// A task with so many attempts.
pub(crate) fn task_of(id: &str, max_attempts: u32) -> NewTask {
    NewTask {
        max_attempts,
        ..task(id)
    }
}

/// A task id.
pub(crate) fn task_id(id: &str) -> TaskId {
    TaskId::new(id).unwrap_or_else(|error| panic!("task id {id:?} of a case: {error}"))
}

/// A stack name.
pub(crate) fn stack(name: &str) -> StackName {
    StackName::new(name).unwrap_or_else(|error| panic!("stack {name:?} of a case: {error}"))
}

/// The ids of tasks.
pub(crate) fn ids<'t>(tasks: impl IntoIterator<Item = &'t Task>) -> Vec<String> {
    tasks.into_iter().map(|task| task.id.to_string()).collect()
}

/// How a child ended, in short: `a completed`, `b failed`, `c cancelled`.
pub(crate) fn ended(outcome: &ChildOutcome) -> String {
    format!("{} {:?}", outcome.id, outcome.state).to_lowercase()
}

impl Yard {
    /// In the case's namespace.
    pub(crate) async fn new(cx: &Context) -> Result<Self, Failure> {
        Ok(Self::of(cx, cx.tasks().await?))
    }

    /// In any scope of a backend.
    pub(crate) async fn on(
        cx: &Context,
        backend: &dyn Backend,
        scope: &Scope,
    ) -> Result<Self, Failure> {
        Ok(Self::of(cx, backend.tasks(scope).await?))
    }

    fn of(cx: &Context, tasks: Arc<dyn TaskStack>) -> Self {
        Self {
            tasks,
            stack: stack("s"),
            timing: cx.task_timing(),
        }
    }

    /// In the case's namespace, with these tasks, pushed one after another.
    pub(crate) async fn with(
        cx: &Context,
        tasks: impl IntoIterator<Item = NewTask> + Send,
    ) -> Result<Self, Failure> {
        let tasks: Vec<NewTask> = tasks.into_iter().collect();
        let yard = Self::new(cx).await?;
        for task in tasks {
            yard.push([task]).await?;
        }
        Ok(yard)
    }

    /// The same handle, on another stack.
    pub(crate) fn at(&self, name: &str) -> Self {
        Self {
            stack: stack(name),
            ..self.clone()
        }
    }

    /// The push of these tasks here.
    pub(crate) fn batch(&self, tasks: impl IntoIterator<Item = NewTask>) -> Push {
        Push {
            stack: self.stack.clone(),
            tasks: tasks.into_iter().collect(),
            parent: None,
            op_id: None,
        }
    }

    /// Pushes tasks as one batch.
    pub(crate) async fn push(
        &self,
        tasks: impl IntoIterator<Item = NewTask> + Send,
    ) -> Result<Vec<Pushed>, Failure> {
        let push = self.batch(tasks);
        Ok(self.tasks.push(push).await?)
    }

    /// Pushes children of a claimed task as one batch.
    pub(crate) async fn push_below(
        &self,
        parent: &Claim,
        tasks: impl IntoIterator<Item = NewTask> + Send,
    ) -> Result<Vec<Pushed>, Failure> {
        let push = Push {
            parent: Some(parent.lease.token.clone()),
            ..self.batch(tasks)
        };
        Ok(self.tasks.push(push).await?)
    }

    /// The request for at most `max` tasks under a lease that does not end.
    pub(crate) fn request(&self, max: usize, wait: Duration) -> ClaimRequest {
        ClaimRequest {
            stack: self.stack.clone(),
            worker: WorkerName::new("worker")
                .unwrap_or_else(|error| panic!("worker of a case: {error}")),
            max,
            lease: self.timing.long_lease,
            wait,
        }
    }

    /// Claims what is there, at most `max`.
    pub(crate) async fn claim_now(&self, max: usize) -> Result<Vec<Claim>, Failure> {
        Ok(self.tasks.claim(self.request(max, Duration::ZERO)).await?)
    }

    /// The next claim, which must come within `wait`.
    pub(crate) async fn next_within(&self, wait: Duration) -> Result<Claim, Failure> {
        let mut claims = self.tasks.claim(self.request(1, wait)).await?;
        some(claims.pop(), "task to claim in time")
    }

    /// The next claim must be of the task `expected`.
    pub(crate) async fn next_is(&self, expected: &str) -> Result<Claim, Failure> {
        let claim = self.next_within(self.timing.patience).await?;
        ensure_eq(claim.task.id.as_str(), expected, "the task claimed")?;
        Ok(claim)
    }

    /// The next claim, under a lease that the case waits out, must be of the task `expected`.
    pub(crate) async fn next_briefly(&self, expected: &str) -> Result<Claim, Failure> {
        let request = ClaimRequest {
            lease: self.timing.short_lease,
            ..self.request(1, self.timing.patience)
        };
        let claim = some(
            self.tasks.claim(request).await?.pop(),
            "task to claim in time",
        )?;
        ensure_eq(claim.task.id.as_str(), expected, "the task claimed")?;
        Ok(claim)
    }

    /// The next claims must be these, in order; each is completed before the next.
    pub(crate) async fn all_are(&self, expected: &[&str]) -> Result<(), Failure> {
        let mut got = Vec::new();
        for _ in expected {
            let request = self.request(1, self.timing.patience);
            let Some(claim) = self.tasks.claim(request).await?.pop() else {
                break;
            };
            got.push(claim.task.id.to_string());
            self.complete(&claim).await?;
        }
        ensure_eq(got, expected, "what was claimed, in order")
    }

    /// Nothing may be claimed at the moment.
    pub(crate) async fn is_empty(&self) -> Result<(), Failure> {
        let claims = self.claim_now(1).await?;
        let got: Vec<String> = ids(claims.iter().map(|claim| &claim.task));
        ensure_eq(got, [""; 0], "what can be claimed")
    }

    /// Nothing may become claimable for a little while.
    pub(crate) async fn stays_empty(&self) -> Result<(), Failure> {
        let claims = self.tasks.claim(self.request(1, self.timing.quiet)).await?;
        let got: Vec<String> = ids(claims.iter().map(|claim| &claim.task));
        ensure_eq(got, [""; 0], "what can be claimed")
    }

    /// Completes, answering the task's name.
    pub(crate) async fn complete(&self, claim: &Claim) -> Result<(), Failure> {
        let result = format!("{} done", claim.task.id);
        Ok(self
            .tasks
            .complete(&claim.lease, result.into(), ContentType::TEXT)
            .await?)
    }

    /// Fails an attempt.
    pub(crate) async fn fail(
        &self,
        claim: &Claim,
        error: &str,
        retry: FailRetry,
    ) -> Result<TaskState, Failure> {
        Ok(self.tasks.fail(&claim.lease, error, retry).await?)
    }

    /// The task of this name, which must be known.
    pub(crate) async fn get(&self, id: &str) -> Result<Task, Failure> {
        some(self.tasks.get(&task_id(id)).await?, "such task")
    }

    /// The task must stand so.
    pub(crate) async fn stands(&self, id: &str, state: TaskState) -> Result<(), Failure> {
        ensure_eq(
            self.get(id).await?.state,
            state,
            &format!("where {id:?} stands"),
        )
    }

    /// Waits until the task stands so.
    pub(crate) async fn until(&self, id: &str, state: TaskState) -> Result<(), Failure> {
        let within = self.timing.short_lease + self.timing.redelivery + self.timing.late;
        let what = format!("{id:?} {state:?}");
        eventually(within, &what, || async {
            Ok((self.get(id).await?.state == state).then_some(()))
        })
        .await
    }

    /// Every settle by the token must be refused so.
    pub(crate) async fn refuses(&self, token: &LeaseToken, kind: ErrorKind) -> Result<(), Failure> {
        use statehouse_contracts::TaskSettle;
        let token = || token.clone();
        let batch = vec![
            TaskSettle::Extend {
                token: token(),
                lease: self.timing.long_lease,
            },
            TaskSettle::Release { token: token() },
            TaskSettle::Fail {
                token: token(),
                error: "late".into(),
                retry: FailRetry::Never,
            },
            TaskSettle::Complete {
                token: token(),
                result: "late".into(),
                content_type: ContentType::TEXT,
            },
        ];
        let answers: Vec<Result<_, Error>> = self.tasks.settle(batch).await?;
        ensure_eq(answers.len(), 4, "the number of answers")?;
        for answer in answers {
            expect_kind(answer, kind)?;
        }
        Ok(())
    }
}
