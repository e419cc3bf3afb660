//! The service itself: tokens, origins, its own routes, start and end.

use std::time::{Duration, Instant};

use serde_json::json;
use statehouse_contracts::ErrorKind;
use statehouse_runtime::adapters::registry;
use statehouse_runtime::serve::Service;
use tempfile::TempDir;

use crate::client::{Events, Server, config, within};

#[tokio::test]
async fn tokens_say_who_acts_and_where() {
    let text = "[backends]\ndefault = \"memory:\"\n\
        [[server.tokens]]\ntoken_env = \"A\"\nprincipal = \"planner\"\n\
        [[server.tokens]]\ntoken_env = \"B\"\nnamespace = \"team\"\n";
    let variables = [("A", "token-a"), ("B", "token-b")];
    let server = Server::open(TempDir::new().unwrap(), text, &variables).await;
    let path = "/v1/states/task/a";
    let none = server.get(path).await;
    none.problem(401, "permission_denied");
    assert_eq!(none.header("www-authenticate"), "Bearer");
    let wrong = server.get(path).header("authorization", "Bearer token-c");
    wrong.await.problem(401, "permission_denied");

    let a = server
        .put(path, "x")
        .header("authorization", "Bearer token-a");
    // The token says who acts, whatever the header says.
    a.header("statehouse-principal", "somebody else")
        .await
        .json();
    let got = server
        .get(path)
        .header("authorization", "bearer token-a")
        .await;
    assert_eq!(got.header("statehouse-created-by"), "planner");
    let b = || server.get(path).header("authorization", "Bearer token-b");
    b().await.problem(404, "not_found");
    let elsewhere = b().header("statehouse-namespace", "default");
    elsewhere.await.problem(403, "permission_denied");
    let namespaces = server
        .get("/v1/namespaces")
        .header("authorization", "Bearer token-b");
    let items = namespaces.await.json()["items"].clone();
    assert!(
        !items.as_array().unwrap().contains(&json!("default")),
        "{items}"
    );
    assert_eq!(server.get("/healthz").await.status, 204);
    server.stop().await;
}

#[tokio::test]
async fn pages_of_other_origins_may_not_call() {
    let text = "[backends]\ndefault = \"memory:\"\n\
        [server]\ncors_origins = [\"https://board.example\"]\n";
    let server = Server::with(text).await;
    let path = "/v1/states/task/a";
    let evil = server
        .put(path, "x")
        .header("origin", "https://evil.example");
    evil.await.problem(403, "permission_denied");
    server.get(path).await.problem(404, "not_found");
    let asked = server
        .ask("OPTIONS", path)
        .header("origin", "https://board.example");
    let asked = asked.header("access-control-request-method", "PUT").await;
    assert_eq!(asked.status, 204);
    assert!(asked.header("access-control-allow-methods").contains("PUT"));
    let put = server
        .put(path, "x")
        .header("origin", "https://board.example")
        .await;
    assert_eq!(
        put.header("access-control-allow-origin"),
        "https://board.example"
    );
    server.stop().await;
}

#[tokio::test]
async fn the_service_describes_itself() {
    let server = Server::on_disk().await;
    let capabilities = server.get("/v1/capabilities").await.json();
    assert_eq!(capabilities["state"]["durability"]["power_loss"], true);
    assert_eq!(capabilities["max_wait"], "1m");
    let backends = server.get("/v1/backends").await.json();
    assert_eq!(backends["items"].as_array().unwrap().len(), 1);
    let roles = json!(["state", "messages", "tasks", "references"]);
    assert_eq!(backends["items"][0]["roles"], roles);
    assert_eq!(server.get("/readyz").await.status, 204);
    let description = server.get("/openapi.json").await.json();
    assert_eq!(description["openapi"], "3.1.0");
    server.get("/metrics").await.problem(404, "not_found");
    server.stop().await;
}

