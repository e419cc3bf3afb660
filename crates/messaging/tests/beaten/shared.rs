//! Shared memory.

use std::time::Duration;

use statehouse_contracts::{ContentType, ErrorKind, Precondition, StateManagerExt};
use statehouse_messaging::{PutShared, SharedEvent, SharedMemory, SharedScope, SharedWatch};

use crate::world::*;

async fn shared() -> SharedMemory {
    SharedMemory::new(state(&memory().await).await, "planner").unwrap()
}

async fn put(memory: &SharedMemory, scope: &SharedScope, name: &str, value: &str) -> u64 {
    let key = memory.key(scope, name).unwrap();
    let put = PutShared::new(value.to_owned());
    memory.put(&key, put).await.unwrap().version
}

async fn next(watch: &mut SharedWatch) -> SharedEvent {
    watch.next(WAIT).await.unwrap().unwrap()
}

/// A number of a namespace that was none wrote into a nil map: a panic.
#[test]
fn bb3_an_unknown_scope_is_refused() {
    for scope in ["", "6", "999", "-1", "team:1", "workflow", "GLOBAL"] {
        let error = scope.parse::<SharedScope>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{scope}");
    }
}

/// Versions began at 1 again after a delete: a write under a version from before it succeeded, over
/// what somebody else had written.
#[tokio::test]
async fn bb10_a_version_from_before_a_delete_is_stale() {
    let disk = Disk::new();
    let backends = [memory().await, disk.open().await];
    for backend in backends {
        let memory = SharedMemory::new(state(&backend).await, "planner").unwrap();
        let key = memory.key(&SharedScope::Global, "plan").unwrap();
        let read = put(&memory, &SharedScope::Global, "plan", "old").await;
        memory.delete(&key, Precondition::None).await.unwrap();
        let new = put(&memory, &SharedScope::Global, "plan", "new").await;
        assert!(new > read, "{new} after {read}");
        let stale = Precondition::Version(read);
        let write = memory.put(&key, PutShared::new("lost").when(stale)).await;
        assert_eq!(write.unwrap_err().kind(), ErrorKind::Conflict);
        let delete = memory.delete(&key, stale).await;
        assert_eq!(delete.unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(memory.get(&key).await.unwrap().unwrap().value, "new");
    }
}

/// Watchers were told of puts alone: three events for put, put, delete, put.
#[tokio::test]
async fn bb10_a_watch_sees_deletes() {
    let memory = shared().await;
    let scope = SharedScope::Global;
    let mut watch = memory.watch(&scope, "*", false).await.unwrap();
    put(&memory, &scope, "k", "1").await;
    put(&memory, &scope, "k", "2").await;
    let key = memory.key(&scope, "k").unwrap();
    memory.delete(&key, Precondition::None).await.unwrap();
    put(&memory, &scope, "k", "4").await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(match next(&mut watch).await {
            SharedEvent::Put { value, .. } => Some(value.value.clone()),
            SharedEvent::Gone { .. } => None,
        });
    }
    assert_eq!(
        seen,
        [Some("1".into()), Some("2".into()), None, Some("4".into())]
    );
}

/// A watcher's end was ignored: three of three remained after they were cancelled.
#[tokio::test]
async fn bb10_nothing_stays_of_a_watch() {
    let memory = shared().await;
    let scope = SharedScope::Workflow("w".into());
    let mut watches = Vec::new();
    for _ in 0..3 {
        watches.push(memory.watch(&scope, "*", true).await.unwrap());
    }
    assert_eq!(memory.stats(&scope).await.unwrap().watches, 3);
    // One in the middle of a wait.
    let waiting = watches[0].next(WAIT);
    drop(tokio::time::timeout(Duration::from_millis(5), waiting).await);
    drop(watches);
    assert_eq!(memory.stats(&scope).await.unwrap().watches, 0);
}

