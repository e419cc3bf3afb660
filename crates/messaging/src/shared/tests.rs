mod model;

use std::time::Duration;

use futures::future::join_all;
use statehouse_contracts::{
    ContentType, Endpoint, ErrorKind, Factory, ReferenceId, Scope, StateKey, StateManagerExt, Write,
};

use super::*;

async fn state() -> Arc<dyn StateManager> {
    let endpoint = Endpoint::parse("memory:").unwrap();
    let backend = statehouse_memory::Memory.open(&endpoint).await.unwrap();
    let backend = statehouse_layers::guard(backend);
    let scope = Scope::parse("default", "tester").unwrap();
    backend.state(&scope).await.unwrap()
}

async fn memory() -> SharedMemory {
    SharedMemory::new(state().await, "planner").unwrap()
}

fn global(memory: &SharedMemory, name: &str) -> SharedKey {
    memory.key(&SharedScope::Global, name).unwrap()
}

async fn text(memory: &SharedMemory, key: &SharedKey) -> Option<String> {
    let value = memory.get(key).await.unwrap()?;
    Some(String::from_utf8(value.value.to_vec()).unwrap())
}

async fn next(watch: &mut SharedWatch) -> SharedEvent {
    let event = watch.next(Duration::from_secs(10)).await.unwrap();
    event.expect("an event")
}

#[tokio::test]
async fn b39_scopes_do_not_see_each_other() {
    let first = memory().await;
    let ids = ["1", "2", "1/k", "*", "%2F", "a:b"];
    let mut scopes = vec![SharedScope::Global, SharedScope::Agent];
    for id in ids.map(str::to_owned) {
        scopes.extend([
            SharedScope::Workflow(id.clone()),
            SharedScope::Swarm(id.clone()),
            SharedScope::Debate(id.clone()),
            SharedScope::Session(id),
        ]);
    }
    for scope in &scopes {
        for name in ["k", "k/k", "*"] {
            let key = first.key(scope, name).unwrap();
            let only_new = PutShared::new(format!("{scope} {name}")).when(Precondition::Absent);
            first.put(&key, only_new).await.unwrap();
        }
    }
    for scope in &scopes {
        let page = first.list(scope, "*", 0, None).await.unwrap();
        let names: Vec<&str> = page.items.iter().map(|(key, _)| key.name()).collect();
        assert_eq!(names, ["*", "k", "k/k"], "{scope}");
        for (key, value) in &page.items {
            assert_eq!(value.value, format!("{scope} {}", key.name()));
        }
    }
    assert_eq!(first.clear(&scopes[2]).await.unwrap(), 3);
    let left = first.stats(&scopes[3]).await.unwrap();
    assert_eq!(left.keys, 3);
}

#[tokio::test]
async fn b39_no_name_reaches_into_another_agents_memory() {
    let a = SharedMemory::new(state().await, "a").unwrap();
    let a_b = a.for_agent("a:b").unwrap();
    let slash = a.for_agent("a/b").unwrap();
    let secret = a.key(&SharedScope::Agent, "b:secret").unwrap();
    a.put(&secret, PutShared::new("mine")).await.unwrap();
    for (other, name) in [(&a_b, "secret"), (&slash, "secret"), (&a_b, "b:secret")] {
        let guess = other.key(&SharedScope::Agent, name).unwrap();
        assert_eq!(text(other, &guess).await, None);
        assert!(
            other
                .list(&SharedScope::Agent, "*", 0, None)
                .await
                .unwrap()
                .items
                .is_empty()
        );
    }
    let stolen = a_b.get(&secret).await.unwrap_err();
    assert_eq!(stolen.kind(), ErrorKind::PermissionDenied);
    let overwritten = a_b.put(&secret, PutShared::new("yours")).await.unwrap_err();
    assert_eq!(overwritten.kind(), ErrorKind::PermissionDenied);
    let deleted = a_b.delete(&secret, Precondition::None).await.unwrap_err();
    assert_eq!(deleted.kind(), ErrorKind::PermissionDenied);
    assert!(a_b.peek(&secret).is_none());
    assert_eq!(text(&a, &secret).await.as_deref(), Some("mine"));
}

