//! What happens on the way to a service and back.
#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod broadcast;
mod server;

use std::time::{Duration, Instant};

use serde_json::json;
use statehouse_contracts::{
    ConsumerExt, ContentType, Cursor, Endpoint, Error, ErrorKind, Factory, GroupName, Message,
    Payload, Precondition, Receive, Retry, SendOptions, StateKey, StateManagerExt, Topic,
};
use statehouse_http::HttpFactory;

use server::{BODY_LIMIT, Reply, Seen, Server, scope};

fn key() -> StateKey {
    StateKey::parse("task", "a/b").unwrap()
}

/// What a put and a get of the same record say when the server does `reply`.
async fn put_and_get(reply: Reply, parameters: &str) -> (Error, Error) {
    let server = Server::start("1s", move |_| reply.clone()).await;
    let backend = server.backend(parameters).await.unwrap();
    let state = backend.state(&scope()).await.unwrap();
    let (key, when) = (key(), Precondition::None);
    let put = state.put(&key, "x".into(), ContentType::TEXT, when);
    let put = put.await.unwrap_err();
    (put, state.get(&key).await.unwrap_err())
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unavailable() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    drop(server);
    let error = HttpFactory.open(&Endpoint::parse(&url).unwrap()).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.retry(), Retry::After(Duration::ZERO));
    assert!(!error.is_ambiguous(), "nothing was sent: {error}");
    assert!(error.to_string().contains(&url), "{error}");
}

#[tokio::test]
async fn a_connection_that_is_lost_leaves_a_mutation_open() {
    for reply in [
        "",
        "HTTP/1.1 200 x\r\ncontent-length: 99\r\n\r\n{\"commit\"",
    ] {
        let (put, get) = put_and_get(Reply::Bytes(reply), "").await;
        assert_eq!(put.kind(), ErrorKind::Unavailable, "{put}");
        assert_eq!(put.retry(), Retry::After(Duration::ZERO));
        assert!(put.is_ambiguous(), "it may have been applied: {put}");
        assert_eq!(get.kind(), ErrorKind::Unavailable, "{get}");
        assert!(!get.is_ambiguous(), "{get}");
    }
}

#[tokio::test]
async fn no_answer_in_time_is_a_timeout() {
    let (put, get) = put_and_get(Reply::Hang, "?timeout=100ms").await;
    assert_eq!((put.kind(), put.is_ambiguous()), (ErrorKind::Timeout, true));
    assert_eq!(
        (get.kind(), get.is_ambiguous()),
        (ErrorKind::Timeout, false)
    );
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_told() {
    let (put, _) = put_and_get(Reply::Bytes("SSH-2.0-OpenSSH_9.2\r\n"), "").await;
    assert_eq!(put.kind(), ErrorKind::Internal);
    assert!(put.to_string().contains("does not speak HTTP"), "{put}");
    let (put, get) = put_and_get(Reply::Json(200, json!({"commit": "one"})), "").await;
    for error in [put, get] {
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.to_string().contains("cannot be read"), "{error}");
    }
}

#[tokio::test]
async fn what_a_gateway_says_is_kept() {
    let gateway = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 4\r\n\r\nOops";
    let (put, get) = put_and_get(Reply::Bytes(gateway), "").await;
    assert_eq!(
        (put.kind(), put.is_ambiguous()),
        (ErrorKind::Unavailable, true)
    );
    assert_eq!(
        (get.kind(), get.is_ambiguous()),
        (ErrorKind::Unavailable, false)
    );
    assert!(put.to_string().contains("Oops"), "{put}");
}

#[tokio::test]
async fn a_request_says_who_acts_and_what_is_written() {
    let applied = json!({"commit": 1, "at": "2026-01-01T00:00:00Z", "versions": [1],
        "replayed": false});
    let server = Server::start("1s", move |_| Reply::Json(200, applied.clone())).await;
    let path = std::env::temp_dir().join(format!("connection-token-{}", std::process::id()));
    std::fs::write(&path, "hunter2\n").unwrap();
    let backend = server
        .backend(&format!("?token_file={}", path.display()))
        .await
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(!format!("{backend:?}").contains("hunter2"));
    let state = backend.state(&scope()).await.unwrap();
    let when = Precondition::Version(7);
    state
        .put(&key(), "x".into(), ContentType::TEXT, when)
        .await
        .unwrap();
    let Seen {
        line,
        headers,
        body,
        ..
    } = server.seen().remove(0);
    assert_eq!(line, "PUT /v1/states/task/a%2Fb");
    assert_eq!(body, b"x");
    for header in [
        "authorization: Bearer hunter2",
        "statehouse-namespace: tests",
        "statehouse-principal: na%C3%AFve",
        "if-match: \"7\"",
        "content-type: text/plain; charset=utf-8",
    ] {
        assert!(
            headers.lines().any(|line| line == header),
            "{header} in {headers}"
        );
    }
}

