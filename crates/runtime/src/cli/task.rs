//! `statehouse task`

use std::time::Instant;

use statehouse_contracts::{
    Claim, ClaimRequest, Error, FailRetry, NewTask, PageCursor, Push, Result, StackName, Task,
    TaskId, TaskQuery, TaskSettle, TaskSettled, TaskStack, TaskStackExt, TaskState,
};
use statehouse_wire::{ClaimDoc, PushedDoc, StackDepthDoc, TaskDoc, TaskSettledDoc};

use super::args::{PushTask, SettleTask, TaskCommand, TaskStateArg};
use super::output::{preview, table};
use super::{Desk, Output, input};

pub(super) async fn run(command: TaskCommand, desk: &Desk, output: &Output) -> Result<()> {
    let tasks = desk.tasks().await?;
    let tasks = &*tasks;
    match command {
        TaskCommand::Push(command) => push(command, tasks, output).await,
        TaskCommand::Claim {
            stack,
            worker,
            lease,
            wait,
        } => {
            let none = format!("no task of {stack} is ready");
            let claims = tasks
                .claim(ClaimRequest {
                    stack,
                    worker,
                    max: 1,
                    lease,
                    wait,
                })
                .await?;
            let claim = claims
                .into_iter()
                .next()
                .ok_or_else(|| Error::not_found(none))?;
            show_claim(claim, output)
        }
        TaskCommand::Cancel { id } => {
            let ended = tasks.cancel(&id).await?;
            output.done(&format!("cancelled {ended} tasks"))
        }
        TaskCommand::Get { id } => {
            let none = || Error::not_found(format!("there is no task {id}"));
            show_task(tasks.get(&id).await?.ok_or_else(none)?, output)
        }
        TaskCommand::Peek { stack, max } => {
            show_tasks(tasks.peek(&stack, max).await?, None, output)
        }
        TaskCommand::List {
            stack,
            state,
            parent,
            limit,
            after,
        } => {
            let state = state.map(task_state);
            let query = TaskQuery {
                stack,
                state,
                parent,
                limit,
                after: after.map(PageCursor),
            };
            let page = tasks.list(query).await?;
            show_tasks(page.items, page.next, output)
        }
        TaskCommand::Depth { stack } => depth(tasks, stack, output).await,
        TaskCommand::Settle(settle) => {
            show_settled(tasks.settle_one(settle_of(settle)?).await?, output)
        }
    }
}

fn settle_of(command: SettleTask) -> Result<TaskSettle> {
    Ok(match command {
        SettleTask::Complete { token, result } => {
            let result = input::content(&result)?;
            let content_type = input::content_type(None, &result)?;
            TaskSettle::Complete {
                token: input::token(&token)?,
                result,
                content_type,
            }
        }
        SettleTask::Fail {
            token,
            error,
            fatal,
            after,
        } => {
            let retry = match after {
                Some(after) => FailRetry::After(after),
                None if fatal => FailRetry::Never,
                None => FailRetry::Backoff,
            };
            TaskSettle::Fail {
                token: input::token(&token)?,
                error,
                retry,
            }
        }
        SettleTask::Extend { token, lease } => TaskSettle::Extend {
            token: input::token(&token)?,
            lease,
        },
        SettleTask::Release { token } => TaskSettle::Release {
            token: input::token(&token)?,
        },
    })
}

fn task_state(state: TaskStateArg) -> TaskState {
    match state {
        TaskStateArg::Ready => TaskState::Ready,
        TaskStateArg::Delayed => TaskState::Delayed,
        TaskStateArg::Running => TaskState::Running,
        TaskStateArg::Suspended => TaskState::Suspended,
        TaskStateArg::Completed => TaskState::Completed,
        TaskStateArg::Failed => TaskState::Failed,
        TaskStateArg::Cancelled => TaskState::Cancelled,
    }
}

fn state_name(state: TaskState) -> String {
    format!("{state:?}").to_lowercase()
}