#[test]
fn bb3_an_unknown_scope_is_refused() {
    for text in [
        "global",
        "agent",
        "workflow:w:1",
        "swarm:s",
        "debate:d",
        "session:x",
    ] {
        assert_eq!(text.parse::<SharedScope>().unwrap().to_string(), text);
    }
    for bad in [
        "",
        "7",
        "workflow",
        "workflow:",
        "agent:b",
        "global:x",
        "team:1",
    ] {
        let error = bad.parse::<SharedScope>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{bad}");
    }
}

#[tokio::test]
async fn what_makes_no_key_is_refused() {
    let memory = memory().await;
    let long = "x".repeat(513);
    let nowhere = SharedScope::Swarm(String::new());
    let refused = [
        memory.key(&SharedScope::Global, ""),
        memory.key(&SharedScope::Global, &long),
        memory.key(&SharedScope::Global, "nul\0"),
        memory.key(&nowhere, "k"),
    ];
    for key in refused {
        assert_eq!(key.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    let nobody = SharedMemory::new(state().await, "").unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::InvalidArgument);
    let glob = memory
        .list(&SharedScope::Global, "[", 0, None)
        .await
        .unwrap_err();
    assert!(glob.to_string().contains("\"[\""), "{glob}");
    let max = memory.inner.state.capability().max_data;
    let huge = PutShared::new(vec![0; max + 1]);
    let refused = memory.put(&global(&memory, "k"), huge).await.unwrap_err();
    assert_eq!(
        refused.kind(),
        ErrorKind::InvalidArgument,
        "b51: also when it compresses well"
    );
}

#[tokio::test]
async fn b40_a_version_must_match() {
    let memory = memory().await;
    let key = global(&memory, "k");
    let written = memory.put(&key, PutShared::new("1")).await.unwrap();
    assert_eq!((written.version, written.stored_size), (1, 1));
    assert_eq!(written.checksum, ReferenceId::of(b"1"));
    let when = |value: &'static str, version| {
        let put = PutShared::new(value);
        memory.put(&key, put.when(Precondition::Version(version)))
    };
    assert_eq!(when("2", 1).await.unwrap().version, 2);
    let stale = when("lost", 1).await.unwrap_err();
    assert_eq!(
        (stale.kind(), stale.conflict_list()[0].current),
        (ErrorKind::Conflict, 2)
    );
    let stats = memory.stats(&SharedScope::Global).await.unwrap();
    assert_eq!((stats.keys, stats.stored_bytes), (1, 1));
    assert_eq!((stats.writes, stats.conflicts), (2, 1), "b46");
}

#[tokio::test]
async fn a_list_counts_as_a_read() {
    let memory = memory().await;
    memory.get(&global(&memory, "k")).await.unwrap();
    memory
        .list(&SharedScope::Global, "*", 0, None)
        .await
        .unwrap();
    assert_eq!(memory.stats(&SharedScope::Global).await.unwrap().reads, 2);
}

#[tokio::test]
async fn b43_a_delete_tells_whether_there_was_something() {
    let memory = memory().await;
    let key = global(&memory, "k");
    assert!(!memory.delete(&key, Precondition::None).await.unwrap());
    assert!(!memory.delete(&key, Precondition::Version(7)).await.unwrap());
    memory.put(&key, PutShared::new("1")).await.unwrap();
    let stale = memory
        .delete(&key, Precondition::Version(7))
        .await
        .unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::Conflict);
    assert!(memory.delete(&key, Precondition::Version(1)).await.unwrap());
    assert_eq!(text(&memory, &key).await, None, "b42: missing is no error");
}

