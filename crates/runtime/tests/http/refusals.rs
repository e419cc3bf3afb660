//! Bad input gets a clear answer, and the service goes on.

use http_body_util::{BodyExt, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use serde_json::json;
use statehouse_contracts::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Server, send, within};

/// Method, path, what the answer says, and its status.
const WRONG: [(&str, &str, &str, u16); 20] = [
    ("GET", "/v1/states/ta%20sk/a", "kind has ' ' at byte 2", 400),
    (
        "GET",
        "/v1/states/task/a%00b",
        "id has '\\0' at byte 1",
        400,
    ),
    ("GET", "/v1/states/task/%FF", "in the path", 400),
    ("GET", "/v1/states/task/a/versions/-1", "in the path", 400),
    (
        "GET",
        "/v1/states/task/a/versions/18446744073709551616",
        "in the path",
        400,
    ),
    (
        "GET",
        "/v1/states/task?limitt=1",
        "the nearest known one is `limit`",
        400,
    ),
    (
        "GET",
        "/v1/states/task?limit=-1",
        "limit: expected a whole number",
        400,
    ),
    (
        "GET",
        "/v1/states/task?limit=99999999999999999999",
        "limit: number too large",
        400,
    ),
    (
        "GET",
        "/v1/states/task?limit=1&limit=2",
        "duplicate field `limit`",
        400,
    ),
    (
        "GET",
        "/v1/states/task?direction=up",
        "unknown variant `up`",
        400,
    ),
    ("GET", "/v1/states/task?glob=%5Ba", "", 400),
    ("GET", "/v1/changes?wait=30", "30 needs a unit", 400),
    ("GET", "/v1/changes?after=nonsense", "", 400),
    ("GET", "/v1/references/abc", "64 lowercase hex digits", 400),
    ("GET", "/v1/tasks?state=busy", "unknown variant `busy`", 400),
    ("DELETE", "/v1/messages/7", "no UUID", 400),
    (
        "POST",
        "/v1/mailboxes/%00/receive",
        "control characters",
        400,
    ),
    ("GET", "/v1/states", "there is no route /v1/states;", 404),
    ("GET", "/", "see /openapi.json", 404),
    ("GET", "/v1/topics/a", "Accept: text/event-stream", 406),
];

#[tokio::test]
async fn every_wrong_request_is_a_problem_that_names_what_is_wrong() {
    let server = Server::start().await;
    for (method, path, says, status) in WRONG {
        let kind = if status == 404 {
            "not_found"
        } else {
            "invalid_argument"
        };
        let problem = server.ask(method, path).await.problem(status, kind);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{path}: {detail}");
    }
    let missing = server.get("/v1/groups/nobody/counts").await;
    missing.problem(404, "not_found");
    let long = format!("/v1/states/task/{}", "x".repeat(513));
    let problem = server.get(&long).await.problem(400, "invalid_argument");
    assert!(problem["detail"].as_str().unwrap().contains("513 bytes"));
    server.stop().await;
}