#[tokio::test]
async fn three_stores_of_states_act_as_one() {
    let folder = TempDir::new().unwrap();
    let store = |name: &str| {
        format!(
            "{name} = \"sqlite:{}/{name}.db\"\n",
            folder.path().display()
        )
    };
    let text = format!(
        "[backends]\ndefault = \"memory:\"\n[backends.trio]\n{}{}{}",
        store("main"),
        store("replica"),
        store("rollback"),
    );
    let server = Server::open(folder, &text, &[]).await;
    let path = "/v1/states/task/a";
    server.put(path, "one").await.json();
    server.put(path, "two").await.json();
    assert_eq!(
        server
            .get(path)
            .header("cache-control", "no-cache")
            .await
            .body,
        "two"
    );
    let backends = server.get("/v1/backends").await.json();
    assert_eq!(backends["items"].as_array().unwrap().len(), 4);
    // The feeds keep their places in main's log, and catch up.
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let followers = server.get("/v1/changes/followers").await.json();
        let fed = followers["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|follower| {
                let name = follower["name"].as_str().unwrap();
                ["statehouse.replica", "statehouse.rollback"].contains(&name)
                    && follower["lag"] == 0
            });
        if fed.count() == 2 {
            break;
        }
        assert!(Instant::now() < deadline, "{followers}");
    }
    let trio = server.get("/v1/trio").await.json();
    assert_eq!(
        trio["main"],
        json!({"reachable": true, "problem": null, "lag": null})
    );
    assert_eq!(trio["rollback"]["lag"], 0);
    assert_eq!(server.get(&format!("{path}/previous")).await.body, "one");
    let restore = || server.post(&format!("{path}/restore"), json!(null));
    restore()
        .header("if-match", "\"1\"")
        .await
        .problem(412, "conflict");
    assert_eq!(restore().await.json()["versions"], json!([3]));
    assert_eq!(server.get(path).await.body, "one");
    let absent = server
        .post("/v1/states/task/none/restore", json!(null))
        .await;
    absent.problem(404, "not_found");
    server.stop().await;

    let server = Server::start().await;
    server.get("/v1/trio").await.problem(501, "unsupported");
    server.stop().await;
}

#[tokio::test]
async fn a_shutdown_ends_waits_and_keeps_what_was_accepted() {
    let server = Server::on_disk().await;
    server.put("/v1/states/task/a", "kept").await.json();
    let mut stream = Events::open(server.get("/v1/changes")).await;
    let waiting = server.post("/v1/mailboxes/a/receive", json!({"wait": "50s"}));
    let waiting = tokio::spawn(waiting.send());
    // It waits once the mailbox is there.
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.get("/v1/groups").await.json()["items"] == json!([]) {
        assert!(Instant::now() < deadline);
    }
    let started = Instant::now();
    server.begin_stop();
    assert_eq!(waiting.await.unwrap().json()["items"], json!([]));
    assert!(stream.next().await.is_none());
    let folder = server.stop().await;
    assert!(started.elapsed() < Duration::from_secs(10));

    let file = folder.path().join("test.db");
    assert!(
        !folder.path().join("test.db-wal").exists(),
        "the log is written back"
    );
    let text = format!("[backends]\ndefault = \"sqlite:{}\"\n", file.display());
    let server = Server::open(folder, &text, &[]).await;
    assert_eq!(server.get("/v1/states/task/a").await.body, "kept");
    server.stop().await;
}

#[tokio::test]
async fn what_prevents_the_start_is_said() {
    let server = Server::start().await;
    let folder = TempDir::new().unwrap();
    let open = async |text: &str, listen: Option<&str>| {
        let mut config = config(&folder, text);
        if let Some(listen) = listen {
            config.server.listen = listen.parse().unwrap();
        }
        let registry = registry();
        let opening = Service::open(config, &registry, Vec::new(), None);
        let opened = within(Box::pin(opening)).await;
        opened.map(|_| ()).unwrap_err()
    };
    let memory = "[backends]\ndefault = \"memory:\"\n";
    let taken = server.address.to_string();
    let error = open(memory, Some(&taken)).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.to_string().contains("another program listens"),
        "{error}"
    );
    let error = open(memory, Some("0.0.0.0:0")).await;
    assert!(error.to_string().contains("token"), "{error}");
    let error = open(
        "[backends]\ntasks = \"amqp://h/v\"\ndefault = \"memory:\"\n",
        None,
    )
    .await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error
            .to_string()
            .contains("--features rabbitmq, role=tasks"),
        "{error}"
    );
    let error = open(
        "[backends]\ndefault = \"sqlite:/nowhere/at/all.db\"\n",
        None,
    )
    .await;
    assert!(
        error.to_string().contains("/nowhere/at does not exist"),
        "{error}"
    );
    server.stop().await;
}
