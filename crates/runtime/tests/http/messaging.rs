//! Requests, topics, shared memory and interrupts.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Events, Server, within};
use crate::mailboxes::receive;

#[tokio::test]
async fn what_is_no_longer_shared_is_no_state_either() {
    let server = Server::on_disk().await;
    for removed in ["/v1/shared-memory/global/a", "/v1/shared-memory/global"] {
        server.put("/v1/shared-memory/global/a", "1").await.json();
        let state = "/v1/states/shared/global%2F%2Fa";
        assert_eq!(server.get(state).await.status, 200);
        server.ask("DELETE", removed).await.json();
        server.get(state).await.problem(404, "not_found");
    }
    server.stop().await;
}

#[tokio::test]
async fn b35_a_request_is_answered_whatever_the_agents_are_called() {
    let server = Server::on_disk().await;
    for (asking, asked) in [("my-agent", "worker/1 ü"), ("self-1", "self-1")] {
        let escaped = asked
            .replace('/', "%2F")
            .replace(' ', "%20")
            .replace('ü', "%C3%BC");
        let request = json!({"to": asked, "from": asking, "payload": {"text": "6 x 7?"}});
        let waiting = tokio::spawn(server.post("/v1/requests", request).send());
        let got = receive(&server, &escaped).await;
        let message = &got["message"];
        assert_eq!(message["payload"]["text"], "6 x 7?");
        assert_eq!(message["sender"], asking);
        let correlation = message["correlation_id"].as_str().unwrap();
        let path = format!("/v1/requests/{correlation}/reply");
        let reply = || {
            json!({
                "reply_to": message["reply_to"], "to": message["sender"], "from": asked,
                "payload": {"text": "42"}, "token": got["lease"]["token"],
            })
        };
        server.post(&path, reply()).await.json();
        let answer = within(waiting).await.unwrap().json();
        assert_eq!(answer["payload"]["text"], "42");
        assert_eq!(answer["sender"], asked);
        // A repeat changes nothing.
        server.post(&path, reply()).await;
        let status = server.get(&format!("/v1/mailboxes/{escaped}")).await.json();
        let counts = &status["counts"];
        assert_eq!(
            (&counts["ready"], &counts["in_flight"]),
            (&json!(0), &json!(0))
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn b34_a_late_reply_goes_to_the_mailbox() {
    let server = Server::on_disk().await;
    let request = json!({"to": "b", "from": "a-1", "payload": {"text": "?"}, "timeout": "50ms"});
    let started = Instant::now();
    let late = server.post("/v1/requests", request).await;
    late.problem(504, "timeout");
    assert!(started.elapsed() < Duration::from_secs(10));
    let got = receive(&server, "b").await;
    let message = &got["message"];
    let path = format!(
        "/v1/requests/{}/reply",
        message["correlation_id"].as_str().unwrap()
    );
    let reply = json!({"reply_to": message["reply_to"], "to": "a-1", "payload": {"text": "late"}});
    server.post(&path, reply).await.json();
    let mail = receive(&server, "a-1").await;
    assert_eq!(mail["message"]["payload"]["text"], "late");
    let long = json!({"to": "b", "payload": {"text": "?"}, "timeout": "2m"});
    let refused = server.post("/v1/requests", long).await;
    assert_eq!(
        refused.problem(400, "invalid_argument")["limit"]["name"],
        "max_wait"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_request_that_waits_does_not_hold_up_a_shutdown() {
    let server = Server::on_disk().await;
    let request = json!({"to": "nobody", "payload": {"text": "?"}});
    let waiting = tokio::spawn(server.post("/v1/requests", request).send());
    receive(&server, "nobody").await;
    let started = Instant::now();
    let folder = server.stop().await;
    assert!(started.elapsed() < Duration::from_secs(10));
    within(waiting).await.unwrap().problem(503, "closed");
    let file = folder.path().join("test.db");
    let text = format!("[backends]\ndefault = \"sqlite:{}\"\n", file.display());
    let server = Server::open(folder, &text, &[]).await;
    let groups = server.get("/v1/groups").await.json().to_string();
    assert!(groups.contains("mailbox.nobody"), "{groups}");
    assert!(
        !groups.contains("replies."),
        "it leaves nothing behind: {groups}"
    );
    server.stop().await;
}

#[tokio::test]
async fn what_a_crashed_process_left_behind_is_removed() {
    let text = "[backends]\ndefault = \"memory:\"\n[requests]\nrecover_interval = \"20ms\"\n";
    let server = Server::with(text).await;
    // As of 2023, by its id.
    let group = "replies.01890000-0000-7000-8000-000000000000";
    let spec = json!({"pattern": "reply.01890000-0000-7000-8000-000000000000"});
    let declare = server.ask("PUT", &format!("/v1/groups/{group}"));
    let declare = declare.header("content-type", "application/json");
    declare.body(spec.to_string()).await.json();
    server.get("/v1/mailboxes").await.json();
    let started = Instant::now();
    loop {
        let groups = server.get("/v1/groups").await.json().to_string();
        if !groups.contains(group) {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "it stays");
    }
    server.stop().await;
}

#[tokio::test]
async fn topics_are_filtered_counted_and_told_with_plain_payloads() {
    let server = Server::on_disk().await;
    let path =
        "/v1/topics/job*?dialect=glob&from=ada,eve&min_size=3&headers=%7B%22a%22%3A%22b%22%7D";
    let mut heard = Events::open(server.get(path)).await;
    let long = "long ".repeat(10_000);
    let publish = async |topic: &str, from: &str, text: &str, header: &str| {
        let body = json!({"payload": {"text": text}, "sender": from, "headers": {"a": header}});
        server
            .post(&format!("/v1/topics/{topic}"), body)
            .await
            .json()
    };
    publish("job.a", "bob", "from somebody else", "b").await;
    publish("job.a", "ada", "x", "b").await;
    publish("job.a", "ada", "without it", "c").await;
    let told = publish("job.a.b", "eve", &long, "b").await;
    assert_eq!(
        (&told["delivered"], &told["dropped"]),
        (&json!(1), &json!(0))
    );
    let event = heard.next().await.unwrap();
    assert_eq!(event.name, "message");
    assert_eq!(event.json()["message"]["payload"]["text"], long);
    let stats = server.get("/v1/topics/job.a/stats").await.json();
    assert_eq!(
        (&stats["published"], &stats["subscribers"]),
        (&json!(3), &json!(1))
    );
    let all = server.get("/v1/topics").await.json();
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    let none = server.get("/v1/topics/nobody/stats").await;
    none.problem(404, "not_found");
    server.stop().await;
}

#[tokio::test]
async fn shared_values_have_versions_and_scopes() {
    let server = Server::on_disk().await;
    let path = "/v1/shared-memory/workflow:w1/plan";
    let long = "plan ".repeat(1000);
    let written = server
        .put(path, long.clone())
        .header("content-type", "text/plain");
    let written = written.await.json();
    assert_eq!(written["version"], 1);
    assert!(written["stored_size"].as_u64().unwrap() < 1000, "{written}");
    let got = server.get(path).await;
    assert_eq!((got.status, &got.body[..]), (200, long.as_bytes()));
    assert_eq!(got.header("etag"), "\"1\"");
    assert_eq!(
        got.header("statehouse-checksum"),
        written["checksum"].as_str().unwrap()
    );
    let same = server.get(path).header("if-none-match", "\"1\"").await;
    assert_eq!(same.status, 304);

    let absent = server.put(path, "x").header("if-none-match", "*").await;
    absent.problem(412, "conflict");
    let stale = server.put(path, "x").header("if-match", "\"9\"").await;
    assert_eq!(stale.problem(412, "conflict")["conflicts"][0]["current"], 1);
    let next = server.put(path, "x").header("if-match", "\"1\"").await;
    assert_eq!(next.json()["version"], 2);
    let other = server.get("/v1/shared-memory/workflow:w2/plan").await;
    other.problem(404, "not_found");
    assert_eq!(server.ask("DELETE", path).await.json()["removed"], true);
    assert_eq!(server.ask("DELETE", path).await.json()["removed"], false);
    // Versions go on after a delete.
    assert_eq!(server.put(path, "y").await.json()["version"], 4);

    let stats = server
        .get("/v1/shared-memory:stats?scope=workflow:w1")
        .await
        .json();
    assert_eq!(
        (&stats["keys"], &stats["conflicts"]),
        (&json!(1), &json!(2))
    );
    let page = server
        .get("/v1/shared-memory/workflow:w1?pattern=p*")
        .await
        .json();
    assert_eq!(page["items"][0]["data"]["text"], "y");
    let cleared = server
        .ask("DELETE", "/v1/shared-memory/workflow:w1")
        .await
        .json();
    assert_eq!(cleared["count"], 1);
    let wrong = server.get("/v1/shared-memory/workflow/plan").await;
    wrong.problem(400, "invalid_argument");
    server.stop().await;
}

#[tokio::test]
async fn b39_a_private_value_is_nobody_elses() {
    let server = Server::start().await;
    let ask = |who: &str, path: &str| server.get(path).header("statehouse-principal", who);
    let path = "/v1/shared-memory/agent/b%3Asecret";
    server
        .put(path, "mine")
        .header("statehouse-principal", "a")
        .await
        .json();
    assert_eq!(ask("a", path).await.body, "mine");
    for (who, key) in [("a:b", "secret"), ("b", "b%3Asecret"), ("a%2Fb", "secret")] {
        let other = ask(who, &format!("/v1/shared-memory/agent/{key}")).await;
        other.problem(404, "not_found");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_watch_tells_what_is_there_what_comes_and_what_goes() {
    let server = Server::on_disk().await;
    let long = "x".repeat(100_000);
    server
        .put("/v1/shared-memory/global/a.1", long.clone())
        .await
        .json();
    let path = "/v1/shared-memory/global?pattern=a.*&include_initial=true";
    let mut seen = Events::open(server.get(path)).await;
    let first = seen.next().await.unwrap();
    assert_eq!(
        (first.name.as_str(), &first.json()["key"]),
        ("put", &json!("a.1"))
    );
    assert_eq!(first.json()["data"]["text"], long, "b45: plain");
    server
        .put("/v1/shared-memory/global/b", "other")
        .await
        .json();
    server
        .put("/v1/shared-memory/global/a.2", "two")
        .await
        .json();
    server
        .ask("DELETE", "/v1/shared-memory/global/a.1")
        .await
        .json();
    let put = seen.next().await.unwrap();
    assert_eq!(
        (put.name.as_str(), &put.json()["data"]["text"]),
        ("put", &json!("two"))
    );
    let gone = seen.next().await.unwrap();
    assert_eq!(
        (gone.name.as_str(), &gone.json()["key"]),
        ("gone", &json!("a.1"))
    );
    let stats = server
        .get("/v1/shared-memory:stats?scope=global")
        .await
        .json();
    assert_eq!(stats["watches"], 1);
    drop(seen);
    let started = Instant::now();
    loop {
        // The next event finds that nobody reads any more.
        server
            .put("/v1/shared-memory/global/a.2", "more")
            .await
            .json();
        let stats = server
            .get("/v1/shared-memory:stats?scope=global")
            .await
            .json();
        if stats["watches"] == 0 {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "b45: it leaks");
    }
    server.stop().await;
}

#[tokio::test]
async fn b78_interrupts_are_heard_and_critical_ones_acknowledged() {
    let server = Server::on_disk().await;
    let send = async |signal: &str| {
        let body = json!({"signal": signal, "payload": {"text": "now"}});
        server.post("/v1/interrupts/worker-1", body).await
    };
    // A critical one waits for its agent, another does not.
    let id = send("emergency_stop").await.json()["id"].clone();
    send("wakeup").await.problem(404, "not_found");
    send("wake up").await.problem(400, "invalid_argument");
    let path = "/v1/interrupts/worker-1?signals=emergency_stop,wakeup";
    let mut heard = Events::open(server.get(path)).await;
    let stop = heard.next().await.unwrap();
    assert_eq!(stop.name, "interrupt");
    assert_eq!(
        (&stop.json()["id"], &stop.json()["critical"]),
        (&id, &json!(true))
    );
    assert_eq!(stop.json()["payload"]["text"], "now");
    send("wakeup").await.json();
    assert_eq!(heard.next().await.unwrap().json()["signal"], "wakeup");
    let second = server.get(path).header("accept", "text/event-stream").await;
    second.problem(409, "conflict");
    let agents = server.get("/v1/interrupts").await.json();
    assert_eq!(
        agents["items"],
        json!([{"agent": "worker-1", "signals": ["emergency_stop", "wakeup"]}])
    );

    let acknowledge = async || {
        let body = json!({"id": id});
        server.post("/v1/interrupts:acknowledge", body).await
    };
    assert_eq!(acknowledge().await.status, 204);
    acknowledge().await.problem(404, "not_found");
    let stats = server.get("/v1/interrupts:stats").await.json();
    assert_eq!(
        (&stats["acknowledged"], &stats["delivered"]),
        (&json!(1), &json!(2))
    );
    drop(heard);
    server.stop().await;
}
