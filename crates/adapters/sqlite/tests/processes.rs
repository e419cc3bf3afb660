//! Several processes on one file, through the contracts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashMap,
    env,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use statehouse_contracts::{
    Backend, ContentType, Endpoint, ErrorKind, Factory, Precondition, Scope, StateKey,
    StateManager, StateManagerExt,
};
use statehouse_sqlite::SqliteFactory;

/// The test, which starts itself as the other processes.
const TEST: &str = "the_log_has_every_change_of_every_process_once_and_in_order";

/// Tasks of each process, and the puts of each task.
const TASKS: usize = 8;
const PUTS: usize = 60;
const PROCESSES: usize = 3;

/// Keys that all of them write.
const SHARED: usize = 5;

async fn open(path: &Path) -> (Arc<dyn Backend>, Arc<dyn StateManager>) {
    let url = format!("sqlite:{}?busy_timeout=60s", path.display());
    let endpoint = Endpoint::parse(&url).unwrap();
    let backend = SqliteFactory.open(&endpoint).await.unwrap();
    let scope = Scope::parse("default", "writer").unwrap();
    let state = backend.state(&scope).await.unwrap();
    (backend, state)
}

fn key(id: String) -> StateKey {
    StateKey::parse("note", &id).unwrap()
}

/// Puts into shared keys, and takes one key per turn that only one process gets.
async fn write(state: Arc<dyn StateManager>, task: usize) {
    for turn in 0..PUTS {
        let shared = key(format!("shared-{}", (task + turn) % SHARED));
        let put = state.put(&shared, "x".into(), ContentType::TEXT, Precondition::None);
        put.await.unwrap();
        let once = key(format!("once-{task}-{turn}"));
        let create = state.put(&once, "x".into(), ContentType::TEXT, Precondition::Absent);
        match create.await {
            Ok(version) => assert_eq!(version, 1),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
        }
    }
}

/// What each of the other processes does.
async fn write_from_many_tasks(path: &Path) {
    let (backend, state) = open(path).await;
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| tokio::spawn(write(Arc::clone(&state), task)))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    backend.close().await.unwrap();
}

fn start(path: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", TEST])
        .env("CHILD_PATH", path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_every_change_of_every_process_once_and_in_order() {
    if let Some(path) = env::var_os("CHILD_PATH") {
        return write_from_many_tasks(Path::new(&path)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let (backend, state) = open(&path).await;
    let mut children: Vec<_> = (0..PROCESSES).map(|_| start(&path)).collect();
    let expected = PROCESSES * TASKS * PUTS + TASKS * PUTS;
    let mut cursor = state.oldest().await.unwrap();
    let mut versions: HashMap<StateKey, u64> = HashMap::new();
    let (mut seen, mut commit) = (0, 0);
    while seen < expected {
        let page = state
            .changes(&cursor, 50, Duration::from_secs(60))
            .await
            .unwrap();
        assert!(
            !page.changes.is_empty(),
            "only {seen} of {expected} changes came"
        );
        for change in page.changes {
            seen += 1;
            assert!(change.commit > commit, "commits are in order");
            commit = change.commit;
            let version = versions.entry(change.key.clone()).or_default();
            assert_eq!(change.version, *version + 1, "of {}", change.key);
            *version = change.version;
        }
        cursor = page.next;
    }
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(cursor, state.head().await.unwrap());
    for (key, version) in versions {
        let record = state.get(&key).await.unwrap().unwrap();
        assert_eq!(record.version, version, "of {key}");
    }
    backend.close().await.unwrap();
}
