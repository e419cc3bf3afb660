//! The LIFO processor: newest first, then back to the original task.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Store, eventually, scope};
use async_trait::async_trait;
use parking_lot::Mutex;
use statehouse_contracts::{
    Backoff, ContentType, Kind, NewTask, Push, StackName, Task, TaskId, TaskStack, TaskStackExt,
    TaskState, WorkerName,
};
use statehouse_state::{
    HandlerError, ProcessorOptions, TaskContext, TaskEnd, TaskHandler, TaskProcessor,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

fn stack() -> StackName {
    StackName::new("work").unwrap()
}

fn task(id: &str) -> NewTask {
    let backoff = Backoff::fixed(Duration::from_millis(20));
    let new = NewTask::new(Kind::new("job").unwrap(), id.to_owned(), ContentType::TEXT);
    NewTask {
        id: TaskId::new(id).unwrap(),
        backoff,
        max_attempts: 3,
        ..new
    }
}

async fn push(tasks: &dyn TaskStack, ids: &[&str]) {
    let push = Push {
        stack: stack(),
        tasks: ids.iter().map(|id| task(id)).collect(),
        parent: None,
        op_id: None,
    };
    tasks.push(push).await.unwrap();
}

async fn ended(tasks: &dyn TaskStack, id: &str) -> Task {
    let id = TaskId::new(id).unwrap();
    eventually(&format!("{id} to end"), || async {
        tasks
            .get(&id)
            .await
            .unwrap()
            .filter(|task| task.state.is_finished())
    })
    .await
}

fn start(
    tasks: &Arc<dyn TaskStack>,
    handler: impl TaskHandler,
    lease: Duration,
) -> (CancellationToken, JoinHandle<()>) {
    let options = ProcessorOptions {
        lease,
        grace: Duration::from_millis(200),
        ..ProcessorOptions::new(stack(), WorkerName::new("w").unwrap())
    };
    let stop = CancellationToken::new();
    let processor = TaskProcessor::new(Arc::clone(tasks), handler, options);
    (stop.clone(), tokio::spawn(processor.run(stop)))
}

/// Does what a task's name says, and writes down the order.
#[derive(Clone, Default)]
struct ByName(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl TaskHandler for ByName {
    async fn handle(&self, context: TaskContext) -> Result<TaskEnd, HandlerError> {
        let id = context.task.id.to_string();
        self.0.lock().push(id.clone());
        match id.as_str() {
            "nest" if context.outcomes.is_empty() => {
                let children = vec![task("child-1"), task("child-2")];
                return Ok(TaskEnd::Suspend {
                    stack: stack(),
                    children,
                });
            }
            "nest" => {
                let ends: Vec<String> = context
                    .outcomes
                    .iter()
                    .map(|o| format!("{}={:?}", o.id, o.state))
                    .collect();
                let result = ends.join(",").into();
                return Ok(TaskEnd::Complete {
                    result,
                    content_type: ContentType::TEXT,
                });
            }
            "flaky" if context.task.attempt < 3 => return Err(HandlerError::retry("not yet")),
            "fatal" | "child-1" => return Err(HandlerError::fatal("never")),
            "panic" => panic!("on purpose"),
            "slow" => std::future::pending().await,
            "long" => tokio::time::sleep(Duration::from_millis(700)).await, // sleep: work that outlasts its first lease.
            _ => {}
        }
        Ok(TaskEnd::done())
    }
}

#[tokio::test]
async fn the_newest_comes_first_and_parents_resume_with_outcomes() {
    let store = Store::open().await;
    let tasks = store.backend.tasks(&scope()).await.unwrap();
    push(&*tasks, &["first", "second", "nest"]).await;
    let handler = ByName::default();
    let (stop, running) = start(&tasks, handler.clone(), Duration::from_secs(5));
    ended(&*tasks, "first").await;
    stop.cancel();
    running.await.unwrap();
    let order = handler.0.lock().clone();
    assert_eq!(
        order,
        ["nest", "child-2", "child-1", "nest", "second", "first"]
    );
    let (result, _) = ended(&*tasks, "nest").await.result.unwrap();
    assert_eq!(result, "child-1=Failed,child-2=Completed");
}

#[tokio::test]
async fn failures_and_panics_are_retried_and_recorded() {
    let store = Store::open().await;
    let tasks = store.backend.tasks(&scope()).await.unwrap();
    push(&*tasks, &["flaky", "fatal", "panic"]).await;
    let (stop, running) = start(&tasks, ByName::default(), Duration::from_secs(5));
    let flaky = ended(&*tasks, "flaky").await;
    assert_eq!(
        (flaky.state, flaky.attempt, flaky.errors.len()),
        (TaskState::Completed, 3, 2)
    );
    let fatal = ended(&*tasks, "fatal").await;
    assert_eq!((fatal.state, fatal.attempt), (TaskState::Failed, 1));
    let panic = ended(&*tasks, "panic").await;
    assert_eq!((panic.state, panic.attempt), (TaskState::Failed, 3));
    assert!(
        panic.errors[0].error.contains("on purpose"),
        "{:?}",
        panic.errors
    );
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_long_handler_keeps_its_lease() {
    let store = Store::open().await;
    let tasks = store.backend.tasks(&scope()).await.unwrap();
    push(&*tasks, &["long"]).await;
    let (stop, running) = start(&tasks, ByName::default(), Duration::from_millis(300));
    let long = ended(&*tasks, "long").await;
    assert_eq!((long.state, long.attempt), (TaskState::Completed, 1));
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_cancelled_task_drops_its_handler_and_the_next_one_runs() {
    let store = Store::open().await;
    let tasks = store.backend.tasks(&scope()).await.unwrap();
    push(&*tasks, &["after", "slow"]).await;
    let (stop, running) = start(&tasks, ByName::default(), Duration::from_millis(300));
    let slow = TaskId::new("slow").unwrap();
    eventually("slow to run", || async {
        tasks
            .get(&slow)
            .await
            .unwrap()
            .filter(|task| task.state == TaskState::Running)
    })
    .await;
    tasks.cancel(&slow).await.unwrap();
    assert_eq!(ended(&*tasks, "after").await.state, TaskState::Completed);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_stop_gives_unfinished_tasks_back() {
    let store = Store::open().await;
    let tasks = store.backend.tasks(&scope()).await.unwrap();
    push(&*tasks, &["slow"]).await;
    let (stop, running) = start(&tasks, ByName::default(), Duration::from_secs(30));
    let slow = TaskId::new("slow").unwrap();
    eventually("slow to run", || async {
        tasks
            .get(&slow)
            .await
            .unwrap()
            .filter(|task| task.state == TaskState::Running)
    })
    .await;
    stop.cancel();
    running.await.unwrap();
    let slow = tasks.get(&slow).await.unwrap().unwrap();
    assert_eq!((slow.state, slow.attempt), (TaskState::Ready, 0));
    let depth = tasks.depth(&stack()).await.unwrap();
    assert_eq!((depth.ready, depth.running), (1, 0));
    // `push_one` is the sugar that most callers use.
    assert!(
        tasks
            .push_one(&stack(), task("slow"))
            .await
            .unwrap()
            .duplicate
    );
}
