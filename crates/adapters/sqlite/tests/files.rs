//! Files that cannot be used, seen through the contracts: each gets a clear error of the right
//! kind, and nothing is half-written.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::Connection;
use statehouse_contracts::{
    Backend, Bytes, ContentType, Endpoint, Error, ErrorKind, Factory, Namespace, Precondition,
    Result, Scope, StateKey, StateManager, StateManagerExt,
};
use statehouse_sqlite::{
    SqliteFactory,
    engine::{Engine, EngineError, EngineOptions, Schema},
};
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

async fn open(path: &Path, parameters: &str) -> Result<Arc<dyn Backend>> {
    let url = format!("sqlite:{}{parameters}", path.display());
    SqliteFactory.open(&Endpoint::parse(&url)?).await
}

async fn state(backend: &Arc<dyn Backend>) -> Arc<dyn StateManager> {
    let scope = Scope::parse("default", "tester").unwrap();
    backend.state(&scope).await.unwrap()
}

fn key(id: &str) -> StateKey {
    StateKey::parse("note", id).unwrap()
}

async fn put(state: &Arc<dyn StateManager>, id: &str, size: usize) -> Result<u64> {
    let data = Bytes::from(vec![7; size]);
    state
        .put(&key(id), data, ContentType::BYTES, Precondition::None)
        .await
}

#[track_caller]
fn assert_refused(error: &Error, kind: ErrorKind, says: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(says), "{error} says not {says}");
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_says_why() {
    let folder = Folder::new();
    fs::write(folder.path("text.db"), "no database at all\n".repeat(99)).unwrap();
    let foreign = Connection::open(folder.path("foreign.db")).unwrap();
    foreign.execute_batch("CREATE TABLE theirs (id)").unwrap();
    open(&folder.path("newer.db"), "")
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
    let newer = Connection::open(folder.path("newer.db")).unwrap();
    newer.execute_batch("PRAGMA user_version = 99").unwrap();
    let table = [
        ("no/such/a.db", "create it first"),
        ("text.db", "is not a SQLite database"),
        ("foreign.db", "of another application"),
        ("newer.db", "schema version 99, this build knows up to"),
    ];
    for (name, says) in table {
        let error = open(&folder.path(name), "").await.unwrap_err();
        assert_refused(&error, ErrorKind::InvalidArgument, says);
        assert_eq!(error.operation(), Some("open"));
    }
    let version: i64 = newer
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, 99, "a refused file is left as it was");
}

#[tokio::test]
async fn two_spellings_of_how_durable_it_is_do_not_share_a_file() {
    let folder = Folder::new();
    let path = folder.path("a.db");
    let backend = open(&path, "").await.unwrap();
    let error = open(&path, "?synchronous=normal").await.unwrap_err();
    assert_refused(&error, ErrorKind::InvalidArgument, "synchronous=FULL");
    backend.close().await.unwrap();
    let backend = open(&path, "?synchronous=normal").await.unwrap();
    assert!(!state(&backend).await.capability().durability.power_loss);
}

#[tokio::test]
async fn a_locked_file_is_overloaded_until_it_is_free() {
    let folder = Folder::new();
    let path = folder.path("a.db");
    let backend = open(&path, "?busy_timeout=50ms").await.unwrap();
    let state = state(&backend).await;
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = put(&state, "a", 10).await.unwrap_err();
    assert_refused(&error, ErrorKind::Overloaded, "another process held");
    assert!(!error.is_ambiguous());
    assert!(state.get(&key("a")).await.unwrap().is_none());
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(put(&state, "a", 10).await.unwrap(), 1);
}

