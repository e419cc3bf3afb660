//! Large content.

use serde_json::json;
use statehouse_contracts::ReferenceId;

use crate::client::Server;

#[tokio::test]
async fn content_comes_back_whole_and_in_parts() {
    let server = Server::on_disk().await;
    let content: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    let put = server
        .ask("POST", "/v1/references")
        .body(content.clone())
        .header("content-type", "application/x-trace")
        .header(
            "statehouse-holder",
            "me 🦀".replace('🦀', "%F0%9F%A6%80").as_str(),
        )
        .header("statehouse-reference-kind", "tool_result")
        .header("statehouse-compression", "lz4")
        .await;
    assert_eq!(put.status, 201);
    let outcome = put.json();
    let id = ReferenceId::of(&content).to_string();
    assert_eq!(outcome["reference"]["id"], id);
    assert_eq!(outcome["holder"], "me 🦀");

    let path = format!("/v1/references/{id}");
    let whole = server.get(&path).await;
    assert_eq!((whole.status, &whole.body[..]), (200, &content[..]));
    assert_eq!(whole.header("content-type"), "application/x-trace");
    assert_eq!(whole.header("statehouse-compression"), "lz4");
    let head = server.ask("HEAD", &path).await;
    assert_eq!(head.header("content-length"), "300000");
    assert_eq!(head.header("accept-ranges"), "bytes");

    let part = |range: &str| server.get(&path).header("range", range);
    let table = [
        (
            "bytes=70000-140000",
            70_000..140_001,
            "bytes 70000-140000/300000",
        ),
        (
            "bytes=299999-",
            299_999..300_000,
            "bytes 299999-299999/300000",
        ),
        ("bytes=-10", 299_990..300_000, "bytes 299990-299999/300000"),
        ("bytes=0-999999", 0..300_000, "bytes 0-299999/300000"),
    ];
    for (range, expected, says) in table {
        let reply = part(range).await;
        assert_eq!(reply.status, 206, "{range}");
        assert_eq!(reply.header("content-range"), says);
        assert_eq!(reply.body, &content[expected]);
    }
    let beyond = part("bytes=300000-").await;
    beyond.problem(416, "invalid_argument");
    assert_eq!(beyond.header("content-range"), "bytes */300000");
    assert_eq!(part("bytes=1-2,4-5").await.status, 200);
    let same = server
        .get(&path)
        .header("if-none-match", &format!("\"{id}\""));
    assert_eq!(same.await.status, 304);
    server.stop().await;
}

#[tokio::test]
async fn content_lives_by_its_holders() {
    let server = Server::on_disk().await;
    let id = ReferenceId::of(b"x").to_string();
    let path = format!("/v1/references/{id}");
    let put = || server.put(&path, "x").header("statehouse-holder", "a");
    assert_eq!(put().await.status, 201);
    assert_eq!(put().await.status, 200);
    let wrong = server.put(&path, "y").await;
    wrong.problem(400, "invalid_argument");

    let holder = |name: &str| format!("{path}/holders/{name}");
    assert_eq!(server.ask("PUT", &holder("b%2Fc")).await.status, 204);
    let info = |path: &str| server.get(&format!("{path}/info"));
    assert_eq!(info(&path).await.json()["holders"], 2);
    let listed = server.get("/v1/references?holder=b%2Fc").await.json();
    assert_eq!(listed["items"][0]["id"], id);
    for name in ["a", "b%2Fc"] {
        let released = server.ask("DELETE", &holder(name)).await.json();
        assert_eq!(released["removed"], true);
    }
    assert_eq!(
        server.ask("POST", "/v1/references/gc").await.json()["entries"],
        1
    );
    server.get(&path).await.problem(404, "not_found");
    let stats = server.get("/v1/references/stats").await.json();
    assert_eq!(stats["entries"], 0);
    server.stop().await;
}

#[tokio::test]
async fn content_that_is_touched_lives_on_and_deleted_is_gone() {
    let server = Server::start().await;
    let id = ReferenceId::of(b"x").to_string();
    let path = format!("/v1/references/{id}");
    server
        .put(&path, "x")
        .header("statehouse-ttl", "1h")
        .await
        .json();
    let expires = || server.get(&format!("{path}/info"));
    assert!(expires().await.json()["expires_at"].is_string());
    let touched = server.ask("POST", &format!("{path}/touch")).await;
    assert_eq!(touched.status, 204);
    assert_eq!(expires().await.json().get("expires_at"), None);
    let body = json!({"ttl": "5m"});
    assert_eq!(
        server.post(&format!("{path}/touch"), body).await.status,
        204
    );
    let delete = || server.ask("DELETE", &path);
    assert_eq!(delete().await.json()["removed"], true);
    assert_eq!(delete().await.json()["removed"], false);
    let empty = server.ask("POST", "/v1/references").await;
    empty.problem(400, "invalid_argument");
    server.stop().await;
}