#[tokio::test]
async fn a_long_wait_is_made_of_several_polls() {
    let server = Server::start("20ms", |_| Reply::Json(200, json!({"items": []}))).await;
    let backend = server.backend("").await.unwrap();
    let consumer = backend.consumer(&scope()).await.unwrap();
    let (group, wait) = (GroupName::new("g").unwrap(), Duration::from_millis(200));
    let begun = Instant::now();
    let none = consumer
        .receive(&group, Receive::new(1, wait))
        .await
        .unwrap();
    assert!(none.is_empty() && begun.elapsed() >= wait);
    let seen = server.seen();
    assert!((2..=10).contains(&seen.len()), "{} polls", seen.len());
    assert!(
        seen.iter()
            .all(|seen| seen.line == "POST /v1/groups/g/receive")
    );
    assert_eq!(seen[0].json(), json!({"max": 1, "wait": "20ms"}));
}

#[tokio::test]
async fn a_wait_for_changes_goes_on_where_the_last_poll_ended() {
    let server = Server::start("20ms", |seen| {
        let next = match seen.query.contains("after=a") {
            true => "b",
            false => "c d",
        };
        Reply::Json(200, json!({"changes": [], "next": next}))
    });
    let server = server.await;
    let backend = server.backend("").await.unwrap();
    let state = backend.state(&scope()).await.unwrap();
    let after = Cursor("a".to_owned());
    let page = state.changes(&after, 5, Duration::from_millis(100)).await;
    assert_eq!(page.unwrap().next.0, "c d");
    let asked: Vec<String> = server.seen().into_iter().map(|seen| seen.query).collect();
    assert_eq!(asked[0], "after=a&limit=5&wait=20ms");
    assert_eq!(asked[1], "after=b&limit=5&wait=20ms");
    assert!(asked[2].starts_with("after=c%20d&limit=5"), "{}", asked[2]);
}

#[tokio::test]
async fn https_is_never_spoken_in_plain() {
    let server = Server::start("1s", |_| Reply::Hang).await;
    let url = server.url("").replace("http:", "https:");
    let error = HttpFactory.open(&Endpoint::parse(&url).unwrap()).await;
    let error = error.unwrap_err();
    // As the crate is built: without TLS, or with it to a server that has none.
    match error.kind() {
        ErrorKind::Unsupported => assert!(error.to_string().contains("feature tls"), "{error}"),
        kind => assert_eq!(kind, ErrorKind::Unavailable, "{error}"),
    }
}

#[tokio::test]
async fn a_dropped_call_hangs_up_and_a_closed_handle_ends_its_waits() {
    let server = Server::start("60s", |_| Reply::Hang).await;
    let backend = server.backend("").await.unwrap();
    let consumer = backend.consumer(&scope()).await.unwrap();
    let (group, wait) = (GroupName::new("g").unwrap(), Duration::from_secs(50));
    let waiting = consumer.receive_one(&group, wait);
    let gone = tokio::time::timeout(Duration::from_millis(200), waiting).await;
    assert!(gone.is_err(), "it must wait");
    let noticed = tokio::time::timeout(Duration::from_secs(5), server.hung_up()).await;
    noticed.expect("the connection is closed");

    let other = backend.consumer(&scope()).await.unwrap();
    let waiting = tokio::spawn({
        let (consumer, group) = (consumer.clone(), group.clone());
        async move { consumer.receive_one(&group, wait).await }
    });
    consumer.close().await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), waiting).await;
    let error = ended.expect("it ends").unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    backend.close().await.unwrap();
    let error = other.receive_one(&group, wait).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_large_batch_goes_in_parts_and_a_failed_key_stays_behind() {
    // The first message of each request is refused.
    let server = Server::start("1s", |seen| {
        let sent = seen.json();
        let messages = sent["messages"].as_array().unwrap().clone();
        let items = messages
            .iter()
            .enumerate()
            .map(|(place, message)| match place {
                0 => json!({"error": {"kind": "overloaded", "status": 429, "detail": "full"}}),
                _ => json!({"ok": {"id": message["id"]}}),
            });
        Reply::Json(200, json!({"items": items.collect::<Vec<_>>()}))
    });
    let server = server.await;
    let backend = server.backend("").await.unwrap();
    let producer = backend.producer(&scope()).await.unwrap();
    let message = |key: Option<&str>| Message {
        ordering_key: key.map(str::to_owned),
        ..Message::new(
            Topic::new("t").unwrap(),
            Payload::text("x".repeat(BODY_LIMIT * 3 / 8)),
        )
    };
    let batch: Vec<Message> = [Some("a"), None, Some("a"), Some("b"), Some("b")]
        .map(message)
        .into();
    let ids: Vec<_> = batch.iter().map(|message| message.id).collect();
    let answers = producer.send(batch, SendOptions::default()).await.unwrap();
    let kinds: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().map_err(Error::kind))
        .collect();
    // Two messages fit into one request as large as the service takes: [a, none], [a, b], [b].
    assert_eq!(kinds[0], Err(ErrorKind::Overloaded));
    assert_eq!(kinds[1].map(|sent| sent.id), Ok(ids[1]));
    assert_eq!(
        kinds[2],
        Err(ErrorKind::Conflict),
        "behind the first of its key"
    );
    assert_eq!(kinds[3], Err(ErrorKind::Overloaded));
    assert_eq!(kinds[4], Err(ErrorKind::Conflict), "behind the one before");
    assert_eq!(server.seen().len(), 2, "what stays behind is not sent");
}
