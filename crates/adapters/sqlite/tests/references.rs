//! Large content on a file: what it costs others, what stays behind, and who collects it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use rusqlite::Connection;
use statehouse_contracts::{
    Backend, Compression, Endpoint, ErrorKind, Factory, Holder, PutContent, ReferenceId,
    ReferenceStore, Scope,
};
use statehouse_sqlite::SqliteFactory;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// A file with a handle on the content of a namespace.
struct Bench {
    directory: Arc<TempDir>,
    backend: Arc<dyn Backend>,
    store: Arc<dyn ReferenceStore>,
}

impl Bench {
    async fn new(parameters: &str) -> Self {
        Self::open(Arc::new(tempfile::tempdir().unwrap()), parameters).await
    }

    async fn open(directory: Arc<TempDir>, parameters: &str) -> Self {
        let path = directory.path().join("t.db");
        let endpoint = Endpoint::parse(&format!("sqlite:{}{parameters}", path.display())).unwrap();
        let backend = SqliteFactory.open(&endpoint).await.unwrap();
        let scope = Scope::parse("default", "tester").unwrap();
        let store = backend.references(&scope).await.unwrap();
        Self {
            directory,
            backend,
            store,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("t.db")
    }

    /// How many rows a table of the file has.
    fn rows(&self, table: &str) -> i64 {
        let connection = Connection::open(self.path()).unwrap();
        let sql = format!("SELECT count(*) FROM {table}");
        connection.query_row(&sql, (), |row| row.get(0)).unwrap()
    }

    /// Waits until a table has so many rows.
    async fn until(&self, table: &str, rows: i64) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.rows(table) != rows {
            let now = tokio::time::Instant::now();
            assert!(now < deadline, "{} rows in {table}", self.rows(table));
            // sleep: the interval of a poll with a deadline
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn holder(name: &str) -> Holder {
    Holder::new(name).unwrap()
}

/// Bytes that do not compress, stored as they are and held by `h`.
fn raw(salt: u64, size: usize) -> PutContent {
    let mut state = salt + 88_172_645_463_325_252;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let bytes: Vec<u8> = (0..size.div_ceil(8))
        .flat_map(|_| next())
        .take(size)
        .collect();
    PutContent {
        compression: Compression::None,
        ..PutContent::new(bytes).held_by(holder("h"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_get_their_turn_while_large_content_is_written() {
    let bench = Bench::new("").await;
    let large = raw(1, 48 << 20);
    let id = ReferenceId::of(&large.bytes);
    let store = Arc::clone(&bench.store);
    let putting = tokio::spawn(async move { store.put(large).await });
    let mut turns = 0;
    while !putting.is_finished() {
        bench.store.put(raw(100 + turns, 500)).await.unwrap();
        turns += 1;
    }
    assert!(putting.await.unwrap().unwrap().created);
    assert!(turns >= 5, "{turns} small puts had their turn");
    let log = bench.path().with_extension("db-wal");
    assert!(fs::metadata(log).unwrap().len() < 64 << 20);
    let content = bench.store.resolve(&id).await.unwrap();
    assert_eq!(content.bytes.len(), 48 << 20);
    assert_eq!(bench.rows("ref_loose"), 0);
}

#[tokio::test]
async fn two_puts_of_the_same_large_content_leave_one() {
    let bench = Bench::new("").await;
    let put = |name: &str| bench.store.put(raw(1, 5 << 20).held_by(holder(name)));
    let (a, b) = tokio::join!(put("a"), put("b"));
    assert!(a.unwrap().created != b.unwrap().created);
    let id = ReferenceId::of(&raw(1, 5 << 20).bytes);
    assert_eq!(bench.store.stat(&id).await.unwrap().holders, 2);
    bench.until("ref_chunk", 80).await;
    bench.until("ref_loose", 0).await;
}

#[tokio::test]
async fn chunks_of_removed_content_go() {
    let bench = Bench::new("").await;
    let large = bench.store.put(raw(1, 5 << 20)).await.unwrap().reference.id;
    let small = bench.store.put(raw(2, 100_000)).await.unwrap().reference.id;
    assert_eq!(bench.rows("ref_chunk"), 82);
    assert!(bench.store.delete(&small).await.unwrap());
    assert_eq!(bench.rows("ref_chunk"), 80);
    assert!(bench.store.delete(&large).await.unwrap());
    assert_eq!(bench.store.stats().await.unwrap().stored_bytes, 0);
    let gone = bench.store.resolve(&large).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    bench.until("ref_chunk", 0).await;
    bench.until("ref_loose", 0).await;
    assert_eq!(bench.rows("ref_holder"), 0);
}

#[tokio::test]
async fn large_content_that_finds_no_room_leaves_nothing() {
    let bench = Bench::new("?quota=6000000").await;
    bench.store.put(raw(1, 3 << 20)).await.unwrap();
    for size in [4 << 20, 7 << 20] {
        let refused = bench.store.put(raw(2, size)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::QuotaExceeded);
    }
    assert_eq!(bench.store.stats().await.unwrap().entries, 1);
    bench.until("ref_chunk", 48).await;
}

#[tokio::test]
async fn what_nobody_holds_is_collected_without_being_asked() {
    let bench = Bench::new("?gc_interval=200ms").await;
    let kept = bench.store.put(raw(1, 10)).await.unwrap().reference.id;
    let gone = bench.store.put(raw(2, 10)).await.unwrap().reference.id;
    bench.store.release(&gone, &holder("h")).await.unwrap();
    bench.until("ref_content", 1).await;
    assert!(bench.store.stat(&kept).await.is_ok());
    let stats = bench.store.stats().await.unwrap();
    assert_eq!((stats.entries, stats.held, stats.evictions), (1, 1, 1));
}

#[tokio::test]
async fn sums_stand_after_reopening_and_holders_expire() {
    let bench = Bench::new("").await;
    let id = bench.store.put(raw(1, 10)).await.unwrap().reference.id;
    let brief = Some(Duration::from_millis(30));
    bench.store.retain(&id, &holder("h"), brief).await.unwrap();
    bench.backend.close().await.unwrap();
    let bench = Bench::open(Arc::clone(&bench.directory), "").await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while bench.store.stat(&id).await.unwrap().holders > 0 {
        assert!(tokio::time::Instant::now() < deadline);
        // sleep: the interval of a poll with a deadline
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let stats = bench.store.stats().await.unwrap();
    assert_eq!((stats.entries, stats.held, stats.plain_bytes), (1, 0, 10));
    let collected = bench.store.collect_garbage().await.unwrap();
    assert_eq!((collected.entries, collected.bytes), (1, 10));
}

#[tokio::test]
async fn a_use_of_cache_content_counts_after_a_refused_put() {
    let bench = Bench::new("?quota=100000").await;
    let cached = |salt| PutContent {
        cache: true,
        holder: None,
        ..raw(salt, 40_000)
    };
    let first = bench.store.put(cached(1)).await.unwrap().reference.id;
    let second = bench.store.put(cached(2)).await.unwrap().reference.id;
    bench.store.resolve(&first).await.unwrap();
    bench
        .store
        .put(raw(3, 90_000).held_by(holder("x")))
        .await
        .unwrap();
    let none = bench.store.stat(&first).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NotFound);
    bench
        .store
        .delete(&ReferenceId::of(&raw(3, 90_000).bytes))
        .await
        .unwrap();

    bench.store.put(cached(1)).await.unwrap();
    bench.store.put(cached(2)).await.unwrap();
    bench.store.resolve(&first).await.unwrap();
    bench.store.put(raw(4, 10_000)).await.unwrap();
    let refused = bench.store.put(raw(5, 95_000)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::QuotaExceeded);
    bench.store.put(raw(6, 20_000)).await.unwrap();
    assert!(bench.store.stat(&first).await.is_ok());
    assert!(bench.store.stat(&second).await.is_err());
}
