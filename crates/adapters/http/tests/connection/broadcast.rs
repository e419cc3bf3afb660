//! Streams of events that break and come back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use statehouse_contracts::{Broadcast, BroadcastEvent, ErrorKind, Pattern};

use crate::server::{Reply, Server, scope};

const PATIENCE: Duration = Duration::from_secs(5);

const FIRST: &str = "HTTP/1.1 200 x\r\ncontent-type: text/event-stream\r\n\r\n: hello\n\n\
    event: message\ndata: {\"message\":{\"topic\":\"t\",\"payload\":{\"text\":\"one\"}},\
    \"sent_at\":\"2026-01-01T00:00:00Z\",\ndata: \"due_at\":\"2026-01-01T00:00:00Z\"}\n\n\
    event: gap\ndata: {\"missed\":3}\n\nevent: message\ndata: {\"mess";

const SECOND: &str = "HTTP/1.1 200 x\r\ncontent-type: text/event-stream\r\n\r\n\
    event: message\ndata: {\"message\":{\"topic\":\"t\",\"payload\":{\"text\":\"two\"}},\
    \"sent_at\":\"2026-01-01T00:00:00Z\",\"due_at\":\"2026-01-01T00:00:00Z\"}\n\n";

/// What is heard next, in a word.
async fn heard(listener: &mut Box<dyn Broadcast>) -> String {
    match listener.next(PATIENCE).await.unwrap() {
        Some(BroadcastEvent::Message(received)) => {
            String::from_utf8_lossy(received.message.bytes()).into_owned()
        }
        Some(BroadcastEvent::Gap { missed }) => format!("gap {missed:?}"),
        None => "nothing".to_owned(),
    }
}

#[tokio::test]
async fn a_broken_stream_is_opened_again_between_gaps() {
    let opened = AtomicUsize::new(0);
    let server = Server::start("1s", move |_| {
        match opened.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::Bytes(FIRST),
            // Away for a while.
            1 => Reply::Bytes(""),
            2 => Reply::Json(503, json!({"kind": "closed", "status": 503, "detail": "x"})),
            3 => Reply::Bytes(SECOND),
            _ => Reply::Hang,
        }
    });
    let server = server.await;
    let backend = server.backend("").await.unwrap();
    let consumer = backend.consumer(&scope()).await.unwrap();
    let pattern = Pattern::new("a.*.#").unwrap();
    let mut listener = consumer.broadcast(&pattern).await.unwrap();
    for expected in [
        "one",
        "gap Some(3)",
        "gap None",
        "gap None",
        "two",
        "gap None",
    ] {
        assert_eq!(heard(&mut listener).await, expected);
    }
    assert_eq!(server.seen()[0].line, "GET /v1/topics/a.%2A.%23");
    assert_eq!(server.seen()[0].query, "raw=true");
    assert!(
        server.seen()[0]
            .headers
            .contains("accept: text/event-stream")
    );
    let brief = Duration::from_millis(50);
    assert_eq!(listener.next(brief).await.unwrap(), None);
    consumer.close().await.unwrap();
    let error = listener.next(PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn what_will_not_work_is_told() {
    let refusal = json!({"kind": "permission_denied", "status": 403, "detail": "no"});
    let opened = AtomicUsize::new(0);
    let server = Server::start("1s", move |_| {
        match opened.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::Bytes(SECOND),
            _ => Reply::Json(403, refusal.clone()),
        }
    });
    let server = server.await;
    let backend = server.backend("").await.unwrap();
    let consumer = backend.consumer(&scope()).await.unwrap();
    let mut listener = consumer.broadcast(&Pattern::ALL).await.unwrap();
    assert_eq!(heard(&mut listener).await, "two");
    assert_eq!(heard(&mut listener).await, "gap None");
    let error = listener.next(PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let error = consumer.broadcast(&Pattern::ALL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}
