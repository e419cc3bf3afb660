//! The task stack: locks, asks the tasks, and waits for ready ones.

mod entry;
#[cfg(test)]
mod model;
mod stacks;
mod view;
mod work;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use statehouse_contracts::{
    Claim, ClaimRequest, Durability, Fencing, Lease, Page, Push, Pushed, Result, StackDepth,
    StackName, Task, TaskCapability, TaskId, TaskQuery, TaskSettle, TaskSettled, TaskStack, Wake,
};

use crate::gate::{Look, look};
use crate::queue::{MAX_LEASE, MAX_PAYLOAD, MIN_LEASE};
use crate::store::Handle;
pub(crate) use crate::tasks::stacks::Tasks;
use crate::time::{Time, deadline};

/// The deepest nesting of subtasks.
const MAX_NESTING: u32 = 64;

/// A handle on the tasks of one namespace.
#[derive(Debug)]
struct MemoryTasks(Handle);

impl MemoryTasks {
    /// Runs `act` on the tasks, after what is due by now has happened.
    fn with<T>(&self, act: impl FnOnce(&mut Tasks, Time) -> Result<T>) -> Result<T> {
        self.0.gate.check()?;
        let mut tasks = self.0.space.tasks.lock();
        let now = self.0.store.clock.now();
        tasks.advance(now);
        let answer = act(&mut tasks, now);
        self.0.store.alarm.arm(tasks.next_due());
        answer
    }
}

#[async_trait]
impl TaskStack for MemoryTasks {
    fn capability(&self) -> TaskCapability {
        TaskCapability {
            durability: Durability::NONE,
            max_payload: MAX_PAYLOAD,
            max_push: 1_000,
            max_claim: 1_000,
            max_nesting: MAX_NESTING as usize,
            min_lease: MIN_LEASE,
            max_lease: MAX_LEASE,
            fencing: Fencing::Server,
            redelivery_lag: Duration::ZERO,
            delay_precision: Duration::from_millis(2),
            retention: self.0.store.config.task_retention,
            wake: Wake::Push,
        }
    }

    async fn push(&self, push: Push) -> Result<Vec<Pushed>> {
        self.with(|tasks, now| tasks.push(push, &self.0.principal, now))
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Claim>> {
        let claim = || {
            let deadline = deadline(Instant::now(), request.lease);
            self.with(|tasks, now| {
                Ok(match tasks.claim(&request, deadline, now)? {
                    Ok(claims) => Look::Found(claims),
                    Err(bell) => Look::Empty(bell),
                })
            })
        };
        Ok(look(&self.0.gate, request.wait, claim)
            .await?
            .unwrap_or_default())
    }

    async fn settle(&self, batch: Vec<TaskSettle>) -> Result<Vec<Result<TaskSettled>>> {
        let start = Instant::now();
        self.with(|tasks, now| {
            let settle = |settle: TaskSettle| {
                let length = match &settle {
                    TaskSettle::Extend { lease, .. } => *lease,
                    _ => Duration::ZERO,
                };
                let (state, token) = tasks.settle(settle, now)?;
                let deadline = deadline(start, length);
                let lease = token.map(|token| Lease { token, deadline });
                Ok(TaskSettled { state, lease })
            };
            Ok(batch.into_iter().map(settle).collect())
        })
    }

    async fn cancel(&self, id: &TaskId) -> Result<u64> {
        self.with(|tasks, now| tasks.cancel(id, now))
    }

    async fn get(&self, id: &TaskId) -> Result<Option<Task>> {
        self.with(|tasks, _| Ok(tasks.get(id)))
    }

    async fn peek(&self, stack: &StackName, max: usize) -> Result<Vec<Task>> {
        self.with(|tasks, _| Ok(tasks.peek(stack, max)))
    }

    async fn list(&self, query: TaskQuery) -> Result<Page<Task>> {
        self.with(|tasks, _| tasks.list(&query))
    }

    async fn depth(&self, stack: &StackName) -> Result<StackDepth> {
        self.with(|tasks, _| Ok(tasks.depth(stack)))
    }

    async fn stacks(&self) -> Result<Vec<StackName>> {
        self.with(|tasks, _| Ok(tasks.stack_names()))
    }

    async fn close(&self) -> Result<()> {
        self.0.gate.close();
        Ok(())
    }
}

/// A task stack of one namespace.
pub(crate) fn open(handle: Handle) -> Arc<dyn TaskStack> {
    Arc::new(MemoryTasks(handle))
}
