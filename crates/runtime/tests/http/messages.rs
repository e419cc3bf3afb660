//! Messages, groups and mailboxes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Server;

async fn receive(server: &Server, path: &str, body: Value) -> Vec<Value> {
    let received = server.post(path, body).await.json();
    received["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_message_is_sent_received_and_settled() {
    let server = Server::on_disk().await;
    let spec = json!({"pattern": "jobs.#", "max_deliveries": 2, "backoff": {"initial": "0s"}});
    let declared = server
        .ask("PUT", "/v1/groups/workers")
        .body(spec.to_string());
    let declared = declared
        .header("content-type", "application/json")
        .await
        .json();
    assert_eq!(declared["created"], true);
    let other = json!({"pattern": "jobs.#", "max_deliveries": 3});
    let other = server
        .ask("PUT", "/v1/groups/workers")
        .body(other.to_string());
    let conflict = other.header("content-type", "application/json").await;
    assert_eq!(
        conflict.problem(409, "conflict")["spec_field"],
        "max_deliveries"
    );

    let messages = json!({"messages": [
        {"topic": "jobs.a", "payload": {"json": {"n": 1}}, "headers": {"x": "y"}},
        {"topic": "jobs.b", "payload": {"base64": "/w=="}},
        {"topic": "nobody", "payload": {"text": ""}},
    ]});
    let sent = server.post("/v1/messages", messages).await.json();
    let routed: Vec<_> = (0..3)
        .map(|n| sent["items"][n]["ok"]["routed"].clone())
        .collect();
    assert_eq!(routed, [json!(1), json!(1), json!(0)]);

    let got = receive(&server, "/v1/groups/workers/receive", json!({"max": 10})).await;
    assert_eq!(got.len(), 2);
    assert_eq!(got[0]["message"]["payload"]["json"], json!({"n": 1}));
    assert_eq!(got[1]["message"]["payload"]["base64"], "/w==");
    let token = |n: usize| got[n]["lease"]["token"].clone();
    let settles = json!({"settles": [
        {"token": token(0), "action": "ack"},
        {"token": token(1), "action": "nack", "error": "no"},
        {"token": "made-up", "action": "ack"},
    ]});
    let settled = server.post("/v1/deliveries/settle", settles).await.json();
    assert_eq!(settled["items"][0], json!({"ok": {}}));
    assert_eq!(settled["items"][2]["error"]["kind"], "invalid_argument");

    let again = receive(
        &server,
        "/v1/groups/workers/receive",
        json!({"wait": "10s"}),
    )
    .await;
    assert_eq!((again.len(), &again[0]["attempt"]), (1, &json!(2)));
    let reason = json!({"settles": [
        {"token": again[0]["lease"]["token"], "action": "dead_letter", "reason": "broken"},
    ]});
    server.post("/v1/deliveries/settle", reason).await.json();
    let counts = server.get("/v1/groups/workers/counts").await.json();
    assert_eq!((&counts["ready"], &counts["dead"]), (&json!(0), &json!(1)));
    let dead = server.get("/v1/groups/workers/dead-letters").await.json();
    assert_eq!(dead["items"][0]["reason"], "broken");
    let redriven = server
        .ask("POST", "/v1/groups/workers/redrive")
        .await
        .json();
    assert_eq!(redriven["count"], 1);
    let peeked = server.get("/v1/groups/workers/peek").await.json();
    assert_eq!(peeked["items"][0]["attempt"], 0);
    server.stop().await;
}

#[tokio::test]
async fn an_offline_agent_loses_nothing() {
    let server = Server::on_disk().await;
    let hello = json!({"payload": {"text": "hello"}, "priority": 4});
    let path = "/v1/mailboxes/agent%201%2Fb";
    server
        .post(path, hello)
        .header("statehouse-principal", "bob")
        .await
        .json();
    let got = receive(&server, "/v1/mailboxes/agent%201%2Fb/receive", json!({})).await;
    let message = &got[0]["message"];
    assert_eq!(message["payload"]["text"], "hello");
    assert_eq!(
        (&message["sender"], &message["priority"]),
        (&json!("bob"), &json!(4))
    );
    server.stop().await;
}

#[tokio::test]
async fn a_waiting_receive_wakes() {
    let server = Server::on_disk().await;
    let path = "/v1/mailboxes/a/receive";
    let waiting = tokio::spawn(server.post(path, json!({"wait": "15s"})).send());
    let started = Instant::now();
    let hello = json!({"payload": {"text": "hello"}});
    server.post("/v1/mailboxes/a", hello).await.json();
    let got = waiting.await.unwrap().json();
    assert_eq!(got["items"].as_array().unwrap().len(), 1);
    assert!(started.elapsed() < Duration::from_secs(10));
    let lease = &got["items"][0]["lease"];
    assert!(
        lease["remaining"].as_str().unwrap().starts_with("29s"),
        "{lease}"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_takes_nothing_with_it() {
    let server = Server::on_disk().await;
    let path = "/v1/mailboxes/a/receive";
    receive(&server, path, json!({})).await;
    let gone = server.post(path, json!({"wait": "15s"})).open();
    let cut = tokio::time::timeout(Duration::from_millis(200), gone).await;
    assert!(cut.is_err(), "it waits");
    let hello = json!({"payload": {"text": "hello"}});
    server.post("/v1/mailboxes/a", hello).await.json();
    let got = receive(&server, path, json!({"wait": "5s"})).await;
    assert_eq!((got.len(), &got[0]["attempt"]), (1, &json!(1)));
    server.stop().await;
}

#[tokio::test]
async fn a_scheduled_message_can_be_taken_back() {
    let server = Server::start().await;
    let later = json!({"payload": {"text": "later"}, "delay": "1h"});
    let sent = server.post("/v1/mailboxes/a", later).await.json();
    let path = format!("/v1/messages/{}", sent["id"].as_str().unwrap());
    let cancel = || server.ask("DELETE", &path);
    assert_eq!(cancel().await.json()["cancelled"], true);
    assert_eq!(cancel().await.json()["cancelled"], false);
    server.stop().await;
}

#[tokio::test]
async fn a_paused_group_hands_out_nothing() {
    let server = Server::start().await;
    let hello = json!({"payload": {"text": "hello"}});
    server.post("/v1/mailboxes/a", hello).await.json();
    let at = |end: &str| format!("/v1/groups/mailbox.a/{end}");
    assert_eq!(server.ask("POST", &at("pause")).await.status, 204);
    assert!(receive(&server, &at("receive"), json!({})).await.is_empty());
    let age = server.get(&at("oldest-age")).await.json();
    assert!(age["age"].is_string(), "{age}");
    assert_eq!(server.ask("POST", &at("resume")).await.status, 204);
    assert_eq!(server.ask("POST", &at("purge")).await.json()["count"], 1);
    let groups = server.get("/v1/groups").await.json();
    assert_eq!(groups["items"][0]["group"], "mailbox.a");
    let delete = || server.ask("DELETE", "/v1/groups/mailbox.a");
    assert_eq!(delete().await.json()["removed"], true);
    assert_eq!(delete().await.json()["removed"], false);
    server.stop().await;
}
