//! Works a run's tasks: the run's own, and a subtask for each that the recording opens.

use std::time::Duration;

use serde_json::{Value, json};
use statehouse_contracts::{
    Bytes, Claim, ClaimRequest, ContentType, Error, FailRetry, Lease, NewTask, Push, Result, Task,
    TaskId, TaskStack, TaskStackExt, WorkerName,
};

use super::names::Names;
use super::write::Writer;
use super::{Run, Subtask, Tally};

/// The tasks of one run. Each has its own stack, so that the newest task is the run's newest.
pub(super) struct Nest<'a> {
    tasks: &'a dyn TaskStack,
    names: &'a Names,
    root: TaskId,
    /// The lease of the innermost open task; `None` when the run was worked before.
    lease: Option<Lease>,
}

impl<'a> Nest<'a> {
    const LEASE: Duration = Duration::from_secs(120);

    /// Pushes and claims the run's task, unless it was completed before: it says so itself, or the
    /// run's state was all there. One that an earlier replay left half done is cancelled, and
    /// worked anew under another id.
    pub(super) async fn begin(
        tasks: &'a dyn TaskStack,
        names: &'a Names,
        run: &Run,
        writer: &mut Writer<'_>,
    ) -> Result<Self> {
        let mut attempt = 0;
        let root = loop {
            let root = names.root_task(attempt)?;
            match tasks.get(&root).await? {
                None if attempt == 0 && writer.had_everything(run) => {
                    return Ok(Self {
                        tasks,
                        names,
                        root,
                        lease: None,
                    });
                }
                None => break root,
                Some(task) if task.state == statehouse_contracts::TaskState::Completed => {
                    return Ok(Self {
                        tasks,
                        names,
                        root,
                        lease: None,
                    });
                }
                Some(task) => give_up(tasks, &task).await?,
            }
            attempt += 1;
        };
        let payload = json!({ "run": run.name, "agent": run.agent }).to_string();
        tasks
            .push_one(&names.stack()?, new_task(root.clone(), payload)?)
            .await?;
        writer.tally.tasks += 1;
        let mut nest = Self {
            tasks,
            names,
            root,
            lease: None,
        };
        nest.claim().await?;
        Ok(nest)
    }

    /// Opens a subtask: the open task waits for it.
    pub(super) async fn open(
        &mut self,
        index: usize,
        subtask: &Subtask,
        tally: &mut Tally,
    ) -> Result<()> {
        let Some(lease) = self.lease.take() else {
            return Ok(());
        };
        let payload = json!({ "name": subtask.name, "title": subtask.title }).to_string();
        let task = new_task(self.names.subtask(&self.root, index)?, payload)?;
        let push = Push {
            stack: self.names.stack()?,
            tasks: vec![task],
            parent: Some(lease.token),
            op_id: Some(self.names.op_id(&format!("open:{}", self.root), index)?),
        };
        self.tasks.push(push).await?;
        tally.tasks += 1;
        self.claim().await.map(|_| ())
    }

    /// Closes the innermost subtask; the one around it goes on with its outcome.
    pub(super) async fn close(&mut self, subtask: &Subtask) -> Result<()> {
        let Some(lease) = self.lease.take() else {
            return Ok(());
        };
        match &subtask.error {
            Some(error) => self
                .tasks
                .fail(&lease, error, FailRetry::Never)
                .await
                .map(|_| ())?,
            None => {
                let result = subtask.result.as_ref().unwrap_or(&Value::Null).to_string();
                self.tasks
                    .complete(&lease, Bytes::from(result), ContentType::JSON)
                    .await?;
            }
        }
        let resumed = self.claim().await?;
        if resumed.outcomes.is_empty() {
            return Err(Error::internal(format!(
                "{} resumed without outcomes",
                resumed.task.id
            )));
        }
        Ok(())
    }

    /// Keeps the lease of the open task while steps are written.
    pub(super) async fn keep(&mut self) -> Result<()> {
        if let Some(lease) = &self.lease
            && lease.remaining() < Self::LEASE / 2
        {
            self.lease = Some(self.tasks.extend(lease, Self::LEASE).await?);
        }
        Ok(())
    }

    /// Completes the run's task.
    pub(super) async fn end(mut self, run: &Run) -> Result<()> {
        let Some(lease) = self.lease.take() else {
            return Ok(());
        };
        let result = json!({ "steps": run.steps.len(), "ended": run.ended }).to_string();
        self.tasks
            .complete(&lease, Bytes::from(result), ContentType::JSON)
            .await
    }

    async fn claim(&mut self) -> Result<Claim> {
        let request = ClaimRequest {
            stack: self.names.stack()?,
            worker: WorkerName::new("replay")?,
            max: 1,
            lease: Self::LEASE,
            wait: Duration::from_secs(30),
        };
        let claim = self.tasks.claim(request).await?.pop();
        let none = || Error::internal(format!("no task of the run {} became ready", self.names.id));
        let claim = claim.ok_or_else(none)?;
        self.lease = Some(claim.lease.clone());
        Ok(claim)
    }
}

async fn give_up(tasks: &dyn TaskStack, task: &Task) -> Result<()> {
    if !task.state.is_finished() {
        tasks.cancel(&task.id).await?;
    }
    Ok(())
}

fn new_task(id: TaskId, payload: String) -> Result<NewTask> {
    Ok(NewTask::new(Names::task_kind()?, payload, ContentType::JSON).with_id(id))
}