/// Lets the database grow to so many pages and no further, through the writer's own connection.
async fn limit_pages(path: &Path, pages: u32) {
    let schema = Schema {
        application_id: 0,
        steps: &[],
    };
    let engine = Engine::open(path, EngineOptions::default(), schema)
        .await
        .unwrap();
    let set = move |tx: &statehouse_sqlite::engine::Tx<'_>| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        Ok::<i64, EngineError>(tx.query_row(&sql, (), |row| row.get(0))?)
    };
    engine.write(set).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_keeps_what_is_there() {
    let folder = Folder::new();
    let path = folder.path("a.db");
    let backend = open(&path, "").await.unwrap();
    let state = state(&backend).await;
    put(&state, "before", 1000).await.unwrap();
    let head = state.head().await.unwrap();
    limit_pages(&path, 200).await;
    let error = put(&state, "large", 4 << 20).await.unwrap_err();
    assert_refused(&error, ErrorKind::QuotaExceeded, "the disk is full");
    assert!(!error.is_ambiguous());
    assert!(state.get(&key("large")).await.unwrap().is_none());
    assert_eq!(
        state.head().await.unwrap(),
        head,
        "no change without a write"
    );
    assert!(state.get(&key("before")).await.unwrap().is_some());
    limit_pages(&path, 1 << 20).await;
    assert_eq!(put(&state, "large", 4 << 20).await.unwrap(), 1);
}

#[tokio::test]
async fn a_damaged_file_is_corrupted() {
    let folder = Folder::new();
    let path = folder.path("a.db");
    let backend = open(&path, "").await.unwrap();
    let handle = state(&backend).await;
    for id in 0..200 {
        put(&handle, &format!("id-{id}"), 1000).await.unwrap();
    }
    backend.close().await.unwrap();
    let size = fs::metadata(&path).unwrap().len();
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(4096)).unwrap();
    let rubbish = vec![0xA5; usize::try_from(size).unwrap() - 4096];
    file.write_all(&rubbish).unwrap();
    drop(file);
    let read = async {
        let backend = open(&path, "").await?;
        let scope = Scope::parse("default", "tester")?;
        let state = backend.state(&scope).await?;
        state.get(&key("id-1")).await
    };
    assert_refused(&read.await.unwrap_err(), ErrorKind::Corrupted, "damaged");
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_refused() {
    // Not even a superuser makes files here.
    let error = open(Path::new("/proc/statehouse.db"), "")
        .await
        .unwrap_err();
    let kinds = [ErrorKind::PermissionDenied, ErrorKind::Unavailable];
    assert!(kinds.contains(&error.kind()), "{error}");
    assert!(error.to_string().contains("/proc/statehouse.db"), "{error}");
}

#[tokio::test]
async fn an_older_copy_put_back_loses_the_cursors_after_it() {
    let folder = Folder::new();
    let (path, copy) = (folder.path("a.db"), folder.path("copy.db"));
    let backend = open(&path, "").await.unwrap();
    put(&state(&backend).await, "a", 10).await.unwrap();
    backend.close().await.unwrap();
    fs::copy(&path, &copy).unwrap();

    let backend = open(&path, "").await.unwrap();
    let handle = state(&backend).await;
    let kept = handle.head().await.unwrap();
    put(&handle, "b", 10).await.unwrap();
    let beyond = handle.head().await.unwrap();
    backend.close().await.unwrap();
    fs::copy(&copy, &path).unwrap();

    let backend = open(&path, "").await.unwrap();
    let handle = state(&backend).await;
    let none = std::time::Duration::ZERO;
    assert!(
        handle
            .changes(&kept, 0, none)
            .await
            .unwrap()
            .changes
            .is_empty()
    );
    let error = handle.changes(&beyond, 0, none).await.unwrap_err();
    assert_refused(&error, ErrorKind::CursorLost, "restored from a backup");
}

#[tokio::test]
async fn opening_a_handle_makes_no_namespace() {
    let folder = Folder::new();
    let backend = open(&folder.path("a.db"), "").await.unwrap();
    let handle = state(&backend).await;
    assert!(backend.namespaces().await.unwrap().is_empty());
    put(&handle, "a", 1).await.unwrap();
    assert_eq!(backend.namespaces().await.unwrap(), [Namespace::DEFAULT]);
}

#[tokio::test]
async fn the_backend_tells_what_it_is() {
    let folder = Folder::new();
    let backend = open(&folder.path("a.db"), "?synchronous=normal")
        .await
        .unwrap();
    let info = backend.info().await.unwrap();
    assert!(info.server.starts_with("SQLite 3."), "{}", info.server);
    let fact = |name: &str| info.facts.iter().find(|(known, _)| known == name).unwrap();
    assert!(fact("file").1.ends_with("a.db"));
    assert!(fact("synchronous").1.contains("a loss of power may take"));
}