async fn push(command: PushTask, tasks: &dyn TaskStack, output: &Output) -> Result<()> {
    let payload = input::content(&command.payload)?;
    let content_type = input::content_type(None, &payload)?;
    let task = NewTask {
        id: command.id.unwrap_or_else(TaskId::random),
        max_attempts: command.max_attempts,
        delay: command.delay.unwrap_or_default(),
        ..NewTask::new(command.kind, payload, content_type)
    };
    let parent = command.parent.as_deref().map(input::token).transpose()?;
    let stack = command.stack;
    let push = Push {
        stack: stack.clone(),
        tasks: vec![task],
        parent,
        op_id: None,
    };
    for pushed in tasks.push(push).await? {
        let before = if pushed.duplicate {
            " (it was there)"
        } else {
            ""
        };
        let line = format!("pushed {} onto {stack}{before}", pushed.id);
        output.show(&PushedDoc::from(pushed), || line)?;
    }
    Ok(())
}

fn show_claim(claim: Claim, output: &Output) -> Result<()> {
    if output.is_json() {
        return output.document(&ClaimDoc::new(claim, Instant::now()));
    }
    let Claim {
        task,
        lease,
        outcomes,
    } = claim;
    let payload = preview(&task.payload, &task.content_type, usize::MAX);
    let mut lines = format!(
        "task     {}\nattempt  {} of {}\npayload  {payload}\ntoken    {}",
        task.id, task.attempt, task.max_attempts, lease.token
    );
    for outcome in outcomes {
        let result = outcome
            .result
            .map(|(bytes, content_type)| preview(&bytes, &content_type, 60));
        let said = result.or(outcome.error).unwrap_or_default();
        lines.push_str(&format!(
            "\nchild    {}  {}  {said}",
            outcome.id,
            state_name(outcome.state)
        ));
    }
    output.text(&lines)
}

fn show_settled(settled: TaskSettled, output: &Output) -> Result<()> {
    let mut line = format!("the task is {}", state_name(settled.state));
    if let Some(lease) = &settled.lease {
        line.push_str(&format!("\ntoken    {}", lease.token));
    }
    output.show(&TaskSettledDoc::new(&settled, Instant::now()), || line)
}

fn show_task(task: Task, output: &Output) -> Result<()> {
    if output.is_json() {
        return output.document(&TaskDoc::from(task));
    }
    let mut lines = format!(
        "task     {}\nstack    {}\nkind     {}\nstate    {}\nattempt  {} of {}\npayload  {}",
        task.id,
        task.stack,
        task.kind,
        state_name(task.state),
        task.attempt,
        task.max_attempts,
        preview(&task.payload, &task.content_type, usize::MAX),
    );
    if let Some(parent) = &task.parent {
        lines.push_str(&format!("\nparent   {parent}"));
    }
    if let Some((bytes, content_type)) = &task.result {
        lines.push_str(&format!(
            "\nresult   {}",
            preview(bytes, content_type, usize::MAX)
        ));
    }
    for error in &task.errors {
        lines.push_str(&format!(
            "\nerror    attempt {} at {:.3}: {}",
            error.attempt, error.at, error.error
        ));
    }
    output.text(&lines)
}

fn show_tasks(tasks: Vec<Task>, next: Option<PageCursor>, output: &Output) -> Result<()> {
    let row = |task: &Task| {
        [
            task.id.to_string(),
            task.stack.to_string(),
            state_name(task.state),
            format!("{}/{}", task.attempt, task.max_attempts),
            preview(&task.payload, &task.content_type, 60),
        ]
    };
    let header = ["task", "stack", "state", "attempt", "payload"];
    let documents = || tasks.iter().cloned().map(TaskDoc::from).collect();
    output.page(documents, next, || {
        table(header, tasks.iter().map(row).collect())
    })
}

async fn depth(tasks: &dyn TaskStack, stack: Option<StackName>, output: &Output) -> Result<()> {
    let stacks = match stack {
        Some(stack) => vec![stack],
        None => tasks.stacks().await?,
    };
    let mut rows = Vec::new();
    for stack in stacks {
        let depth = tasks.depth(&stack).await?;
        if output.is_json() {
            let depth = StackDepthDoc::from(depth);
            output.document(&serde_json::json!({ "stack": stack, "depth": depth }))?;
        }
        rows.push([
            stack.to_string(),
            depth.ready.to_string(),
            depth.delayed.to_string(),
            depth.running.to_string(),
            depth.suspended.to_string(),
        ]);
    }
    if output.is_json() {
        return Ok(());
    }
    output.text(&table(
        ["stack", "ready", "delayed", "running", "suspended"],
        rows,
    ))
}
