//! Task stacks.

use std::time::Instant;

use async_trait::async_trait;
use statehouse_contracts::{
    Claim, ClaimRequest, ErrorKind, Page, Push, Pushed, Result, StackDepth, StackName, Task,
    TaskCapability, TaskId, TaskQuery, TaskSettle, TaskSettled, TaskStack,
};
use statehouse_wire::{
    ClaimDoc, ClaimRequestDoc, CountDoc, ItemsDoc, OutcomeDoc, PageDoc, PushDoc, PushedDoc,
    StackDepthDoc, TaskDoc, TaskSettleDoc, TaskSettledDoc,
};

use crate::batch::{Part, fitted, parts};
use crate::client::Handle;
use crate::error::{nonsense, of_service};

/// Task stacks by way of the service.
#[derive(Debug)]
pub(crate) struct HttpTasks {
    handle: Handle,
    capability: TaskCapability,
}

impl HttpTasks {
    pub(crate) fn new(handle: Handle, capability: TaskCapability) -> Self {
        Self { handle, capability }
    }

    async fn claim_once(&self, request: ClaimRequest) -> Result<Vec<Claim>> {
        let requested = Instant::now();
        let wait = request.wait;
        let path = ["v1", "stacks", request.stack.as_str(), "claim"];
        let call = self.handle.post("claim", &path);
        let call = call.json(&ClaimRequestDoc::from(request.clone()))?;
        let answer: ItemsDoc<ClaimDoc> = call.waits(wait).answer().await?;
        let claims: Result<_> = answer
            .items
            .into_iter()
            .map(|claim| claim.claim(requested))
            .collect();
        claims.map_err(|error| nonsense(error).with_operation("claim"))
    }

    async fn settle_part(&self, part: &Part) -> Result<Vec<Result<TaskSettled>>> {
        let requested = Instant::now();
        let request = self.handle.post("settle", &["v1", "tasks", "settle"]);
        let request = request.json_bytes(part.document("settles", ""));
        let outcomes: ItemsDoc<OutcomeDoc<TaskSettledDoc>> = request.answer().await?;
        let settled = |outcome| match outcome {
            OutcomeDoc::Ok(document) => {
                TaskSettledDoc::settled(document, requested).map_err(nonsense)
            }
            OutcomeDoc::Error(document) => Err(of_service(*document)),
        };
        Ok(outcomes.items.into_iter().map(settled).collect())
    }
}

/// A word as documents write it.
fn state_word(state: statehouse_contracts::TaskState) -> Result<String> {
    let value = serde_json::to_value(state).map_err(nonsense)?;
    let word = value.as_str().map(str::to_owned);
    word.ok_or_else(|| nonsense("a state that is no word"))
}

#[async_trait]
impl TaskStack for HttpTasks {
    fn capability(&self) -> TaskCapability {
        self.capability
    }

    async fn push(&self, push: Push) -> Result<Vec<Pushed>> {
        let stack = push.stack.clone();
        let path = ["v1", "stacks", stack.as_str(), "tasks"];
        let request = self.handle.post("push", &path).json(&PushDoc::from(push))?;
        let pushed: ItemsDoc<PushedDoc> = request.answer().await?;
        Ok(pushed.items.into_iter().map(Into::into).collect())
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Claim>> {
        let once = |wait| {
            let request = request.clone();
            self.claim_once(ClaimRequest { wait, ..request })
        };
        self.handle.long_poll(request.wait, once).await
    }

    async fn settle(&self, batch: Vec<TaskSettle>) -> Result<Vec<Result<TaskSettled>>> {
        let whole = parts(
            batch.into_iter().map(TaskSettleDoc::from),
            self.handle.room(),
        )?;
        if let [part] = whole.as_slice() {
            return self.settle_part(part).await;
        }
        let mut answers = Vec::new();
        for part in whole {
            answers.extend(fitted(part.len, self.settle_part(&part).await));
        }
        Ok(answers)
    }

    async fn cancel(&self, id: &TaskId) -> Result<u64> {
        let path = ["v1", "tasks", id.as_str(), "cancel"];
        let answer: CountDoc = self.handle.post("cancel", &path).answer().await?;
        Ok(answer.count)
    }

    async fn get(&self, id: &TaskId) -> Result<Option<Task>> {
        let request = self.handle.get("get", &["v1", "tasks", id.as_str()]);
        match request.answer_into::<TaskDoc, Task, _>().await {
            Ok(task) => Ok(Some(task)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn peek(&self, stack: &StackName, max: usize) -> Result<Vec<Task>> {
        let path = ["v1", "stacks", stack.as_str(), "peek"];
        let request = self.handle.get("peek", &path).query("max", max);
        request.items::<TaskDoc, _, _>().await
    }

    async fn list(&self, query: TaskQuery) -> Result<Page<Task>> {
        let state = query.state.map(state_word).transpose()?;
        let request = self
            .handle
            .get("list", &["v1", "tasks"])
            .maybe("stack", query.stack.as_ref())
            .maybe("state", state)
            .maybe("parent", query.parent.as_ref())
            .limit(query.limit)
            .maybe("cursor", query.after.as_ref().map(|cursor| &cursor.0));
        let page: PageDoc<TaskDoc> = request.answer().await?;
        page.page().map_err(nonsense)
    }

    async fn depth(&self, stack: &StackName) -> Result<StackDepth> {
        let path = ["v1", "stacks", stack.as_str(), "depth"];
        let depth: StackDepthDoc = self.handle.get("depth", &path).answer().await?;
        Ok(depth.into())
    }

    async fn stacks(&self) -> Result<Vec<StackName>> {
        let request = self.handle.get("stacks", &["v1", "stacks"]);
        let names: ItemsDoc<String> = request.answer().await?;
        let names: Result<_> = names.items.into_iter().map(StackName::new).collect();
        names.map_err(nonsense)
    }

    async fn close(&self) -> Result<()> {
        self.handle.close();
        Ok(())
    }
}
