//! Mailboxes.

use serde_json::{Value, json};

use crate::client::Server;

pub(crate) async fn receive(server: &Server, agent: &str) -> Value {
    let path = format!("/v1/mailboxes/{agent}/receive");
    let got = server.post(&path, json!({"wait": "15s"})).await.json();
    got["items"][0].clone()
}

async fn settle(server: &Server, token: &Value, action: &str, field: (&str, &str)) -> Value {
    let mut settle = json!({"token": token, "action": action});
    if !field.0.is_empty() {
        settle[field.0] = json!(field.1);
    }
    let settles = json!({"settles": [settle]});
    server.post("/v1/deliveries/settle", settles).await.json()["items"][0].clone()
}

/// How many contents have a holder.
async fn held(server: &Server) -> Value {
    let stats = server.get("/v1/references/stats").await.json();
    stats["held"].clone()
}

#[tokio::test]
async fn a_large_message_travels_by_reference_and_nobody_sees_it() {
    let server = Server::on_disk().await;
    let long = "long ".repeat(10_000);
    let body = json!({"payload": {"text": long}, "kind": "report"});
    server.post("/v1/mailboxes/my-agent", body).await.json();
    let held_now = held(&server).await;
    assert_ne!(held_now, 0, "it travels by reference");

    let all = server.get("/v1/mailboxes").await.json();
    assert_eq!(all["items"], json!([{"agent": "my-agent", "ready": 1}]));
    let path = "/v1/mailboxes/my-agent";
    let pending = server.get(&format!("{path}/pending")).await.json();
    assert_eq!(pending["items"][0]["size"], 50_000);
    assert_eq!(pending["items"][0]["kind"], "report");
    let peeked = server.get(&format!("{path}/peek")).await.json();
    let peeked = &peeked["items"][0]["received"]["message"];
    assert_eq!(peeked["payload"]["text"], long);

    let got = receive(&server, "my-agent").await;
    assert_eq!(got["message"]["payload"]["text"], long);
    let token = &got["lease"]["token"];
    let extended = settle(&server, token, "extend", ("lease", "1m")).await;
    let token = extended["ok"]["lease"]["token"].clone();
    settle(&server, &token, "dead_letter", ("reason", "too long")).await;

    let dead = server.get(&format!("{path}/dead-letters")).await.json();
    assert_eq!(dead["items"][0]["reason"], "too long");
    let letter = &dead["items"][0]["received"]["message"]["payload"];
    assert_eq!(letter["text"], long, "its content stays with it");
    let status = server.get(path).await.json();
    assert_eq!(status["counts"]["dead"], 1);
    let back = server.ask("POST", &format!("{path}/redrive")).await.json();
    assert_eq!(back["count"], 1);

    let again = receive(&server, "my-agent").await;
    assert_eq!(again["message"]["payload"]["text"], long);
    let done = settle(&server, &again["lease"]["token"], "ack", ("", "")).await;
    assert_eq!(done, json!({"ok": {}}));
    let listed = server.get("/v1/references").await.json();
    let large = listed["items"].as_array().unwrap().iter();
    let large = large.filter(|info| info["size"] == 50_000 && info["holders"] != 0);
    assert_eq!(large.count(), 0, "nobody needs it: {listed}");
    server.stop().await;
}

#[tokio::test]
async fn one_answer_holds_so_much_content_and_no_more() {
    let server = Server::on_disk().await;
    let long = "long ".repeat(2_500_000);
    for _ in 0..3 {
        let body = json!({"payload": {"text": long}});
        server.post("/v1/mailboxes/reader", body).await.json();
    }
    let plain = |items: &Value, message: &str| -> Vec<bool> {
        let items = items["items"].as_array().unwrap().iter();
        let payloads = items.map(|item| item.pointer(message).unwrap());
        payloads.map(|payload| payload["text"] == long).collect()
    };
    let peeked = server.get("/v1/mailboxes/reader/peek").await.json();
    assert_eq!(
        plain(&peeked, "/received/message/payload"),
        [true, true, false]
    );

    let path = "/v1/mailboxes/reader/receive";
    let got = server.post(path, json!({"max": 3})).await.json();
    assert_eq!(plain(&got, "/message/payload"), [true, true, false]);
    let third = &got["items"][2];
    let reference = &third["message"]["payload"]["reference"];
    let content = format!("/v1/references/{}", reference["id"].as_str().unwrap());
    assert_eq!(server.get(&content).await.body.len(), long.len());
    for item in got["items"].as_array().unwrap() {
        let done = settle(&server, &item["lease"]["token"], "ack", ("", "")).await;
        assert_eq!(done, json!({"ok": {}}));
    }
    let listed = server.get("/v1/references").await.json();
    let large = listed["items"].as_array().unwrap().iter();
    let large = large.filter(|info| info["size"] == long.len() && info["holders"] != 0);
    assert_eq!(large.count(), 0, "nobody needs it: {listed}");
    server.stop().await;
}

