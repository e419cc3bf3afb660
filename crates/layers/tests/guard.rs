//! What the guard refuses, by role: one row per argument, with the kind and a word of the message.

#![expect(clippy::unwrap_used, reason = "a failed call fails the test")]

use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{
    Backend, Backoff, ClaimRequest, ContentType, Endpoint, Error, ErrorKind, Factory, GroupName,
    GroupSpec, Holder, Kind, LeaseToken, Message, NewTask, Operation, Pattern, Payload,
    Precondition, ProducerExt, Prune, Push, PutContent, Receive, ReferenceId, Scope, SendOptions,
    Settle, SettleAction, StackName, StateKey, StateManagerExt, Topic, Transaction, WorkerName,
    Write,
};

const FOREVER: Duration = Duration::from_secs(200 * 365 * 24 * 3600);

async fn backend() -> Arc<dyn Backend> {
    let url = Endpoint::parse("memory:").unwrap();
    statehouse_layers::guard(statehouse_memory::Memory.open(&url).await.unwrap())
}

fn scope() -> Scope {
    Scope::parse("default", "tester").unwrap()
}

fn refused<T: std::fmt::Debug>(what: &str, answer: Result<T, Error>, says: &str) {
    let error = answer.expect_err(what);
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{what}: {error}");
    assert!(error.to_string().contains(says), "{what}: {error}");
}

fn message() -> Message {
    Message::new(Topic::new("t").unwrap(), Payload::text("x"))
}

/// A message that `change` made wrong.
fn with(change: impl FnOnce(&mut Message)) -> Message {
    let mut message = message();
    change(&mut message);
    message
}

fn with_header(name: &str, value: &str) -> Message {
    with(|message| message.headers = [(name.to_owned(), value.to_owned())].into())
}

#[tokio::test]
async fn messages() {
    let producer = backend().await.producer(&scope()).await.unwrap();
    let many = (0..65).map(|n| (format!("h{n}"), String::new())).collect();
    let key = Some("k".to_owned());
    let rows = [
        (
            "payload",
            with(|m| m.payload = Payload::bytes(vec![0; (1 << 20) + 1])),
            "max_payload",
        ),
        ("many headers", with(|m| m.headers = many), "max_headers"),
        (
            "large headers",
            with_header("h", &"x".repeat(9000)),
            "max_header_bytes",
        ),
        ("header name", with_header("a b", ""), "A-Z a-z 0-9"),
        (
            "reserved header",
            with_header("statehouse-x", ""),
            "reserved",
        ),
        ("header value", with_header("a", "\n"), "control character"),
        (
            "long sender",
            with(|m| m.sender = Some("x".repeat(1025))),
            "max_attribute",
        ),
        (
            "sender",
            with(|m| m.sender = Some("a\0".into())),
            "control character",
        ),
        (
            "zero ttl",
            with(|m| m.ttl = Some(Duration::ZERO)),
            "ttl is 0",
        ),
        ("long ttl", with(|m| m.ttl = Some(FOREVER)), "100 years"),
        ("delay", with(|m| m.delay = FOREVER), "100 years"),
        (
            "delayed key",
            with(|m| {
                m.ordering_key = key;
                m.delay = Duration::from_secs(1);
            }),
            "cannot be delayed",
        ),
    ];
    for (what, message, says) in rows {
        refused(what, producer.send_one(message).await, says);
    }
    let batch = vec![message(); producer.capability().max_batch + 1];
    refused(
        "batch",
        producer.send(batch, SendOptions::default()).await,
        "max_batch",
    );
}

#[tokio::test]
async fn a_refused_message_stops_its_key_and_nothing_else() {
    let producer = backend().await.producer(&scope()).await.unwrap();
    let keyed = |key: &str, sender: &str| Message {
        ordering_key: Some(key.into()),
        sender: Some(sender.into()),
        ..message()
    };
    let batch = vec![keyed("a", "\0"), keyed("b", "x"), keyed("a", "x")];
    let answers = producer.send(batch, SendOptions::default()).await.unwrap();
    let kinds: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().err().map(Error::kind))
        .collect();
    assert_eq!(
        kinds,
        [
            Some(ErrorKind::InvalidArgument),
            None,
            Some(ErrorKind::Conflict)
        ]
    );
}

#[tokio::test]
async fn groups_and_settles() {
    let consumer = backend().await.consumer(&scope()).await.unwrap();
    let group = GroupName::new("g").unwrap();
    let spec = || GroupSpec::new(Pattern::ALL);
    let rows = [
        (
            "deliveries",
            GroupSpec {
                max_deliveries: 0,
                ..spec()
            },
            "max_deliveries",
        ),
        (
            "length",
            GroupSpec {
                max_length: Some(0),
                ..spec()
            },
            "max_length",
        ),
        (
            "short lease",
            GroupSpec {
                lease: Duration::ZERO,
                ..spec()
            },
            "min_lease",
        ),
        (
            "long lease",
            GroupSpec {
                lease: FOREVER,
                ..spec()
            },
            "max_lease",
        ),
        (
            "backoff",
            GroupSpec {
                backoff: Backoff::fixed(FOREVER),
                ..spec()
            },
            "100 years",
        ),
    ];
    for (what, spec, says) in rows {
        refused(what, consumer.declare(&group, &spec).await, says);
    }
    refused(
        "max",
        consumer
            .receive(&group, Receive::new(0, Duration::ZERO))
            .await,
        "at least 1",
    );
    let most = consumer.capability().max_receive + 1;
    refused(
        "max",
        consumer
            .receive(&group, Receive::new(most, Duration::ZERO))
            .await,
        "max_receive",
    );
    let action = SettleAction::Extend {
        lease: Duration::ZERO,
    };
    let settle = Settle {
        token: LeaseToken::new("x").unwrap(),
        action,
    };
    refused(
        "extend",
        consumer.settle(vec![settle]).await.unwrap().remove(0),
        "min_lease",
    );
}

