//! What is forgotten is gone from the file, and what is kept reads as before, whatever order
//! pruning, forgetting and trimming come in.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use rusqlite::Connection;
use statehouse_contracts::{
    Backend, ContentType, Endpoint, ErrorKind, Factory, HistoryQuery, OpId, Operation,
    Precondition, Prune, RollbackTo, Scope, StateKey, StateManager, StateManagerExt, Transaction,
    Trim, Write,
};
use statehouse_sqlite::SqliteFactory;
use tempfile::TempDir;

struct House {
    folder: TempDir,
    _backend: Arc<dyn Backend>,
    state: Arc<dyn StateManager>,
}

impl House {
    async fn open(parameters: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let url = format!("sqlite:{}{parameters}", path.display());
        let endpoint = Endpoint::parse(&url).unwrap();
        let backend = SqliteFactory.open(&endpoint).await.unwrap();
        let scope = Scope::parse("default", "tester").unwrap();
        let state = backend.state(&scope).await.unwrap();
        Self {
            folder,
            _backend: backend,
            state,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("a.db")
    }

    fn count(&self, sql: &str) -> i64 {
        let connection = Connection::open(self.path()).unwrap();
        connection.query_row(sql, (), |row| row.get(0)).unwrap()
    }

    async fn eventually(&self, sql: &str, wanted: i64) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.count(sql) != wanted {
            assert!(Instant::now() < deadline, "{sql} is {}", self.count(sql));
            // sleep: between two looks of a poll with a deadline
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn key(id: &str) -> StateKey {
    StateKey::parse("note", id).unwrap()
}

fn put(id: &str, data: &str) -> Transaction {
    Transaction::of(Write::put(key(id), data.to_owned(), ContentType::TEXT))
}

fn keep(keep: u64) -> Prune {
    Prune {
        keep_last: Some(keep),
        ..Prune::default()
    }
}

fn newest(keep: u64) -> Trim {
    Trim {
        keep_last: Some(keep),
        max_age: None,
    }
}

const FORGET: Prune = Prune {
    kind: None,
    key: None,
    keep_last: None,
    max_age: None,
    tombstones: Some(Duration::ZERO),
};

/// Rows that neither a reader, nor the change log, nor a later version needs.
const LEFTOVERS: &str = "
    SELECT (SELECT count(*) FROM state_version v WHERE pruned = 1
            AND v.pos & ((1 << 40) - 1) <= (SELECT coalesce(max(place), 0) FROM state_trimmed)
            AND NOT EXISTS (SELECT 1 FROM state_version u WHERE u.key = v.key AND u.pruned = 0
                            AND u.tombstone = 0 AND v.version BETWEEN u.base AND u.version))
         + (SELECT count(*) FROM state_key WHERE life = 3
            AND NOT EXISTS (SELECT 1 FROM state_version v WHERE v.key = state_key.key))";

/// Pruned data that no version that is kept is built on.
const LEFT_DATA: &str = "
    SELECT count(*) FROM state_version v WHERE pruned = 1 AND data IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM state_version u WHERE u.key = v.key AND u.pruned = 0
                        AND u.tombstone = 0 AND v.version BETWEEN u.base AND u.version)";

#[derive(Clone, Debug)]
enum Step {
    Put(usize),
    Append(usize),
    Delete(usize),
    Rollback(usize),
    Prune(u64),
    Forget,
    Trim(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..3usize).prop_map(Step::Put),
        5 => (0..3usize).prop_map(Step::Append),
        2 => (0..3usize).prop_map(Step::Delete),
        1 => (0..3usize).prop_map(Step::Rollback),
        2 => (1..4u64).prop_map(Step::Prune),
        1 => Just(Step::Forget),
        2 => (0..6u64).prop_map(Step::Trim),
    ]
}

/// The content of every version there ever was, by key; `None` for tombstones.
type Story = BTreeMap<(String, u64), Option<String>>;

const IDS: [&str; 3] = ["a", "b", "c"];

async fn forget(state: &Arc<dyn StateManager>, prune: Prune) {
    state.prune(prune).await.unwrap();
}

async fn run(house: &House, story: &mut Story, turn: usize, step: &Step) {
    let text = format!("<{turn}>");
    let state = &house.state;
    let write = match *step {
        Step::Put(id) => Write::put(key(IDS[id]), text, ContentType::TEXT),
        Step::Append(id) => Write::append(key(IDS[id]), text),
        Step::Delete(id) => Write::delete(key(IDS[id])),
        Step::Rollback(id) => Write::rollback(key(IDS[id]), RollbackTo::Previous),
        Step::Prune(last) => return forget(state, keep(last)).await,
        Step::Forget => return forget(state, FORGET).await,
        Step::Trim(last) => {
            state.trim(newest(last)).await.unwrap();
            return;
        }
    };
    let id = write.key.id.to_string();
    let before = state.get(&write.key).await.unwrap();
    let Ok(applied) = state.apply(Transaction::of(write.clone())).await else {
        assert!(matches!(step, Step::Rollback(_)));
        return;
    };
    let version = applied.versions[0];
    let told = |version: u64| story.get(&(id.clone(), version)).cloned().flatten();
    let content = match step {
        Step::Append(_) => {
            let old = before.map_or(String::new(), |record| {
                told(record.version).expect("what is live has content")
            });
            Some(format!("{old}<{turn}>"))
        }
        Step::Put(_) => Some(format!("<{turn}>")),
        Step::Rollback(_) => told(version.saturating_sub(2)),
        _ => None,
    };
    story.entry((id, version)).or_insert(content);
}

async fn reads_as_told(house: &House, story: &Story) {
    for id in IDS {
        let key = key(id);
        let history = house.state.history(&key, HistoryQuery::default()).await;
        for record in history.unwrap() {
            let told = &story[&(id.to_owned(), record.version)];
            assert_eq!(record.tombstone.is_some(), told.is_none(), "{record:?}");
            assert_eq!(record.data, told.clone().unwrap_or_default(), "{record:?}");
            let alone = house.state.read_version(&key, record.version).await;
            assert_eq!(alone.unwrap(), record);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_kept_reads_as_before_and_nothing_else_is_left(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let house = House::open("?synchronous=normal").await;
            let mut story = Story::new();
            for (turn, step) in steps.iter().enumerate() {
                run(&house, &mut story, turn, step).await;
                reads_as_told(&house, &story).await;
                assert_eq!(house.count(LEFTOVERS), 0, "rows left over after {step:?}");
                assert_eq!(house.count(LEFT_DATA), 0, "data left over after {step:?}");
            }
        });
    }
}

#[tokio::test]
async fn a_long_conversation_is_stored_once_and_pruned_to_its_content() {
    let house = House::open("?synchronous=normal").await;
    let part = "x".repeat(1000);
    for _ in 0..1200 {
        house
            .state
            .append(&key("talk"), part.clone().into())
            .await
            .unwrap();
    }
    let bytes = "SELECT sum(length(data)) FROM state_version";
    assert_eq!(
        house.count(bytes),
        1_200_000,
        "each append stores what it appended"
    );
    let pruned = house.state.prune(keep(1)).await.unwrap();
    assert_eq!(pruned.versions, 1199);
    let record = house.state.get(&key("talk")).await.unwrap().unwrap();
    assert_eq!((record.version, record.data.len()), (1200, 1_200_000));
    house.state.apply(put("talk", "new")).await.unwrap();
    house.state.prune(keep(1)).await.unwrap();
    assert_eq!(house.count(bytes), 3);
    house.state.trim(newest(0)).await.unwrap();
    assert_eq!(house.count("SELECT count(*) FROM state_version"), 1);
}

#[tokio::test]
async fn the_change_log_stays_within_its_bound() {
    let house = House::open("?change_log_keep=3").await;
    for turn in 0..8 {
        house
            .state
            .apply(put("a", &turn.to_string()))
            .await
            .unwrap();
    }
    house
        .eventually("SELECT coalesce(max(place), 0) FROM state_trimmed", 5)
        .await;
    let oldest = house.state.oldest().await.unwrap();
    let page = house
        .state
        .changes(&oldest, 0, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(page.changes.len(), 3);
    let history = house
        .state
        .history(&key("a"), HistoryQuery::default())
        .await;
    assert_eq!(
        history.unwrap().len(),
        8,
        "a trimmed change is no pruned version"
    );
}

#[tokio::test]
async fn op_ids_are_forgotten_after_their_window() {
    let house = House::open("?op_window=200ms").await;
    let transaction = Transaction {
        op_id: Some(OpId::new("once").unwrap()),
        ..put("a", "x")
    };
    let first = house.state.apply(transaction.clone()).await.unwrap();
    house.eventually("SELECT count(*) FROM state_op", 0).await;
    let again = house.state.apply(transaction).await.unwrap();
    assert!(!again.replayed && again.commit > first.commit);
    assert_eq!(again.versions, [2]);
}

#[tokio::test]
async fn a_tombstone_that_is_forgotten_leaves_its_floor() {
    let house = House::open("").await;
    for data in ["1", "2", "3"] {
        house.state.apply(put("a", data)).await.unwrap();
    }
    house
        .state
        .delete(&key("a"), Precondition::None)
        .await
        .unwrap();
    let pruned = house.state.prune(FORGET).await.unwrap();
    assert_eq!((pruned.versions, pruned.keys), (4, 1));
    let head = house.state.head().await.unwrap();
    assert_eq!(
        house.state.apply(put("b", "x")).await.unwrap().versions,
        [5]
    );
    // The log still names the forgotten key, beside the new one of the same name.
    assert_eq!(
        house.state.apply(put("a", "x")).await.unwrap().versions,
        [5]
    );
    let oldest = house.state.oldest().await.unwrap();
    let changes = house
        .state
        .changes(&oldest, 0, Duration::ZERO)
        .await
        .unwrap();
    let versions: Vec<u64> = changes
        .changes
        .iter()
        .map(|change| change.version)
        .collect();
    assert_eq!(versions, [1, 2, 3, 4, 5, 5]);
    assert!(
        changes.changes[..4]
            .iter()
            .all(|change| change.content.is_none())
    );
    assert_eq!(
        house
            .state
            .changes(&head, 0, Duration::ZERO)
            .await
            .unwrap()
            .changes
            .len(),
        2
    );
    house.state.trim(newest(2)).await.unwrap();
    assert_eq!(house.count("SELECT count(*) FROM state_key"), 2);
}

#[tokio::test]
async fn a_key_whose_versions_are_used_up_is_refused_and_nothing_else() {
    let house = House::open("").await;
    house.state.apply(put("a", "x")).await.unwrap();
    let mut record = house.state.get(&key("a")).await.unwrap().unwrap();
    record.version = u64::try_from(i64::MAX).unwrap();
    record.expires_at = Some(record.updated_at);
    assert_eq!(house.state.import(vec![record]).await.unwrap(), [true]);
    assert!(house.state.get(&key("a")).await.unwrap().is_none());
    let error = house.state.apply(put("a", "y")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    let brief = Write {
        operation: Operation::Put {
            data: "x".into(),
            content_type: ContentType::TEXT,
            schema: None,
            ttl: Some(Duration::from_millis(1)),
        },
        ..Write::delete(key("b"))
    };
    house.state.apply(Transaction::of(brief)).await.unwrap();
    house
        .eventually("SELECT count(*) FROM state_key WHERE life = 2", 1)
        .await;
    let history = house
        .state
        .history(&key("a"), HistoryQuery::default())
        .await;
    assert_eq!(history.unwrap().len(), 2);
}
