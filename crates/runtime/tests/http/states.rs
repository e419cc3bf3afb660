//! States: round trips, versions, lists, transactions.

use serde_json::json;

use crate::client::Server;

#[tokio::test]
async fn a_state_comes_back_as_it_was_put() {
    let server = Server::on_disk().await;
    let put = server
        .put("/v1/states/task/a", "{\"x\": 1 }")
        .header("content-type", "application/json")
        .header("statehouse-schema", "na%C3%AFve")
        .header("statehouse-principal", "planner 1")
        .header("statehouse-ttl", "1h")
        .await;
    assert_eq!(put.header("etag"), "\"1\"");
    assert_eq!(put.json()["versions"], json!([1]));

    let got = server.get("/v1/states/task/a").await;
    assert_eq!(got.status, 200);
    assert_eq!(got.body, "{\"x\": 1 }");
    assert_eq!(got.header("etag"), "\"1\"");
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.header("statehouse-schema"), "na%C3%AFve");
    assert_eq!(got.header("statehouse-created-by"), "planner 1");
    assert!(got.header("statehouse-expires-at").ends_with('Z'));

    let head = server.ask("HEAD", "/v1/states/task/a").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), "9");
    let problem = server
        .get("/v1/states/task/b")
        .await
        .problem(404, "not_found");
    assert_eq!(problem["type"], "urn:statehouse:error:not_found");
    server.stop().await;
}

#[tokio::test]
async fn any_id_fits_into_a_path() {
    let server = Server::on_disk().await;
    let ids = [
        ("a%2Fb%2F%2Fc", "a/b//c"),
        ("%F0%9F%A6%80%20na%C3%AFve", "🦀 naïve"),
        ("%2E%2E", ".."),
        ("100%25+%3F%23", "100%+?#"),
        ("append", "append"),
        ("versions", "versions"),
    ];
    for (path, id) in ids {
        let put = server.put(&format!("/v1/states/task/{path}"), id).await;
        assert_eq!(put.status, 200, "{path}");
        let got = server.get(&format!("/v1/states/task/{path}")).await;
        assert_eq!(got.body, id, "{path}");
        let keys = json!({"keys": [{"kind": "task", "id": id}]});
        let read = server.post("/v1/states:batchGet", keys).await.json();
        assert_eq!(read["items"][0]["data"]["text"], id);
        let history = server
            .get(&format!("/v1/states/task/{path}/versions"))
            .await
            .json();
        assert_eq!(history["items"][0]["id"], id);
    }
    server.stop().await;
}

#[tokio::test]
async fn versions_go_on_and_back() {
    let server = Server::start().await;
    let path = "/v1/states/task/a";
    server.put(path, "one").await.json();
    server
        .ask("POST", "/v1/states/task/a/append")
        .body(" two")
        .await
        .json();
    assert_eq!(server.get(path).await.body, "one two");
    let back = server.ask("POST", "/v1/states/task/a/rollback").await;
    assert_eq!(back.header("etag"), "\"3\"");
    assert_eq!(server.get(path).await.body, "one");
    let to = json!({"to": {"version": 2}});
    server.post("/v1/states/task/a/rollback", to).await.json();
    server.ask("DELETE", path).await.json();
    server.get(path).await.problem(404, "not_found");

    let tombstone = server.get("/v1/states/task/a/versions/5").await;
    assert_eq!(tombstone.header("statehouse-tombstone"), "deleted");
    assert_eq!((tombstone.status, tombstone.body.len()), (200, 0));
    assert_eq!(
        server.get("/v1/states/task/a/versions/4").await.body,
        "one two"
    );
    let history = server
        .get("/v1/states/task/a/versions?before=4&limit=2&data=false")
        .await
        .json();
    let versions: Vec<_> = history["items"].as_array().unwrap().iter().collect();
    assert_eq!(versions.len(), 2);
    assert_eq!(
        (&versions[0]["version"], &versions[0]["data"]["text"]),
        (&json!(3), &json!(""))
    );
    for missing in ["6", "9223372036854775807"] {
        let path = format!("/v1/states/task/a/versions/{missing}");
        server.get(&path).await.problem(404, "not_found");
    }
    let pruned = json!({"kind": "task", "id": "a", "keep_last": 1});
    server.post("/v1/prune", pruned).await.json();
    server
        .get("/v1/states/task/a/versions/1")
        .await
        .problem(410, "pruned");
    server.stop().await;
}

