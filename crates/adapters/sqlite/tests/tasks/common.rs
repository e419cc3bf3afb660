//! A file for each test, and short ways to push and claim.

use std::{sync::Arc, time::Duration};

use statehouse_contracts::{
    Backend, Backoff, Bytes, Claim, ClaimRequest, ContentType, Endpoint, Factory, FailRetry, Kind,
    Lease, NewTask, Push, Pushed, Result, Scope, StackName, Task, TaskId, TaskStack, TaskStackExt,
    TaskState, WorkerName,
};
use statehouse_sqlite::SqliteFactory;
use tempfile::TempDir;

pub(crate) const LONG: Duration = Duration::from_secs(60);
pub(crate) const BRIEF: Duration = Duration::from_millis(80);
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A file with a handle on the tasks of a namespace.
pub(crate) struct Bench {
    pub(crate) directory: Arc<TempDir>,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) tasks: Arc<dyn TaskStack>,
}

pub(crate) fn stack(name: &str) -> StackName {
    StackName::new(name).unwrap()
}

pub(crate) fn id(name: &str) -> TaskId {
    TaskId::new(name).unwrap()
}

pub(crate) fn task(name: &str) -> NewTask {
    let kind = Kind::new("work").unwrap();
    NewTask {
        backoff: Backoff::NONE,
        ..NewTask::new(kind, name.to_owned(), ContentType::TEXT).with_id(id(name))
    }
}

pub(crate) fn request(on: &str, wait: Duration) -> ClaimRequest {
    ClaimRequest {
        stack: stack(on),
        worker: WorkerName::new("w").unwrap(),
        max: 1,
        lease: LONG,
        wait,
    }
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::open(Arc::new(tempfile::tempdir().unwrap()), "").await
    }

    pub(crate) async fn open(directory: Arc<TempDir>, parameters: &str) -> Self {
        let path = directory.path().join("t.db");
        let url = format!("sqlite:{}{parameters}", path.display());
        let endpoint = Endpoint::parse(&url).unwrap();
        let backend = SqliteFactory.open(&endpoint).await.unwrap();
        let scope = Scope::parse("default", "tester").unwrap();
        let tasks = backend.tasks(&scope).await.unwrap();
        Self {
            directory,
            backend,
            tasks,
        }
    }

    pub(crate) async fn push(&self, on: &str, names: &[&str]) {
        let tasks = names.iter().map(|name| task(name)).collect();
        self.push_under(on, tasks, None).await.unwrap();
    }

    pub(crate) async fn push_under(
        &self,
        on: &str,
        tasks: Vec<NewTask>,
        parent: Option<&Lease>,
    ) -> Result<Vec<Pushed>> {
        let push = Push {
            stack: stack(on),
            tasks,
            parent: parent.map(|lease| lease.token.clone()),
            op_id: None,
        };
        self.tasks.push(push).await
    }

    /// The next claim, waiting for it.
    pub(crate) async fn claim(&self, on: &str) -> Claim {
        self.claim_for(on, LONG).await
    }

    pub(crate) async fn claim_for(&self, on: &str, lease: Duration) -> Claim {
        let request = ClaimRequest {
            lease,
            ..request(on, PATIENCE)
        };
        self.tasks.claim(request).await.unwrap().pop().unwrap()
    }

    /// The id of what is claimed at once, if anything.
    pub(crate) async fn now(&self, on: &str) -> Option<String> {
        let claims = self.tasks.claim(request(on, Duration::ZERO)).await.unwrap();
        claims.first().map(|claim| claim.task.id.to_string())
    }

    pub(crate) async fn get(&self, name: &str) -> Task {
        self.tasks.get(&id(name)).await.unwrap().unwrap()
    }

    pub(crate) async fn state(&self, name: &str) -> TaskState {
        self.get(name).await.state
    }

    pub(crate) async fn complete(&self, claim: &Claim, result: &str) {
        let result = Bytes::from(result.to_owned());
        self.tasks
            .complete(&claim.lease, result, ContentType::TEXT)
            .await
            .unwrap();
    }

    pub(crate) async fn fail(&self, claim: &Claim, retry: FailRetry) -> TaskState {
        self.tasks
            .fail(&claim.lease, "no luck", retry)
            .await
            .unwrap()
    }

    /// Ready, delayed, running and suspended tasks of a stack.
    pub(crate) async fn depth(&self, on: &str) -> [u64; 4] {
        let depth = self.tasks.depth(&stack(on)).await.unwrap();
        [depth.ready, depth.delayed, depth.running, depth.suspended]
    }

    /// Waits until the task is in this state.
    pub(crate) async fn until(&self, name: &str, state: TaskState) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.state(name).await != state {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{name} must be {state:?}"
            );
            // sleep: the interval of a poll with a deadline
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
