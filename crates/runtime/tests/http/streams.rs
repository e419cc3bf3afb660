//! Long polls and event streams.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Events, Server};

#[tokio::test]
async fn changes_come_by_pages_and_wake_who_waits() {
    let server = Server::on_disk().await;
    let head = server.get("/v1/changes/head").await.json();
    let after = head["cursor"].as_str().unwrap();
    let path = format!("/v1/changes?after={after}&wait=15s&kind=task&glob=a*");
    let waiting = tokio::spawn(server.get(&path).send());
    let started = Instant::now();
    server.put("/v1/states/agent/a", "x").await.json();
    server.put("/v1/states/task/b", "x").await.json();
    server.put("/v1/states/task/a1", "x").await.json();
    let page = waiting.await.unwrap().json();
    assert!(started.elapsed() < Duration::from_secs(10));
    let ids: Vec<&Value> = page["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["id"])
        .collect();
    assert_eq!(ids, ["a1"]);

    let next = page["next"].as_str().unwrap();
    let empty = server
        .get(&format!("/v1/changes?after={next}"))
        .await
        .json();
    assert_eq!(empty["changes"], json!([]));
    let all = server.get("/v1/changes?limit=2").await.json();
    assert_eq!(all["changes"].as_array().unwrap().len(), 2);
    server.stop().await;
}

#[tokio::test]
async fn a_stream_of_changes_resumes_without_a_gap() {
    let server = Server::on_disk().await;
    let mut events = Events::open(server.get("/v1/changes?kind=task")).await;
    server.put("/v1/states/agent/x", "0").await.json();
    let json_body = "{\n\"n\": 1}";
    let put = server.put("/v1/states/task/a", json_body);
    put.header("content-type", "application/json").await.json();
    let first = events.next().await.unwrap();
    assert_eq!(first.name, "change");
    assert_eq!(first.json()["id"], "a");
    assert!(first.data.contains(json_body), "{}", first.data);
    assert_eq!(first.json()["cursor"], first.id);
    drop(events);

    server.put("/v1/states/task/b", "2").await.json();
    server.ask("DELETE", "/v1/states/task/a").await.json();
    let resumed = server
        .get("/v1/changes?kind=task")
        .header("last-event-id", &first.id);
    let mut events = Events::open(resumed).await;
    let second = events.next().await.unwrap().json();
    assert_eq!(
        (&second["id"], &second["operation"]),
        (&json!("b"), &json!("put"))
    );
    let third = events.next().await.unwrap().json();
    assert_eq!(
        (&third["id"], &third["operation"]),
        (&json!("a"), &json!("delete"))
    );
    server.stop().await;
}

#[tokio::test]
async fn a_cursor_that_is_lost_says_where_to_go_on() {
    let server = Server::on_disk().await;
    for n in 0..5 {
        server.put("/v1/states/task/a", format!("{n}")).await.json();
    }
    let oldest = server.get("/v1/changes/oldest").await.json();
    let old = oldest["cursor"].as_str().unwrap().to_owned();
    // The relay follows the log and holds it back until it is done.
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let trimmed = server
            .post("/v1/changes/trim", json!({"keep_last": 1}))
            .await
            .json();
        if trimmed["count"] == 4 || Instant::now() > deadline {
            break;
        }
        let now = server.get("/v1/changes/oldest").await.json();
        if now != oldest
            && server.get("/v1/changes").await.json()["changes"]
                .as_array()
                .unwrap()
                .len()
                == 1
        {
            break;
        }
    }
    let lost = server.get(&format!("/v1/changes?after={old}")).await;
    let problem = lost.problem(410, "cursor_lost");
    assert!(
        problem["oldest"].is_string() && problem["head"].is_string(),
        "{problem}"
    );
    let stream = server
        .get("/v1/changes")
        .header("accept", "text/event-stream");
    let refused = stream.header("last-event-id", &old).await;
    refused.problem(410, "cursor_lost");
    server.stop().await;
}

#[tokio::test]
async fn followers_keep_their_place() {
    let server = Server::start().await;
    server.put("/v1/states/task/a", "x").await.json();
    let path = "/v1/changes/followers/mine";
    let follower = server.ask("PUT", path).await.json();
    assert_eq!(
        (&follower["lag"], &follower["lost"]),
        (&json!(1), &json!(false))
    );
    let head = server.get("/v1/changes/head").await.json();
    let moved = server.post(&format!("{path}/advance"), head).await;
    assert_eq!(moved.status, 204);
    let all = server.get("/v1/changes/followers").await.json();
    let mine = |all: &Value| {
        all["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["name"] == "mine")
            .cloned()
    };
    assert_eq!(mine(&all).unwrap()["lag"], 0);
    assert_eq!(server.ask("DELETE", path).await.json()["removed"], true);
    server.stop().await;
}

#[tokio::test]
async fn topics_are_heard_as_they_are_published() {
    let server = Server::on_disk().await;
    let mut heard = Events::open(server.get("/v1/topics/news.%23")).await;
    server
        .post("/v1/topics/other", json!({"payload": {"text": "no"}}))
        .await
        .json();
    server
        .post("/v1/topics/news.today", json!({"payload": {"text": "yes"}}))
        .await
        .json();
    let event = heard.next().await.unwrap();
    assert_eq!(event.name, "message");
    assert_eq!(event.json()["message"]["payload"]["text"], "yes");
    server.stop().await;
}

#[tokio::test]
async fn state_events_are_published() {
    let server = Server::on_disk().await;
    let mut heard = Events::open(server.get("/v1/topics/state.task.*")).await;
    server.put("/v1/states/task/a", "x").await.json();
    let event = heard.next().await.unwrap();
    assert_eq!(event.json()["message"]["topic"], "state.task.a");
    server.stop().await;
}

#[tokio::test]
async fn a_message_of_a_transaction_is_relayed() {
    let server = Server::on_disk().await;
    server.ask("POST", "/v1/mailboxes/a/receive").await.json();
    let body = json!({
        "writes": [{"operation": "put", "kind": "task", "id": "a", "data": {"text": "x"}}],
        "messages": [{"topic": "mailbox.a", "payload": {"text": "hello"}}],
    });
    server.post("/v1/apply", body).await.json();
    let got = server
        .post("/v1/mailboxes/a/receive", json!({"wait": "15s"}))
        .await
        .json();
    assert_eq!(got["items"][0]["message"]["payload"]["text"], "hello");
    server.stop().await;
}
