//! Task stacks.

use serde_json::{Value, json};

use crate::client::Server;

async fn claim(server: &Server, wait: &str) -> Value {
    let body = json!({"worker": "w", "wait": wait});
    server.post("/v1/stacks/main/claim", body).await.json()["items"][0].clone()
}

async fn settle(server: &Server, settle: Value) -> Value {
    let body = json!({"settles": [settle]});
    server.post("/v1/tasks/settle", body).await.json()["items"][0].clone()
}

#[tokio::test]
async fn a_parent_resumes_with_the_outcomes_of_its_children() {
    let server = Server::on_disk().await;
    let parent = json!({"tasks": [
        {"id": "old", "kind": "k", "payload": {"text": ""}},
        {"id": "a/b", "kind": "k", "payload": {"json": {"n": 1}}},
    ]});
    let push = |body: &Value| server.post("/v1/stacks/main/tasks", body.clone());
    let pushed = push(&parent).header("idempotency-key", "p").await.json();
    assert_eq!(pushed["items"][1], json!({"id": "a/b", "duplicate": false}));
    let again = push(&parent).header("idempotency-key", "p").await.json();
    assert_eq!(again["items"], pushed["items"]);

    let first = claim(&server, "0s").await;
    assert_eq!(first["task"]["id"], "a/b");
    let children = json!({
        "tasks": [{"id": "c", "kind": "k", "payload": {"text": ""}}],
        "parent": first["lease"]["token"],
    });
    push(&children).await.json();
    let suspended = server.get("/v1/tasks/a%2Fb").await.json();
    assert_eq!(suspended["state"], "suspended");
    let child = claim(&server, "0s").await;
    let done = json!({
        "token": child["lease"]["token"], "action": "complete", "result": {"json": [1]},
    });
    let settled = settle(&server, done.clone()).await;
    assert_eq!(settled["ok"]["state"], "completed");
    assert_eq!(settle(&server, done).await["ok"]["state"], "completed");

    let resumed = claim(&server, "5s").await;
    assert_eq!(resumed["task"]["id"], "a/b");
    assert_eq!(resumed["outcomes"][0]["id"], "c");
    assert_eq!(resumed["outcomes"][0]["result"]["json"], json!([1]));
    let depth = server.get("/v1/stacks/main/depth").await.json();
    assert_eq!((&depth["ready"], &depth["running"]), (&json!(1), &json!(1)));
    server.stop().await;
}

#[tokio::test]
async fn tasks_are_claimed_extended_failed_and_cancelled() {
    let server = Server::start().await;
    let waiting = tokio::spawn(
        server
            .post(
                "/v1/stacks/main/claim",
                json!({"worker": "w", "wait": "15s"}),
            )
            .send(),
    );
    let task = json!({"tasks": [{"id": "a", "kind": "k", "payload": {"text": "x"}}]});
    server.post("/v1/stacks/main/tasks", task).await.json();
    let claim = waiting.await.unwrap().json()["items"][0].clone();
    let old = &claim["lease"]["token"];
    let longer = json!({"token": old, "action": "extend", "lease": "1m"});
    let extended = settle(&server, longer).await;
    let token = &extended["ok"]["lease"]["token"];
    let stale = settle(&server, json!({"token": old, "action": "release"})).await;
    assert_eq!(stale["error"]["kind"], "lease_lost");
    assert_eq!(stale["error"]["status"], 409);
    let failed = json!({"token": token, "action": "fail", "error": "no", "retry": {"after": "1h"}});
    assert_eq!(settle(&server, failed).await["ok"]["state"], "delayed");

    let listed = server
        .get("/v1/tasks?state=delayed&stack=main")
        .await
        .json();
    assert_eq!(listed["items"][0]["errors"][0]["error"], "no");
    assert_eq!(
        server.get("/v1/stacks").await.json()["items"],
        json!(["main"])
    );
    let peeked = server.get("/v1/stacks/main/peek?max=3").await.json();
    assert_eq!(peeked["items"], json!([]));
    let cancel = || server.ask("POST", "/v1/tasks/a/cancel");
    assert_eq!(cancel().await.json()["count"], 1);
    assert_eq!(cancel().await.json()["count"], 0);
    server.get("/v1/tasks/b").await.problem(404, "not_found");
    server.stop().await;
}
