//! A task stack with faults.

use async_trait::async_trait;
use statehouse_contracts::{
    Claim, ClaimRequest, Error, ErrorKind, Page, Push, Pushed, Result, StackDepth, StackName, Task,
    TaskCapability, TaskId, TaskQuery, TaskSettle, TaskSettled, TaskStack, TaskState,
};

use crate::Broken;
use crate::faults::Fault;

#[async_trait]
impl TaskStack for Broken<dyn TaskStack> {
    fn capability(&self) -> TaskCapability {
        self.inner.capability()
    }

    async fn push(&self, mut push: Push) -> Result<Vec<Pushed>> {
        match self.fault {
            Fault::ReversesPushes => push.tasks.reverse(),
            Fault::ForgetsParents => push.parent = None,
            _ => {}
        }
        self.inner.push(push).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Claim>> {
        let mut claims = self.inner.claim(request).await?;
        for claim in &mut claims {
            match self.fault {
                Fault::DropsOutcomes => claim.outcomes.clear(),
                Fault::ForgetsTaskAttempts => claim.task.attempt = 1,
                _ => {}
            }
        }
        Ok(claims)
    }

    async fn settle(&self, batch: Vec<TaskSettle>) -> Result<Vec<Result<TaskSettled>>> {
        let batch = batch.into_iter().map(|settle| match settle {
            TaskSettle::Complete { token, .. } if self.is(Fault::ReplaysCompletedTasks) => {
                TaskSettle::Release { token }
            }
            other => other,
        });
        let mut answers = self.inner.settle(batch.collect()).await?;
        if self.is(Fault::HidesLostTaskLeases) {
            for answer in &mut answers {
                let lost = |error: &Error| error.kind() == ErrorKind::LeaseLost;
                if answer.as_ref().is_err_and(lost) {
                    *answer = Ok(TaskSettled {
                        state: TaskState::Running,
                        lease: None,
                    });
                }
            }
        }
        Ok(answers)
    }

    async fn cancel(&self, id: &TaskId) -> Result<u64> {
        if self.is(Fault::IgnoresCancels) {
            return Ok(1);
        }
        self.inner.cancel(id).await
    }

    async fn get(&self, id: &TaskId) -> Result<Option<Task>> {
        self.inner.get(id).await
    }

    async fn peek(&self, stack: &StackName, max: usize) -> Result<Vec<Task>> {
        self.inner.peek(stack, max).await
    }

    async fn list(&self, query: TaskQuery) -> Result<Page<Task>> {
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