#[tokio::test]
async fn every_wrong_body_is_a_problem_that_names_the_place() {
    let server = Server::start().await;
    let table = [
        ("", "EOF while parsing"),
        ("{", "EOF while parsing"),
        ("{} {}", "trailing characters"),
        ("[]", "expected an object"),
        ("\u{feff}{}", "expected value"),
        (r#"{"write":[]}"#, "the nearest known one is `writes`"),
        (
            r#"{"writes":[{"operation":"put","kind":"t","id":7}]}"#,
            "writes[0].id: invalid type",
        ),
        (
            r#"{"writes":[{"operation":"putt","kind":"t","id":"a"}]}"#,
            "the nearest known one is `put`",
        ),
        (
            r#"{"writes":[{"operation":"put","kind":"t","id":"a","data":{"txt":"x"}}]}"#,
            "writes[0].data.txt: unknown field `txt`; the nearest known one is `text`",
        ),
        (
            r#"{"writes":[{"operation":"put","kind":"t","id":"a","data":{"base64":"%"}}]}"#,
            "base64 cannot be read",
        ),
        (
            r#"{"writes":[{"operation":"put","kind":"t","id":"a","data":{"text":"x"},"ttl":30}]}"#,
            "writes[0].ttl: invalid type",
        ),
        (
            r#"{"writes":[{"operation":"put","kind":"t","id":"a\u0000","data":{"text":"x"}}]}"#,
            "control characters",
        ),
        (
            r#"{"writes":[{"operation":"check","kind":"t","id":"a","precondition":{"version":-1}}]}"#,
            "precondition",
        ),
        (r#"{"delivery":"pigeon"}"#, "unknown variant `pigeon`"),
    ];
    for (body, says) in table {
        let ask = server.ask("POST", "/v1/apply").body(body);
        let reply = ask.header("content-type", "application/json").await;
        let problem = reply.problem(400, "invalid_argument");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{body}: {detail}");
    }
    let deep = "[".repeat(100_000);
    let ask = server.ask("POST", "/v1/apply").body(deep);
    let reply = ask.header("content-type", "application/json").await;
    reply.problem(400, "invalid_argument");
    server.stop().await;
}

#[tokio::test]
async fn methods_and_media_types() {
    let server = Server::start().await;
    let patch = server.ask("PATCH", "/v1/states/task/a").await;
    patch.problem(405, "invalid_argument");
    assert!(patch.header("allow").contains("PUT"), "{:?}", patch.headers);
    let form = server.ask("POST", "/v1/apply").body("a=b");
    let form = form
        .header("content-type", "application/x-www-form-urlencoded")
        .await;
    let problem = form.problem(415, "invalid_argument");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("Content-Type: application/json"),
        "{detail}"
    );
    let odd = server
        .put("/v1/states/task/a", "x")
        .header("content-type", "na\u{ef}ve");
    odd.await.problem(400, "invalid_argument");
    let twice = server.put("/v1/states/task/a", "x");
    let twice = twice
        .header("idempotency-key", "a")
        .header("idempotency-key", "b");
    twice.await.problem(400, "invalid_argument");
    server.stop().await;
}

#[tokio::test]
async fn a_large_body_is_refused_before_it_is_read() {
    let server = Server::start().await;
    let mut stream = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    let head = "PUT /v1/states/task/a HTTP/1.1\r\nhost: t\r\ncontent-length: 104857600\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // Nothing of the body is sent, and the answer is there.
    let mut answer = vec![0; 1024];
    let read = within(stream.read(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");

    // Without an announced length it is refused at the limit.
    let chunk = Bytes::from(vec![b'x'; 1 << 20]);
    let chunks = (0..100).map(move |_| Ok::<_, std::io::Error>(Frame::data(chunk.clone())));
    let body = StreamBody::new(futures::stream::iter(chunks));
    let request = Request::put("/v1/states/task/a").header("host", "t");
    let response = send(server.address, request.body(body).unwrap()).await;
    assert_eq!(response.status(), 413);
    let body = within(response.into_body().collect())
        .await
        .unwrap()
        .to_bytes();
    assert!(
        String::from_utf8_lossy(&body).contains("body_limit"),
        "{body:?}"
    );
    server
        .get("/v1/states/task/a")
        .await
        .problem(404, "not_found");
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_writes_nothing() {
    let server = Server::start().await;
    let mut stream = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    let head = "PUT /v1/states/task/a HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\nhalf";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = within(stream.read_to_end(&mut rest)).await;
    server
        .get("/v1/states/task/a")
        .await
        .problem(404, "not_found");
    server.stop().await;
}

#[tokio::test]
async fn what_lies_beyond_a_limit_names_it() {
    let server = Server::start().await;
    let payload = "x".repeat((1 << 20) + 1);
    let body = json!({"messages": [{"topic": "a", "payload": {"text": payload}}]});
    let sent = server.post("/v1/messages", body).await.json();
    let error = &sent["items"][0]["error"];
    let name = error["limit"]["name"].as_str().unwrap();
    assert!(name.starts_with("max_payload"), "{error}");
    assert_eq!(error["limit"]["value"], 1 << 20);
    assert_eq!(error["status"], 400);
    server.stop().await;
}
