//! The state service: cache, events and watch together.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Store, eventually, key, put, scope};
use statehouse_contracts::{Glob, Kind, Namespace, Precondition, StateManagerExt, Transaction};
use statehouse_state::{
    CacheFeed, CacheOptions, Relay, RelayOptions, StateCache, StateService, WatchFilter,
};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_cached_reader_sees_its_own_writes_at_once_and_those_of_others_by_events() {
    let store = Store::open().await;
    let cache = Arc::new(StateCache::new(CacheOptions::default()));
    let service = StateService::new(store.state().await, Some(Arc::clone(&cache)));
    let stop = CancellationToken::new();
    let consumer = store.backend.consumer(&scope()).await.unwrap();
    tokio::spawn(CacheFeed::new(cache, consumer).run(stop.clone()));
    let producer = store.backend.producer(&scope()).await.unwrap();
    let options = RelayOptions::new("test");
    let relay = Relay::new(store.state().await, producer, Namespace::DEFAULT, options).unwrap();
    tokio::spawn(relay.run(stop.clone()));

    for text in ["1", "2"] {
        service
            .update(Transaction::of(put("a", text)))
            .await
            .unwrap();
        assert_eq!(service.get(&key("a")).await.unwrap().unwrap().data, text);
    }
    let other = store.state().await;
    other.write(put("a", "3")).await.unwrap();
    eventually("the event of the other's write", || async {
        let record = service.get(&key("a")).await.unwrap().unwrap();
        (record.data == "3").then_some(())
    })
    .await;
    other.delete(&key("a"), Precondition::None).await.unwrap();
    eventually("the event of the other's delete", || async {
        service
            .get(&key("a"))
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    stop.cancel();
}

#[tokio::test]
async fn a_watch_resumes_without_a_gap() {
    let store = Store::open().await;
    let service = StateService::new(store.state().await, None);
    let filter = WatchFilter {
        kind: Some(Kind::new("task").unwrap()),
        glob: Some(Glob::new("a*").unwrap()),
    };
    let mut watch = service.watch(filter.clone(), None).await.unwrap();
    for id in ["a1", "b1", "a2"] {
        service.update(Transaction::of(put(id, "x"))).await.unwrap();
    }
    let seen = |changes: Vec<statehouse_contracts::Change>| -> Vec<String> {
        changes
            .into_iter()
            .map(|change| change.key.id.to_string())
            .collect()
    };
    assert_eq!(
        seen(watch.next(Duration::from_secs(5)).await.unwrap()),
        ["a1", "a2"]
    );
    let cursor = watch.cursor().clone();
    drop(watch);
    service
        .update(Transaction::of(put("a3", "x")))
        .await
        .unwrap();
    let mut resumed = service.watch(filter, Some(cursor)).await.unwrap();
    assert_eq!(
        seen(resumed.next(Duration::from_secs(5)).await.unwrap()),
        ["a3"]
    );
    assert!(
        resumed
            .next(Duration::from_millis(20))
            .await
            .unwrap()
            .is_empty()
    );
}
