//! Main, replica and rollback on three SQLite files.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Store, eventually, key, put};
use statehouse_contracts::{
    ErrorKind, Kind, ListQuery, Operation, Precondition, Prune, StateManager, StateManagerExt,
    Transaction, Write,
};
use statehouse_state::{Source, Trio, TrioOptions};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Setup {
    trio: Arc<Trio>,
    main: Store,
    replica: Store,
    rollback: Store,
}

impl Setup {
    async fn new() -> Self {
        let (main, replica, rollback) = (
            Store::open().await,
            Store::open().await,
            Store::open().await,
        );
        let trio = Self::trio(&main, &replica, &rollback).await;
        Self {
            trio,
            main,
            replica,
            rollback,
        }
    }

    async fn trio(main: &Store, replica: &Store, rollback: &Store) -> Arc<Trio> {
        let (main, replica, rollback) = (
            main.state().await,
            replica.state().await,
            rollback.state().await,
        );
        Arc::new(Trio::new(main, replica, rollback, TrioOptions::default()))
    }

    fn feed(&self) -> Feeding {
        let (stop, trio) = (CancellationToken::new(), Arc::clone(&self.trio));
        let token = stop.clone();
        Feeding {
            task: tokio::spawn(async move { trio.run_feeds(token).await.unwrap() }),
            stop,
        }
    }

    async fn source(&self, id: &str) -> Source {
        self.trio.read_many(&[key(id)]).await.unwrap().source
    }

    async fn fed(&self) {
        eventually("both feeds at the head", || async {
            let status = self.trio.status().await;
            (status.replica.lag == Some(0) && status.rollback.lag == Some(0)).then_some(())
        })
        .await;
    }

    async fn previous(&self, id: &str) -> Option<(u64, String)> {
        let record = self.trio.previous(&key(id)).await.unwrap()?;
        Some((
            record.version,
            String::from_utf8(record.data.to_vec()).unwrap(),
        ))
    }
}