#[tokio::test]
async fn transactions() {
    let state = backend().await.state(&scope()).await.unwrap();
    let key = || StateKey::parse("k", "1").unwrap();
    let put = |data: Vec<u8>, ttl| Write {
        key: key(),
        operation: Operation::Put {
            data: data.into(),
            content_type: ContentType::BYTES,
            schema: None,
            ttl,
        },
        precondition: Precondition::None,
    };
    let large = vec![0; state.capability().max_data + 1];
    refused(
        "data",
        state.write(put(large.clone(), None)).await,
        "max_data",
    );
    refused(
        "append",
        state.write(Write::append(key(), large)).await,
        "max_data",
    );
    refused(
        "ttl",
        state.write(put(vec![], Some(Duration::ZERO))).await,
        "ttl is 0",
    );
    let beyond = Precondition::Version(u64::MAX);
    refused(
        "version",
        state.write(put(vec![], None).when(beyond)).await,
        "versions go up to",
    );
    let twice = Transaction {
        writes: vec![Write::delete(key()), Write::delete(key())],
        ..Transaction::default()
    };
    refused("twice", state.apply(twice).await, "twice");
    let writes = (0..=state.capability().max_writes)
        .map(|n| Write::delete(StateKey::parse("k", &n.to_string()).unwrap()))
        .collect();
    refused(
        "many",
        state
            .apply(Transaction {
                writes,
                ..Transaction::default()
            })
            .await,
        "max_writes",
    );
    let messages = vec![with_header("statehouse-x", "")];
    refused(
        "message",
        state
            .apply(Transaction {
                messages,
                ..Transaction::default()
            })
            .await,
        "reserved",
    );
}

#[tokio::test]
async fn state_beside_transactions() {
    let state = backend().await.state(&scope()).await.unwrap();
    let key = StateKey::parse("k", "1").unwrap();
    refused(
        "prune",
        state
            .prune(Prune {
                keep_last: Some(0),
                ..Prune::default()
            })
            .await,
        "keep_last",
    );
    refused(
        "lease",
        state.outbox_lease("x", Duration::ZERO).await,
        "lease is 0",
    );
    refused(
        "read",
        state.read_version(&key, u64::MAX).await,
        "versions go up to",
    );
}

#[tokio::test]
async fn tasks() {
    let tasks = backend().await.tasks(&scope()).await.unwrap();
    let stack = StackName::new("s").unwrap();
    let task = || NewTask::new(Kind::new("k").unwrap(), "x", ContentType::TEXT);
    let push = async |new: Vec<NewTask>| {
        tasks
            .push(Push {
                stack: stack.clone(),
                tasks: new,
                parent: None,
                op_id: None,
            })
            .await
    };
    let large = vec![0; tasks.capability().max_payload + 1];
    refused(
        "payload",
        push(vec![NewTask {
            payload: large.into(),
            ..task()
        }])
        .await,
        "max_payload",
    );
    refused(
        "attempts",
        push(vec![NewTask {
            max_attempts: 0,
            ..task()
        }])
        .await,
        "max_attempts",
    );
    refused(
        "delay",
        push(vec![NewTask {
            delay: FOREVER,
            ..task()
        }])
        .await,
        "100 years",
    );
    let same = task();
    refused("twice", push(vec![same.clone(), same]).await, "twice");
    let claim = ClaimRequest {
        stack: stack.clone(),
        worker: WorkerName::new("w").unwrap(),
        max: 1,
        lease: Duration::from_secs(1),
        wait: Duration::ZERO,
    };
    refused(
        "max",
        tasks
            .claim(ClaimRequest {
                max: 0,
                ..claim.clone()
            })
            .await,
        "at least 1",
    );
    refused(
        "lease",
        tasks
            .claim(ClaimRequest {
                lease: FOREVER,
                ..claim
            })
            .await,
        "max_lease",
    );
}

#[tokio::test]
async fn references() {
    let references = backend().await.references(&scope()).await.unwrap();
    refused("empty", references.put(PutContent::new("")).await, "empty");
    let held = PutContent {
        cache: true,
        ..PutContent::new("x").held_by(Holder::random())
    };
    refused("cache", references.put(held).await, "held by nobody");
    let short = PutContent {
        ttl: Some(Duration::ZERO),
        ..PutContent::new("x")
    };
    refused("ttl", references.put(short).await, "ttl is 0");
    let id = ReferenceId::of(b"x");
    #[expect(clippy::reversed_empty_ranges, reason = "the mistake that is refused")]
    let backwards = 5..1;
    refused(
        "range",
        references.resolve_range(&id, backwards).await,
        "before its start",
    );
    refused(
        "hold",
        references
            .retain(&id, &Holder::random(), Some(Duration::ZERO))
            .await,
        "ttl is 0",
    );
}
