//! Preconditions, entity tags and repeats.

use serde_json::json;

use crate::client::Server;

const PATH: &str = "/v1/states/task/a";

#[tokio::test]
async fn a_precondition_that_does_not_hold_is_412() {
    let server = Server::on_disk().await;
    let absent = |body: &'static str| server.put(PATH, body).header("if-none-match", "*");
    absent("one").await.json();
    let problem = absent("two").await.problem(412, "conflict");
    assert_eq!(problem["conflicts"][0]["current"], 1);

    let at = |version: &str, body: &'static str| server.put(PATH, body).header("if-match", version);
    at("\"1\"", "two").await.json();
    at("\"1\"", "three").await.problem(412, "conflict");
    assert_eq!(server.get(PATH).await.body, "two");
    let delete = server.ask("DELETE", PATH).header("if-match", "\"1\"");
    delete.await.problem(412, "conflict");
    for wrong in [
        "2",
        "*",
        "W/\"2\"",
        "\"0\"",
        "\"-1\"",
        "\"9223372036854775808\"",
        "\"1\", \"2\"",
    ] {
        at(wrong, "x").await.problem(400, "invalid_argument");
    }
    let huge = at("\"9223372036854775807\"", "x");
    huge.await.problem(412, "conflict");
    server.stop().await;
}

#[tokio::test]
async fn one_of_many_racing_writers_wins() {
    let server = Server::on_disk().await;
    let racers = (0..16).map(|index| {
        let ask = server.put(PATH, format!("{index}"));
        tokio::spawn(ask.header("if-none-match", "*").send())
    });
    let mut statuses = Vec::new();
    for racer in racers.collect::<Vec<_>>() {
        statuses.push(racer.await.unwrap().status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses[0], 200);
    assert!(
        statuses[1..].iter().all(|status| *status == 412),
        "{statuses:?}"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_has_the_version_gets_304() {
    let server = Server::start().await;
    server.put(PATH, "one").await.json();
    let ask = |tags: &str| server.get(PATH).header("if-none-match", tags);
    for tags in ["\"1\"", "\"7\", W/\"1\"", "*"] {
        let same = ask(tags).await;
        assert_eq!((same.status, same.body.len()), (304, 0), "{tags}");
        assert_eq!(same.header("etag"), "\"1\"");
    }
    server.put(PATH, "two").await.json();
    assert_eq!(ask("\"1\"").await.body, "two");
    server.stop().await;
}

#[tokio::test]
async fn a_repeat_answers_with_the_first_result() {
    let server = Server::on_disk().await;
    let put = |body: &'static str| server.put(PATH, body).header("idempotency-key", "op 1");
    let first = put("one").await.json();
    server.put(PATH, "two").await.json();
    let second = put("one").await.json();
    assert_eq!(
        (&second["commit"], &second["replayed"]),
        (&first["commit"], &json!(true))
    );
    assert_eq!(server.get(PATH).await.body, "two");
    put("other").await.problem(409, "conflict");

    let body = json!({"op_id": "x", "writes": []});
    let differs = server
        .post("/v1/apply", body)
        .header("idempotency-key", "y");
    differs.await.problem(400, "invalid_argument");
    server.stop().await;
}