#[tokio::test]
async fn b44_a_list_shows_names_that_match() {
    let memory = memory().await;
    for name in ["plan.a", "plan.b", "note"] {
        memory
            .put(&global(&memory, name), PutShared::new(name))
            .await
            .unwrap();
    }
    let names = async |pattern| {
        let page = memory
            .list(&SharedScope::Global, pattern, 0, None)
            .await
            .unwrap();
        let names = page.items.into_iter().map(|(key, _)| key.name().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names("plan.*").await, ["plan.a", "plan.b"]);
    assert_eq!(names("plan.[^a]").await, ["plan.b"]);
    assert_eq!(names("not?").await, ["note"]);
    assert_eq!(names("plan").await, [""; 0]);
    let page = memory
        .list(&SharedScope::Global, "*", 2, None)
        .await
        .unwrap();
    assert_eq!(page.items.len(), 2);
    let rest = memory
        .list(&SharedScope::Global, "*", 2, page.next)
        .await
        .unwrap();
    assert_eq!(rest.items[0].0.name(), "plan.b");
}

#[tokio::test]
async fn b45_a_watch_sees_everything_plain_and_deletes_too() {
    let memory = memory().await;
    let key = memory.key(&SharedScope::Agent, "plan").unwrap();
    let value = "long ".repeat(20_000);
    memory
        .put(&key, PutShared::new(value.clone()))
        .await
        .unwrap();
    let mut watch = memory
        .watch(&SharedScope::Agent, "pl*", true)
        .await
        .unwrap();
    let SharedEvent::Put { value: seen, .. } = next(&mut watch).await else {
        panic!("the initial value");
    };
    assert_eq!(seen.value, value, "not as it is compressed");
    memory.put(&key, PutShared::new("2")).await.unwrap();
    memory.delete(&key, Precondition::None).await.unwrap();
    let other = memory.key(&SharedScope::Agent, "other").unwrap();
    memory.put(&other, PutShared::new("x")).await.unwrap();
    memory.put(&key, PutShared::new("4")).await.unwrap();
    let mut versions = Vec::new();
    for _ in 0..3 {
        versions.push(match next(&mut watch).await {
            SharedEvent::Put { value, .. } => (value.version, true),
            SharedEvent::Gone {
                version, expired, ..
            } => (version, expired),
        });
    }
    assert_eq!(versions, [(2, true), (3, false), (4, true)]);
    assert_eq!(watch.next(Duration::ZERO).await.unwrap(), None);
}

#[tokio::test]
async fn b45_nothing_is_left_of_a_watch() {
    let memory = memory().await;
    for _ in 0..100 {
        let mut watch = memory.watch(&SharedScope::Global, "*", true).await.unwrap();
        let stats = memory.stats(&SharedScope::Global).await.unwrap();
        assert_eq!(stats.watches, 1);
        // Also when it is dropped while it waits.
        let waiting = watch.next(Duration::from_secs(60));
        drop(tokio::time::timeout(Duration::ZERO, waiting).await);
    }
    assert!(memory.watch(&SharedScope::Global, "[", true).await.is_err());
    assert_eq!(memory.stats(&SharedScope::Global).await.unwrap().watches, 0);
    assert!(memory.inner.state.followers().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_watch_sees_what_expires() {
    let memory = memory().await;
    let mut watch = memory
        .watch(&SharedScope::Global, "*", false)
        .await
        .unwrap();
    let brief = PutShared {
        ttl: Some(Duration::from_millis(20)),
        ..PutShared::new("soon gone")
    };
    let key = global(&memory, "k");
    memory.put(&key, brief).await.unwrap();
    let SharedEvent::Put { value, .. } = next(&mut watch).await else {
        panic!("it was put");
    };
    assert!(value.expires_at.is_some());
    while memory.get(&key).await.unwrap().is_some() {
        // sleep: the backend's clock decides when it has expired
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    memory.put(&key, PutShared::new("again")).await.unwrap();
    let gone = next(&mut watch).await;
    assert!(
        matches!(
            gone,
            SharedEvent::Gone {
                version: 2,
                expired: true,
                ..
            }
        ),
        "{gone:?}"
    );
    assert!(matches!(next(&mut watch).await, SharedEvent::Put { value, .. } if value.version == 3));
}

#[tokio::test]
async fn a_watch_survives_a_value_that_is_damaged() {
    let memory = memory().await;
    let mut watch = memory
        .watch(&SharedScope::Global, "*", false)
        .await
        .unwrap();
    let (bad, good) = (global(&memory, "bad"), global(&memory, "good"));
    memory
        .put(&bad, PutShared::new("x".repeat(5_000)))
        .await
        .unwrap();
    let record = memory.inner.state.get(&bad.state).await.unwrap().unwrap();
    let _ = next(&mut watch).await;
    let damaged = Write::put(bad.state.clone(), "not zstd", record.content_type);
    memory.inner.state.write(damaged).await.unwrap();
    memory.put(&good, PutShared::new("fine")).await.unwrap();
    let error = watch.next(Duration::from_secs(10)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    let event = next(&mut watch).await;
    assert!(matches!(event, SharedEvent::Put { key, .. } if key.name() == "good"));
    assert_eq!(
        memory.get(&bad).await.unwrap_err().kind(),
        ErrorKind::Corrupted,
        "b41"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b48_of_ten_writers_under_one_version_one_wins() {
    let memory = memory().await;
    let key = global(&memory, "k");
    memory.put(&key, PutShared::new("0")).await.unwrap();
    let writers = (0..10).map(|n| {
        let (memory, key) = (memory.clone(), key.clone());
        tokio::spawn(async move {
            let put = PutShared::new(n.to_string()).when(Precondition::Version(1));
            memory.put(&key, put).await.is_ok()
        })
    });
    let won = join_all(writers).await;
    assert_eq!(
        won.into_iter().filter(|won| *won.as_ref().unwrap()).count(),
        1
    );
}

#[tokio::test]
async fn b50_a_version_from_before_a_delete_does_not_match() {
    let memory = memory().await;
    let key = global(&memory, "k");
    let read = memory
        .put(&key, PutShared::new("old"))
        .await
        .unwrap()
        .version;
    memory.delete(&key, Precondition::None).await.unwrap();
    memory.put(&key, PutShared::new("new")).await.unwrap();
    let put = PutShared::new("lost").when(Precondition::Version(read));
    let stale = memory.put(&key, put).await.unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::Conflict);
    assert_eq!(text(&memory, &key).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn b51_a_value_can_be_created_only_when_it_is_not_there() {
    let memory = memory().await;
    let key = global(&memory, "k");
    let create = || memory.put(&key, PutShared::new("1").when(Precondition::Absent));
    create().await.unwrap();
    assert_eq!(create().await.unwrap_err().kind(), ErrorKind::Conflict);
    memory.delete(&key, Precondition::None).await.unwrap();
    create().await.unwrap();
}

#[tokio::test]
async fn a_peek_answers_what_was_seen_and_is_never_older_than_what_was_heard() {
    let ours = memory().await;
    let theirs = SharedMemory::new(Arc::clone(&ours.inner.state), "other process").unwrap();
    let key = global(&ours, "k");
    ours.put(&key, PutShared::new("1")).await.unwrap();
    ours.get(&key).await.unwrap();
    assert!(ours.peek(&key).is_none(), "nobody keeps it fresh");

    let feed = SharedFeed::start(ours.clone()).await.unwrap();
    let read = ours.get(&key).await.unwrap().unwrap();
    let peeked = ours.peek(&key).unwrap();
    assert!(Arc::ptr_eq(&read, &peeked), "nothing is copied");
    ours.put(&key, PutShared::new("2")).await.unwrap();
    assert!(
        ours.peek(&key).is_none(),
        "its own writes are heard at once"
    );
    ours.get(&key).await.unwrap();
    assert_eq!(ours.peek(&key).unwrap().value, "2");

    theirs.put(&key, PutShared::new("3")).await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while ours.peek(&key).is_some() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "another process's write is not heard"
        );
        tokio::task::yield_now().await;
    }
    ours.get(&key).await.unwrap();
    assert_eq!(ours.peek(&key).unwrap().value, "3");
    feed.stop().await;
    assert!(ours.peek(&key).is_none(), "nobody keeps it fresh any more");
}

#[tokio::test]
async fn a_peek_knows_when_a_value_expires() {
    let memory = memory().await;
    let _feed = SharedFeed::start(memory.clone()).await.unwrap();
    let key = global(&memory, "k");
    let brief = PutShared {
        ttl: Some(Duration::from_millis(30)),
        ..PutShared::new("x")
    };
    memory.put(&key, brief).await.unwrap();
    if memory.get(&key).await.unwrap().is_some() {
        while memory.peek(&key).is_some() {
            tokio::task::yield_now().await;
        }
    }
    assert!(memory.peek(&key).is_none());
}

#[tokio::test]
async fn what_another_program_wrote_is_read_as_it_is() {
    let memory = memory().await;
    let id = StateKey::parse("shared", "global//raw").unwrap();
    let write = Write::put(id, r#"{"a":1}"#, ContentType::JSON);
    memory.inner.state.write(write).await.unwrap();
    let raw = memory.get(&global(&memory, "raw")).await.unwrap().unwrap();
    assert_eq!(
        (&raw.value[..], &raw.content_type),
        (&br#"{"a":1}"#[..], &ContentType::JSON)
    );
}
