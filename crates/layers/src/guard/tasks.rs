//! Task stack.

use std::collections::HashSet;

use async_trait::async_trait;
use statehouse_contracts::{
    Claim, ClaimRequest, Error, FailRetry, NewTask, Page, Push, Pushed, Result, StackDepth,
    StackName, Task, TaskCapability, TaskId, TaskQuery, TaskSettle, TaskSettled, TaskStack,
};

use super::{Guard, limits};

fn check_task(task: &NewTask, can: &TaskCapability) -> Result<()> {
    limits::at_most(
        "size of the payload",
        task.payload.len(),
        "max_payload",
        can.max_payload,
    )?;
    limits::at_least_one("max_attempts", task.max_attempts as usize)?;
    limits::backoff(&task.backoff)?;
    limits::duration("delay", task.delay)
}

fn check_settle(settle: TaskSettle, can: &TaskCapability) -> Result<TaskSettle> {
    match settle {
        TaskSettle::Complete { ref result, .. } => {
            limits::at_most(
                "size of the result",
                result.len(),
                "max_payload",
                can.max_payload,
            )?;
            Ok(settle)
        }
        TaskSettle::Fail {
            token,
            error,
            retry,
        } => {
            if let FailRetry::After(wait) = retry {
                limits::duration("the wait before the retry", wait)?;
            }
            Ok(TaskSettle::Fail {
                token,
                error: limits::error_text(error),
                retry,
            })
        }
        TaskSettle::Extend { lease, .. } => {
            limits::lease(lease, can.min_lease, can.max_lease)?;
            Ok(settle)
        }
        TaskSettle::Release { .. } => Ok(settle),
    }
}

#[async_trait]
impl TaskStack for Guard<dyn TaskStack> {
    fn capability(&self) -> TaskCapability {
        self.inner.capability()
    }

    async fn push(&self, push: Push) -> Result<Vec<Pushed>> {
        let can = self.inner.capability();
        limits::at_most("push", push.tasks.len(), "max_push", can.max_push)?;
        let mut ids = HashSet::new();
        for task in &push.tasks {
            check_task(task, &can).map_err(|error| error.with_context("task", &task.id))?;
            if !ids.insert(&task.id) {
                return Err(Error::invalid(format!(
                    "task {} is pushed twice in one call",
                    task.id
                )));
            }
        }
        self.inner.push(push).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Claim>> {
        let can = self.inner.capability();
        limits::at_least_one("max", request.max)?;
        limits::at_most("max", request.max, "max_claim", can.max_claim)?;
        limits::lease(request.lease, can.min_lease, can.max_lease)?;
        limits::duration("wait", request.wait)?;
        self.inner.claim(request).await
    }

    async fn settle(&self, batch: Vec<TaskSettle>) -> Result<Vec<Result<TaskSettled>>> {
        let can = self.inner.capability();
        let checked = batch
            .into_iter()
            .map(|settle| check_settle(settle, &can))
            .collect();
        super::merge(checked, |good| self.inner.settle(good)).await
    }

    async fn cancel(&self, id: &TaskId) -> Result<u64> {
        self.inner.cancel(id).await
    }

    async fn get(&self, id: &TaskId) -> Result<Option<Task>> {
        self.inner.get(id).await
    }

    async fn peek(&self, stack: &StackName, max: usize) -> Result<Vec<Task>> {
        limits::at_least_one("max", max)?;
        limits::at_most("max", max, "max_claim", self.inner.capability().max_claim)?;
        self.inner.peek(stack, max).await
    }

    async fn list(&self, query: TaskQuery) -> Result<Page<Task>> {
        limits::at_most(
            "limit",
            query.limit,
            "max_claim",
            self.inner.capability().max_claim,
        )?;
        self.inner.list(query).await
    }

    async fn depth(&self, stack: &StackName) -> Result<StackDepth> {
        self.inner.depth(stack).await
    }

    async fn stacks(&self) -> Result<Vec<StackName>> {
        self.inner.stacks().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
