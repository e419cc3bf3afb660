//! Task stack.

use async_trait::async_trait;
use statehouse_contracts::{
    Claim, ClaimRequest, Page, Push, Pushed, Result, StackDepth, StackName, Task, TaskCapability,
    TaskId, TaskQuery, TaskSettle, TaskSettled, TaskStack,
};

use super::{Around, span};
use crate::{Layer, Repeat, Role};

#[async_trait]
impl<L: Layer> TaskStack for Around<dyn TaskStack, L> {
    fn capability(&self) -> TaskCapability {
        self.inner.capability()
    }

    async fn push(&self, push: Push) -> Result<Vec<Pushed>> {
        // Ids are accepted once; only a push that ends its parent's lease needs an op_id as well.
        let repeat = Repeat::idempotent_if(push.parent.is_none() || push.op_id.is_some());
        let call = self
            .call(Role::Tasks, "push", span!("task.push"), repeat)
            .carrying(push.tasks.len());
        self.layer
            .call(&call, || self.inner.push(push.clone()))
            .await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Claim>> {
        // What an unclear claim took comes back when its lease ends.
        let call = self
            .call(
                Role::Tasks,
                "claim",
                span!("task.claim"),
                Repeat::Idempotent,
            )
            .waiting(request.wait)
            .carrying(request.max);
        self.layer
            .call(&call, || self.inner.claim(request.clone()))
            .await
    }

    async fn settle(&self, batch: Vec<TaskSettle>) -> Result<Vec<Result<TaskSettled>>> {
        let call = self
            .call(
                Role::Tasks,
                "settle",
                span!("task.settle"),
                Repeat::Idempotent,
            )
            .carrying(batch.len());
        self.layer
            .batch(&call, batch, |batch| self.inner.settle(batch))
            .await
    }

    async fn cancel(&self, id: &TaskId) -> Result<u64> {
        let call = self.call(Role::Tasks, "cancel", span!("task.cancel"), Repeat::Unsafe);
        self.layer.call(&call, || self.inner.cancel(id)).await
    }

    async fn get(&self, id: &TaskId) -> Result<Option<Task>> {
        let call = self.call(Role::Tasks, "get", span!("task.get"), Repeat::Reads);
        self.layer.call(&call, || self.inner.get(id)).await
    }

    async fn peek(&self, stack: &StackName, max: usize) -> Result<Vec<Task>> {
        let call = self.call(Role::Tasks, "peek", span!("task.peek"), Repeat::Reads);
        self.layer.call(&call, || self.inner.peek(stack, max)).await
    }

    async fn list(&self, query: TaskQuery) -> Result<Page<Task>> {
        let call = self.call(Role::Tasks, "list", span!("task.list"), Repeat::Reads);
        self.layer
            .call(&call, || self.inner.list(query.clone()))
            .await
    }

    async fn depth(&self, stack: &StackName) -> Result<StackDepth> {
        let call = self.call(Role::Tasks, "depth", span!("task.depth"), Repeat::Reads);
        self.layer.call(&call, || self.inner.depth(stack)).await
    }

    async fn stacks(&self) -> Result<Vec<StackName>> {
        let call = self.call(Role::Tasks, "stacks", span!("task.stacks"), Repeat::Reads);
        self.layer.call(&call, || self.inner.stacks()).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
