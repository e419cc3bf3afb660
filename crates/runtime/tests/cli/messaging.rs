//! Messages of any size, requests and shared values, alone and against a service.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::json;

use crate::place::Place;

fn everywhere(test: fn(&Place)) {
    test(&Place::embedded());
    test(&Place::served());
}

#[test]
fn a_large_message_comes_as_it_was_sent() {
    everywhere(|place| {
        let long = "long ".repeat(20_000);
        place.write("long", long.as_bytes());
        place
            .run(&["send", "my agent/1", "@long", "--kind", "report"])
            .text();
        let held = || place.json(&["ref", "stats"])["held"].clone();
        assert_ne!(held(), json!(0), "it travels by reference");
        let agents = place.json(&["queue", "agents"]);
        assert_eq!(agents, json!([{"agent": "my agent/1", "ready": 1}]));
        let pending = place.run(&["queue", "pending", "my agent/1"]).text();
        assert!(
            pending.contains("report") && pending.contains("100000"),
            "{pending}"
        );
        let kept = place.json(&["receive", "my agent/1", "--keep"]);
        assert_eq!(kept["message"]["payload"]["text"], long);
        let token = kept["lease"]["token"].as_str().unwrap();
        place.run(&["queue", "settle", token, "ack"]).text();
        let left = place.json(&["ref", "list"]);
        let left = left["items"].as_array().unwrap().iter();
        let left = left.filter(|info| info["size"] == 100_000 && info["holders"] != 0);
        assert_eq!(left.count(), 0, "its content went with the ack");
        let swept = place.json(&["queue", "sweep"]);
        assert_eq!(
            swept,
            json!({"kept": 1, "forgotten": 0, "released": 0, "groups": 0}),
            "a message so young is looked after later"
        );
        place.run(&["send", "bob", "@long"]).text();
        let shown = place.run(&["receive", "bob"]).text();
        assert!(shown.contains(&long[..1000]), "plain for people, too");
    });
}

#[test]
fn receive_follows() {
    let place = Place::served();
    let mut follow = place.command(&["receive", "bob", "--follow"]);
    follow.env("STATEHOUSE_URL", format!("http://{}", place.address()));
    let mut child = follow.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for text in ["one", "two"] {
        place.run(&["send", "bob", text]).text();
        let line = lines.next().unwrap().unwrap();
        assert!(line.contains(text), "{line}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_request_is_answered() {
    everywhere(|place| {
        std::thread::scope(|scope| {
            let ask = ["--as", "my-agent", "request", "worker-1", "6 x 7?"];
            let asking = scope.spawn(move || place.run(&ask));
            let got = ["receive", "worker-1", "--keep", "--wait", "20s"];
            let request = place.json(&got).to_string();
            place
                .run_with(
                    &["--as", "worker-1", "reply", "-", "42"],
                    request.as_bytes(),
                )
                .text();
            assert_eq!(asking.join().unwrap().text(), "42\n");
        });
        let depth = place.json(&["queue", "depth", "mailbox.worker-1"]);
        assert_eq!(depth["counts"]["in_flight"], 0, "the reply acknowledged it");
        place
            .run(&["request", "nobody", "?", "--timeout", "50ms"])
            .fails(6, &["no reply within 50ms"]);
        place
            .run(&["reply", "{}", "42"])
            .fails(2, &["receive --keep --json"]);
    });
}

#[test]
fn shared_values() {
    everywhere(|place| {
        let put = place.run(&["shared", "put", "workflow:w1", "plan", "draft"]);
        assert_eq!(put.text(), "plan in workflow:w1 is at version 1\n");
        let swap = [
            "shared",
            "put",
            "workflow:w1",
            "plan",
            "final",
            "--if-version",
            "1",
        ];
        assert_eq!(place.json(&swap)["version"], 2);
        place.run(&swap).fails(4, &["version"]);
        place
            .run(&["shared", "put", "workflow:w1", "plan", "x", "--if-absent"])
            .fails(4, &[]);
        assert_eq!(
            place.run(&["shared", "get", "workflow:w1", "plan"]).text(),
            "final\n"
        );
        place
            .run(&["shared", "get", "workflow:w2", "plan"])
            .fails(3, &["plan", "workflow:w2"]);
        place
            .run(&["shared", "get", "workflow", "plan"])
            .fails(2, &["workflow:<id>"]);
        place
            .run(&["--as", "a", "shared", "put", "agent", "b:secret", "mine"])
            .text();
        place
            .run(&["--as", "a:b", "shared", "get", "agent", "secret"])
            .fails(3, &[]);
        let list = place.run(&["shared", "list", "workflow:w1", "p*"]).text();
        assert!(list.contains("final"), "{list}");
        let first = [
            "shared",
            "watch",
            "workflow:w1",
            "--initial",
            "--idle",
            "200ms",
        ];
        assert!(place.run(&first).text().contains("version 2  final"));
        let stats = place.json(&["shared", "stats", "workflow:w1"]);
        assert_eq!(stats["keys"], 1);
        place
            .run(&["shared", "delete", "workflow:w1", "plan"])
            .text();
        place
            .run(&["shared", "delete", "workflow:w1", "plan"])
            .fails(3, &["plan"]);
        place.json(&["shared", "clear", "workflow:w1"]);
    });
}

#[test]
fn a_critical_signal_waits_for_its_agent() {
    everywhere(|place| {
        let send = [
            "interrupt",
            "emergency_stop",
            "worker-1",
            "--payload",
            "fire",
        ];
        assert!(place.run(&send).text().contains("worker-1"));
        let all = place.json(&["interrupt", "database_down", "--all"]);
        assert_eq!(all["count"], 1);
        let group = ["receive", "--group", "interrupts.worker-1", "--max", "2"];
        let got = place.run(&group).text();
        assert!(got.contains("fire"), "{got}");
        place
            .run(&["interrupt", "wakeup", "worker-1"])
            .fails(2, &["not critical"]);
    });
}