/// Initial values were told as they were stored: 26 bytes for a value of 100,000.
#[tokio::test]
async fn bb10_initial_values_are_plain() {
    let memory = shared().await;
    let scope = SharedScope::Session("s".into());
    let value = "a".repeat(100_000);
    let key = memory.key(&scope, "k").unwrap();
    let written = memory
        .put(&key, PutShared::new(value.clone()))
        .await
        .unwrap();
    assert!(written.stored_size < 1_000, "it is compressed");
    let mut watch = memory.watch(&scope, "k", true).await.unwrap();
    let SharedEvent::Put { value: seen, .. } = next(&mut watch).await else {
        panic!("the initial value");
    };
    assert_eq!(seen.value, value);
    assert_eq!(seen.checksum, written.checksum);
}

/// A pattern met an agent's keys with the agent's name before them, so it matched none.
#[tokio::test]
async fn bb10_patterns_match_private_keys_by_their_names() {
    let memory = shared().await;
    put(&memory, &SharedScope::Agent, "plan-1", "x").await;
    let mut watch = memory
        .watch(&SharedScope::Agent, "plan-*", true)
        .await
        .unwrap();
    let SharedEvent::Put { key, .. } = next(&mut watch).await else {
        panic!("the initial value");
    };
    assert_eq!(key.name(), "plan-1");
    let found = memory.list(&SharedScope::Agent, "plan-?", 0, None).await;
    assert_eq!(found.unwrap().items.len(), 1);
}

/// The key `b:secret` of the agent `a` was the key `secret` of the agent `a:b`, who could read it.
#[tokio::test]
async fn bb10_no_name_reaches_into_another_agents_keys() {
    let first = shared().await;
    let (a, a_b) = (
        first.for_agent("a").unwrap(),
        first.for_agent("a:b").unwrap(),
    );
    let (slash, empty) = (first.for_agent("a/b").unwrap(), first.for_agent("").err());
    assert!(empty.is_some(), "everybody has a name");
    put(&a, &SharedScope::Agent, "b:secret", "mine").await;
    put(&a, &SharedScope::Agent, "b/secret", "mine").await;
    for other in [a_b, slash] {
        let guess = other.key(&SharedScope::Agent, "secret").unwrap();
        assert_eq!(other.get(&guess).await.unwrap(), None);
        let all = other.list(&SharedScope::Agent, "*", 0, None).await.unwrap();
        assert!(all.items.is_empty());
        let theirs = a.key(&SharedScope::Agent, "b:secret").unwrap();
        let stolen = other.get(&theirs).await.unwrap_err();
        assert_eq!(stolen.kind(), ErrorKind::PermissionDenied);
    }
}

/// Two workflows shared their keys: the namespace said which sort, and not which one.
#[tokio::test]
async fn bb10_two_workflows_do_not_share_keys() {
    let memory = shared().await;
    let scopes: Vec<SharedScope> = [
        "workflow:1",
        "workflow:2",
        "swarm:1",
        "debate:1",
        "session:1",
    ]
    .iter()
    .map(|scope| scope.parse().unwrap())
    .collect();
    for scope in &scopes {
        put(&memory, scope, "k", &scope.to_string()).await;
    }
    for scope in &scopes {
        let key = memory.key(scope, "k").unwrap();
        let value = memory.get(&key).await.unwrap().unwrap();
        assert_eq!(
            (&value.value[..], value.version),
            (scope.to_string().as_bytes(), 1)
        );
    }
}

/// The checksum was that of the compressed bytes, and no read looked at it.
#[tokio::test]
async fn bb9_a_shared_value_is_verified() {
    let state = state(&memory().await).await;
    let memory = SharedMemory::new(state.clone(), "planner").unwrap();
    let key = memory.key(&SharedScope::Global, "k").unwrap();
    let written = memory.put(&key, PutShared::new("right")).await.unwrap();
    assert_eq!(
        written.checksum,
        statehouse_contracts::ReferenceId::of(b"right")
    );
    let marks: ContentType = state.get(key.record()).await.unwrap().unwrap().content_type;
    let damage = state.put(key.record(), "wrong".into(), marks, Precondition::None);
    damage.await.unwrap();
    let error = memory.get(&key).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted);
}