#[tokio::test]
async fn lists_go_by_pages() {
    let server = Server::on_disk().await;
    for id in ["b/1", "b/2", "b/3", "c"] {
        let path = format!("/v1/states/task/{}", id.replace('/', "%2F"));
        server.put(&path, id).await.json();
    }
    let mut path = "/v1/states/task?prefix=b%2F&direction=descending&limit=2".to_owned();
    let mut ids = Vec::new();
    loop {
        let page = server.get(&path).await.json();
        let items = page["items"].as_array().unwrap();
        ids.extend(
            items
                .iter()
                .map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => {
                path = format!(
                    "/v1/states/task?prefix=b%2F&direction=descending&limit=2&cursor={next}"
                );
            }
            None => break,
        }
    }
    assert_eq!(ids, ["b/3", "b/2", "b/1"]);
    let globbed = server.get("/v1/states/task?glob=%5Bbc%5D*").await.json();
    assert_eq!(globbed["items"].as_array().unwrap().len(), 4);
    let wrong = "/v1/states/task?cursor=wrong";
    server.get(wrong).await.problem(400, "invalid_argument");
    server.stop().await;
}

#[tokio::test]
async fn a_transaction_is_all_or_nothing() {
    let server = Server::on_disk().await;
    let write = |id: &str, precondition| {
        json!({
            "operation": "put", "kind": "task", "id": id, "precondition": precondition,
            "data": {"json": {"id": id}},
        })
    };
    let both = json!({"writes": [write("a", json!("absent")), write("b", json!("none"))]});
    let applied = server.post("/v1/apply", both.clone()).await.json();
    assert_eq!(applied["versions"], json!([1, 1]));

    let problem = server
        .post("/v1/apply", both)
        .await
        .problem(412, "conflict");
    let conflicts = json!([{"index": 0, "kind": "task", "id": "a", "current": 1, "live": true}]);
    assert_eq!(problem["conflicts"], conflicts);
    assert_eq!(
        server.get("/v1/states/task/b").await.header("etag"),
        "\"1\""
    );
    let twice = json!({"writes": [write("c", json!("none")), write("c", json!("none"))]});
    server
        .post("/v1/apply", twice)
        .await
        .problem(400, "invalid_argument");
    server.stop().await;
}

#[tokio::test]
async fn what_is_exported_can_be_imported_elsewhere() {
    let (from, to) = (Server::start().await, Server::on_disk().await);
    from.put("/v1/states/task/a", "one").await.json();
    from.put("/v1/states/task/a", &b"\xff\x00"[..]).await.json();
    from.ask("DELETE", "/v1/states/agent/x").await.json();
    let exported = from.get("/v1/export").await.json();
    let records = json!({"records": exported["items"]});
    // Reading it first fills the cache with nothing.
    to.get("/v1/states/task/a").await.problem(404, "not_found");
    let written = to.post("/v1/import", records.clone()).await.json();
    assert_eq!(written["items"], json!([true]));
    let again = to.post("/v1/import", records).await.json();
    assert_eq!(again["items"], json!([false]));
    let got = to.get("/v1/states/task/a").await;
    assert_eq!(got.header("etag"), "\"2\"");
    assert_eq!(got.body, &b"\xff\x00"[..]);
    from.stop().await;
    to.stop().await;
}

#[tokio::test]
async fn namespaces_see_nothing_of_each_other() {
    let server = Server::start().await;
    let team = |ask: crate::client::Ask| ask.header("statehouse-namespace", "team");
    team(server.put("/v1/states/task/a", "x")).await.json();
    server
        .get("/v1/states/task/a")
        .await
        .problem(404, "not_found");
    assert_eq!(team(server.get("/v1/states/task/a")).await.body, "x");
    let namespaces = server.get("/v1/namespaces").await.json();
    assert!(
        namespaces["items"]
            .as_array()
            .unwrap()
            .contains(&json!("team"))
    );
    let wrong = server
        .get("/v1/states/task/a")
        .header("statehouse-namespace", "No!");
    wrong.await.problem(400, "invalid_argument");
    server.stop().await;
}