struct Feeding {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Feeding {
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn a_process_reads_its_own_writes_and_the_replica_the_rest() {
    let setup = Setup::new().await;
    setup.trio.write(put("a", "1")).await.unwrap();
    assert_eq!(setup.trio.get(&key("a")).await.unwrap().unwrap().data, "1");
    assert_eq!(setup.source("a").await, Source::Main);
    assert_eq!(setup.source("b").await, Source::Replica);

    let feeding = setup.feed();
    eventually("the replica answers", || async {
        (setup.source("a").await == Source::Replica).then_some(())
    })
    .await;
    assert_eq!(setup.trio.get(&key("a")).await.unwrap().unwrap().data, "1");
    setup
        .trio
        .delete(&key("a"), Precondition::None)
        .await
        .unwrap();
    assert!(setup.trio.get(&key("a")).await.unwrap().is_none());
    feeding.stop().await;
}

#[tokio::test]
async fn a_list_holds_what_this_process_wrote() {
    let setup = Setup::new().await;
    let feeding = setup.feed();
    for n in 0..50 {
        setup
            .trio
            .write(put(&format!("{n:02}"), "x"))
            .await
            .unwrap();
        let page = setup
            .trio
            .list(ListQuery::new(Kind::new("task").unwrap()))
            .await
            .unwrap();
        assert_eq!(page.items.len(), n + 1);
    }
    feeding.stop().await;
}

#[tokio::test]
async fn the_rollback_store_is_one_step_behind() {
    let setup = Setup::new().await;
    let feeding = setup.feed();
    setup.trio.write(put("a", "1")).await.unwrap();
    setup.fed().await;
    assert_eq!(setup.previous("a").await, None);
    setup.trio.write(put("a", "2")).await.unwrap();
    setup.trio.append(&key("a"), "+".into()).await.unwrap();
    setup.fed().await;
    assert_eq!(setup.previous("a").await, Some((2, "2".into())));
    setup
        .trio
        .delete(&key("a"), Precondition::None)
        .await
        .unwrap();
    setup.fed().await;
    assert_eq!(setup.previous("a").await, Some((3, "2+".into())));

    let version = setup
        .trio
        .restore(&key("a"), Precondition::Absent)
        .await
        .unwrap();
    assert_eq!(version, 5);
    assert_eq!(setup.trio.get(&key("a")).await.unwrap().unwrap().data, "2+");
    let error = setup
        .trio
        .restore(&key("b"), Precondition::None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    feeding.stop().await;
}

#[tokio::test]
async fn a_prune_on_main_does_not_hurt_it_and_it_catches_up() {
    let setup = Setup::new().await;
    let feeding = setup.feed();
    setup.trio.write(put("a", "1")).await.unwrap();
    setup.trio.write(put("a", "2")).await.unwrap();
    setup.fed().await;
    feeding.stop().await;

    setup.trio.write(put("a", "3")).await.unwrap();
    setup.trio.write(put("a", "4")).await.unwrap();
    let feeding = setup.feed();
    setup.fed().await;
    assert_eq!(setup.previous("a").await, Some((3, "3".into())));
    setup
        .trio
        .prune(Prune {
            keep_last: Some(1),
            ..Prune::default()
        })
        .await
        .unwrap();
    assert_eq!(setup.previous("a").await, Some((3, "3".into())));
    let replicated = setup
        .replica
        .state()
        .await
        .get(&key("a"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((replicated.version, replicated.data), (4, "4".into()));
    feeding.stop().await;
}

#[tokio::test]
async fn another_process_finds_the_feeds_where_they_were() {
    let setup = Setup::new().await;
    setup.trio.write(put("a", "1")).await.unwrap();
    setup.trio.write(put("a", "2")).await.unwrap();
    let feeding = setup.feed();
    setup.fed().await;
    feeding.stop().await;
    let again = Setup::trio(&setup.main, &setup.replica, &setup.rollback).await;
    let again = Setup {
        trio: again,
        ..setup
    };
    assert_eq!(again.source("a").await, Source::Replica);
    assert_eq!(again.previous("a").await, Some((1, "1".into())));
}

#[tokio::test]
async fn with_main_down_reads_go_on_and_writes_fail() {
    let setup = Setup::new().await;
    let feeding = setup.feed();
    setup.trio.write(put("a", "1")).await.unwrap();
    setup.fed().await;
    feeding.stop().await;
    setup.trio.write(put("a", "2")).await.unwrap();
    setup.main.backend.close().await.unwrap();

    let read = setup.trio.read_many(&[key("a")]).await.unwrap();
    assert!(read.stale && read.source == Source::Replica);
    assert_eq!(read.records[0].as_ref().unwrap().data, "1");
    assert!(setup.trio.write(put("a", "3")).await.is_err());
    let status = setup.trio.status().await;
    assert!(status.main.reachable.is_err() && status.replica.reachable.is_ok());
}

#[tokio::test]
async fn with_the_replica_down_main_answers() {
    let setup = Setup::new().await;
    let feeding = setup.feed();
    setup.trio.write(put("a", "1")).await.unwrap();
    setup.fed().await;
    feeding.stop().await;
    setup.replica.backend.close().await.unwrap();
    let read = setup.trio.read_many(&[key("a")]).await.unwrap();
    assert_eq!((read.source, read.stale), (Source::Main, false));
    assert!(read.records[0].is_some());
    // A longer outage: the rollback store goes on by itself.
    let feeding = setup.feed();
    setup.trio.write(put("a", "2")).await.unwrap();
    eventually("the rollback store goes on", || async {
        setup.previous("a").await
    })
    .await;
    tokio::time::timeout(Duration::from_secs(5), feeding.stop())
        .await
        .unwrap();
}

/// A write of a record that lives for `ttl`.
fn put_for(id: &str, text: &str, ttl: Duration) -> Write {
    let mut write = put(id, text);
    if let Operation::Put { ttl: lives, .. } = &mut write.operation {
        *lives = Some(ttl);
    }
    write
}

async fn expires_in(store: &Store, id: &str, version: u64) {
    let state = store.state().await;
    eventually("the record expires", || async {
        let history = state.history(&key(id), Default::default()).await.unwrap();
        history
            .first()
            .is_some_and(|newest| newest.version == version && newest.tombstone.is_some())
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_record_that_was_renewed_while_the_replica_lagged_lives_on_there() {
    let setup = Setup::new().await;
    let feeding = setup.feed();
    let ttl = Duration::from_secs(2);
    setup.trio.write(put_for("a", "1", ttl)).await.unwrap();
    setup.fed().await;
    feeding.stop().await;

    // Main renews it in time; the replica does not hear of that before it expires there.
    setup.trio.write(put("a", "2")).await.unwrap();
    expires_in(&setup.replica, "a", 2).await;
    let feeding = setup.feed();
    setup.fed().await;
    let replica = setup.replica.state().await;
    let record = replica.get(&key("a")).await.unwrap().unwrap();
    assert_eq!((record.version, record.data), (2, "2".into()));
    setup.trio.write(put("a", "3")).await.unwrap();
    setup.fed().await;
    assert_eq!(replica.get(&key("a")).await.unwrap().unwrap().version, 3);
    feeding.stop().await;
}

#[tokio::test]
async fn what_expires_does_not_go_from_the_rollback_store() {
    let setup = Setup::new().await;
    let feeding = setup.feed();
    let ttl = Duration::from_millis(300);
    setup.trio.write(put_for("a", "1", ttl)).await.unwrap();
    expires_in(&setup.main, "a", 2).await;
    setup.fed().await;
    assert_eq!(setup.previous("a").await, Some((1, "1".into())));

    let ttl = Duration::from_secs(2);
    setup.trio.write(put_for("b", "1", ttl)).await.unwrap();
    setup.trio.write(put("b", "2")).await.unwrap();
    setup.fed().await;
    // sleep: what is tested is that nothing happens while the life of version 1 ends.
    tokio::time::sleep(Duration::from_secs(4)).await;
    setup.trio.write(put("b", "3")).await.unwrap();
    setup.fed().await;
    assert_eq!(setup.previous("b").await, Some((2, "2".into())));
    feeding.stop().await;
}

#[tokio::test]
async fn half_a_transaction_in_the_replica_does_not_pass_for_all_of_it() {
    let setup = Setup::new().await;
    // More writes than the feed takes in one page.
    let writes = |text: &str| {
        let writes = (0..300).map(|n| put(&format!("{n:03}"), text));
        Transaction {
            writes: writes.collect(),
            ..Transaction::default()
        }
    };
    setup.trio.apply(writes("1")).await.unwrap();
    let feeding = setup.feed();
    setup.fed().await;
    for round in 2..12 {
        let text = round.to_string();
        setup.trio.apply(writes(&text)).await.unwrap();
        eventually("the replica answers", || async {
            let read = setup.trio.read_many(&[key("299")]).await.unwrap();
            assert_eq!(read.records[0].as_ref().unwrap().data, text.as_str());
            (read.source == Source::Replica).then_some(())
        })
        .await;
    }
    feeding.stop().await;
}