#[tokio::test]
async fn rules_of_mailboxes_come_from_the_configuration() {
    let text = "[backends]\ndefault = \"memory:\"\n\
        [mailbox]\nretries = 0\nunknown_agents = \"refuse\"\nttl = \"1h\"\n\
        [communication.auto_promote]\nthreshold = 10\n\
        [shared_memory]\nmax_value = 4\nttl = \"1h\"\n";
    let server = Server::with(text).await;
    let hello = || json!({"payload": {"text": "longer than ten"}});
    let unknown = server.post("/v1/mailboxes/bob", hello()).await;
    let problem = unknown.problem(404, "not_found");
    assert!(problem["detail"].as_str().unwrap().contains("bob"));
    server.put("/v1/states/agent/bob", "x").await.json();
    server.post("/v1/mailboxes/bob", hello()).await.json();
    assert_ne!(held(&server).await, 0);
    let got = receive(&server, "bob").await;
    assert!(got["expires_at"].is_string(), "{got}");
    settle(&server, &got["lease"]["token"], "nack", ("error", "no")).await;
    let status = server.get("/v1/mailboxes/bob").await.json();
    assert_eq!(status["counts"]["dead"], 1, "no retry");
    let letter = json!({"topic": "mailbox.eve", "payload": {"text": "done"}});
    let transaction = json!({"writes": [], "messages": [letter]});
    server.post("/v1/apply", transaction).await.json();
    let got = receive(&server, "eve").await;
    settle(&server, &got["lease"]["token"], "nack", ("error", "no")).await;
    let status = server.get("/v1/mailboxes/eve").await.json();
    assert_eq!(
        status["counts"]["dead"], 1,
        "also when a transaction made it"
    );
    let large = server.put("/v1/shared-memory/global/a", "12345").await;
    large.problem(400, "invalid_argument");
    server
        .put("/v1/shared-memory/global/a", "1234")
        .await
        .json();
    let value = server.get("/v1/shared-memory/global/a").await;
    assert!(!value.header("statehouse-expires-at").is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_mailbox_is_made_as_the_configuration_says_whatever_makes_it() {
    let text = "[backends]\ndefault = \"memory:\"\n[mailbox]\nretries = 7\n";
    let server = Server::with(text).await;
    let payload = json!({"text": "hello"});
    let mail = json!({"topic": "mailbox.a", "payload": payload});
    let sent = server.post("/v1/messages", json!({"messages": [mail]}));
    assert!(sent.await.json()["items"][0]["ok"].is_object());
    let body = json!({"payload": payload});
    server.post("/v1/topics/mailbox.b", body).await.json();
    let path = "/v1/groups/mailbox.c/receive";
    server.post(path, json!({})).await.json();
    for agent in ["a", "b", "c"] {
        let body = json!({"payload": payload});
        let path = format!("/v1/mailboxes/{agent}");
        server.post(&path, body).await.json();
        let got = receive(&server, agent).await;
        assert_eq!(got["message"]["payload"]["text"], "hello", "{agent}");
    }
    let groups = server.get("/v1/groups").await.json();
    for group in groups["items"].as_array().unwrap() {
        assert_eq!(group["spec"]["max_deliveries"], 8, "{group}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_mailbox_that_was_never_used_has_no_dead_letters() {
    let server = Server::on_disk().await;
    let path = "/v1/mailboxes/nobody";
    let redriven = server.ask("POST", &format!("{path}/redrive")).await.json();
    assert_eq!(redriven, json!({"count": 0}));
    let dead = format!("{path}/dead-letters");
    let purged = server.ask("DELETE", &dead).await.json();
    assert_eq!(purged, json!({"count": 0}));
    let one = json!({"id": "01890000-0000-7000-8000-000000000000"});
    let unknown = server.post(&format!("{path}/redrive"), one).await;
    unknown.problem(404, "not_found");
    server.stop().await;
}
