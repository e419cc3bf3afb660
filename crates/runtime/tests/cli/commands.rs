//! Every command, with the output for people and for programs.

use serde_json::json;

use crate::place::Place;

/// Runs a test embedded, and against a service.
fn everywhere(test: fn(&Place)) {
    test(&Place::embedded());
    test(&Place::served());
}

#[test]
fn state() {
    everywhere(|place| {
        let put = place.run(&["state", "put", "task/42", r#"{"step": 1}"#]);
        assert_eq!(put.text(), "task/42 is at version 1\n");
        let put = place.json(&["state", "put", "task/42", "{}", "--if-version", "1"]);
        assert_eq!(
            (&put["versions"], &put["replayed"]),
            (&json!([2]), &json!(false))
        );
        place
            .run(&["state", "put", "task/42", "x", "--if-version", "1"])
            .fails(4, &["task/42"]);
        place
            .run(&["state", "put", "task/42", "x", "--if-absent"])
            .fails(4, &["task/42"]);
        let back = place.run(&["state", "rollback", "task/42"]);
        assert_eq!(back.text(), "task/42 is at version 3\n");
        assert_eq!(
            place.run(&["state", "get", "task/42"]).text(),
            "{\"step\": 1}\n"
        );
        let record = place.json(&["state", "get", "task/42"]);
        assert_eq!(record["version"], 3);
        assert_eq!(record["data"]["json"], json!({ "step": 1 }));
        assert_eq!(
            place.run(&["state", "get", "task/42", "--at", "2"]).text(),
            "{}\n"
        );
        let history = place.json(&["state", "history", "task/42"]);
        assert_eq!(history["items"].as_array().unwrap().len(), 3);
        assert!(
            place
                .run(&["state", "history", "task/42"])
                .text()
                .contains("VERSION")
        );
        let watch = place.run(&["state", "watch", "task", "--from-start", "--count", "3"]);
        assert_eq!(watch.text().lines().count(), 3);
        place.run(&["state", "delete", "task/42"]).text();
        place
            .run(&["state", "get", "task/42"])
            .fails(3, &["task/42"]);
        let listed = place.json(&["state", "list", "task", "--tombstones"]);
        assert_eq!(listed["items"][0]["id"], "42");
        place.json(&["state", "prune", "--keep-last", "1"]);
        place.json(&["state", "followers"]);
        place.json(&["state", "parked"]);
        place.run(&["state", "prune"]).fails(2, &["--keep-last"]);
        place.run(&["state", "trio"]).fails(8, &["backends.trio"]);
    });
}

#[test]
fn content_of_any_kind() {
    everywhere(|place| {
        let binary: Vec<u8> = (0..=255).collect();
        place.write("bytes", &binary);
        place.run(&["state", "put", "a/b", "@bytes"]).text();
        assert_eq!(place.run(&["state", "get", "a/b", "--raw"]).out, binary);
        let shown = place.run(&["state", "get", "a/b"]).text();
        assert!(shown.contains("256 bytes"), "{shown}");
        place
            .run_with(&["state", "put", "a/c", "-"], &binary)
            .text();
        assert_eq!(place.run(&["state", "get", "a/c", "--raw"]).out, binary);
        place.run(&["state", "append", "log/1", "one,"]).text();
        place
            .run_with(&["state", "append", "log/1", "-"], b"two")
            .text();
        assert_eq!(
            place.run(&["state", "get", "log/1", "--raw"]).out,
            b"one,two"
        );
        for key in ["a/b/c", "a/ü/🎉", "a/x y?&#%2F"] {
            place.run(&["state", "put", key, key]).text();
            assert_eq!(
                place.run(&["state", "get", key, "--raw"]).out,
                key.as_bytes()
            );
        }
    });
}

#[test]
fn tasks() {
    everywhere(|place| {
        place
            .run(&["task", "push", "work", "first", "--id", "one"])
            .text();
        place.json(&["task", "push", "work", "second", "--id", "two"]);
        let claim = place.json(&["task", "claim", "work"]);
        assert_eq!(claim["task"]["id"], "two", "the newest first");
        let token = claim["lease"]["token"].as_str().unwrap();
        let child = [
            "task", "push", "work", "look", "--id", "child", "--parent", token,
        ];
        place.run(&child).text();
        let child = place.json(&["task", "claim", "work"]);
        let token = child["lease"]["token"].as_str().unwrap();
        let done = ["task", "complete", token, "42"];
        assert_eq!(place.json(&done)["state"], "completed");
        assert_eq!(
            place.json(&done)["state"],
            "completed",
            "a repeat is answered"
        );
        place
            .run(&["task", "fail", token, "late"])
            .fails(5, &["lease"]);
        let resumed = place.json(&["task", "claim", "work"]);
        assert_eq!(resumed["task"]["id"], "two");
        assert_eq!(resumed["outcomes"][0]["id"], "child");
        let token = resumed["lease"]["token"].as_str().unwrap();
        let extended = place.json(&["task", "extend", token, "1m"]);
        let token = extended["lease"]["token"].as_str().unwrap();
        place
            .run(&["task", "fail", token, "broke", "--fatal"])
            .text();
        let failed = place.json(&["task", "get", "two"]);
        assert_eq!(failed["state"], "failed");
        assert!(place.run(&["task", "get", "two"]).text().contains("broke"));
        assert_eq!(
            place.json(&["task", "cancel", "one"])["done"],
            "cancelled 1 tasks"
        );
        place.json(&["task", "list"]);
        place.json(&["task", "peek", "work"]);
        place.json(&["task", "depth", "work"]);
        place.run(&["task", "claim", "work"]).fails(3, &["work"]);
        place.run(&["task", "get", "none"]).fails(3, &["none"]);
    });
}

#[test]
fn messages_and_groups() {
    everywhere(|place| {
        place.json(&["send", "bob", "hello", "--header", "a=b", "--priority", "4"]);
        let kept = place.json(&["receive", "bob", "--keep"]);
        assert_eq!(kept["message"]["payload"]["text"], "hello");
        assert_eq!(kept["message"]["headers"]["a"], "b");
        let token = kept["lease"]["token"].as_str().unwrap();
        place
            .run(&["queue", "settle", token, "dead", "too odd"])
            .text();
        let dead = place.run(&["queue", "dead", "mailbox.bob"]).text();
        assert!(dead.contains("too odd"), "{dead}");
        place.json(&["queue", "redrive", "mailbox.bob"]);
        assert!(place.run(&["receive", "bob"]).text().contains("hello"));
        assert_eq!(place.run(&["receive", "bob"]).text(), "no message\n");
        place.json(&["queue", "declare", "builds", "build.*"]);
        assert_eq!(place.json(&["publish", "build.done", "x"])["routed"], 1);
        place
            .run(&["publish", "nobody.hears", "x", "--require-route"])
            .fails(3, &["nobody.hears"]);
        place.json(&["queue", "peek", "builds"]);
        place.json(&["queue", "list"]);
        assert_eq!(
            place.json(&["queue", "depth", "builds"])["counts"]["ready"],
            1
        );
        for command in ["pause", "resume", "purge", "delete"] {
            let done = place.json(&["queue", command, "builds"]);
            assert!(done["done"].as_str().unwrap().contains("builds"));
        }
        place
            .run(&["queue", "delete", "builds"])
            .fails(3, &["builds"]);
        let heard = place.run(&["subscribe", "build.#", "--idle", "50ms"]);
        assert_eq!(heard.text(), "");
        let late = place.json(&["send", "bob", "later", "--delay", "1h"]);
        place.json(&["queue", "cancel", late["id"].as_str().unwrap()]);
    });
}

#[test]
fn references() {
    everywhere(|place| {
        let binary: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        place.write("large", &binary);
        let put = place.json(&["ref", "put", "@large", "--holder", "me"]);
        let id = put["reference"]["id"].as_str().unwrap();
        assert_eq!(place.run(&["ref", "get", id]).out, binary);
        let part = place.run(&["ref", "get", id, "--range", "10..12"]);
        assert_eq!(part.out, binary[10..12]);
        place.run(&["ref", "get", id, "--out", "copy"]).text();
        assert_eq!(std::fs::read(place.path().join("copy")).unwrap(), binary);
        assert_eq!(place.json(&["ref", "stat", id])["size"], 100_000);
        place.json(&["ref", "retain", id, "you"]);
        place.json(&["ref", "release", id, "you"]);
        place.json(&["ref", "list"]);
        place.json(&["ref", "stats"]);
        place.json(&["ref", "gc"]);
        place.json(&["ref", "delete", id]);
        place.run(&["ref", "get", id]).fails(3, &[id]);
    });
}

#[test]
fn about_the_program() {
    everywhere(|place| {
        assert!(place.run(&["doctor"]).text().contains("SQLite"));
        assert_eq!(place.json(&["doctor"])[0]["reached"], true);
        place.json(&["config", "show"]);
        place.json(&["config", "keys"]);
        place.json(&["config", "check"]);
        assert!(
            place
                .run(&["completions", "bash"])
                .text()
                .contains("statehouse")
        );
        place.run(&["man", "--out", "man"]).text();
        assert!(place.path().join("man/statehouse.1").exists());
        assert!(place.run(&["--version"]).text().contains("features: "));
        assert!(place.run(&["--help"]).text().contains("Exit codes"));
    });
}

#[test]
fn commands_beside_a_service_share_its_file() {
    let place = Place::served();
    place.run_beside(&["state", "put", "a/b", "beside"]).text();
    assert_eq!(place.run(&["state", "get", "a/b"]).text(), "beside\n");
    place
        .run(&["task", "push", "work", "x", "--id", "one"])
        .text();
    assert!(
        place
            .run_beside(&["task", "claim", "work"])
            .text()
            .contains("one")
    );
    place.run(&["task", "claim", "work"]).fails(3, &[]);
    place.run_beside(&["send", "bob", "hi"]).text();
    assert!(
        place
            .run(&["receive", "bob", "--wait", "5s"])
            .text()
            .contains("hi")
    );
}

#[test]
fn replays() {
    everywhere(|place| {
        let sample = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../replay/samples/greeting.traj"
        );
        let first = place.json(&["replay", sample]);
        assert_eq!(first["total"]["states"], 3);
        assert!(first["total"]["events"].as_u64().unwrap() > 0);
        let again = place.run(&["replay", sample]).text();
        assert!(again.contains("equal"), "{again}");
        assert_eq!(place.json(&["replay", sample])["total"]["versions"], 0);
    });
}

/// The entries of a list, page by page, each of two.
fn pages(
    place: &Place,
    command: &[&str],
    name: fn(&serde_json::Value) -> &serde_json::Value,
) -> Vec<String> {
    let (mut names, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut line = [command, &["--limit", "2"]].concat();
        let cursor = after.clone().unwrap_or_default();
        if after.is_some() {
            line.extend(["--after", &cursor]);
        }
        let page = place.json(&line);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2, "{page}");
        names.extend(
            items
                .iter()
                .map(|item| name(item).as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return names,
        }
    }
}

#[test]
fn lists_go_on_where_they_ended() {
    everywhere(|place| {
        let mut ids = Vec::new();
        for text in ["one", "two", "three"] {
            let put = place.json(&["ref", "put", text]);
            ids.push(put["reference"]["id"].as_str().unwrap().to_owned());
            place
                .run(&["task", "push", "work", text, "--id", text])
                .text();
        }
        ids.sort();
        let references = pages(place, &["ref", "list"], |item| &item["id"]);
        assert_eq!(references, ids);
        let tasks = pages(place, &["task", "list"], |item| &item["id"]);
        assert_eq!(tasks, ["three", "two", "one"]);
        let first = place.run(&["ref", "list", "--limit", "2"]).text();
        assert!(
            first.lines().last().unwrap().starts_with("more: --after "),
            "{first}"
        );
        place
            .run(&["ref", "list", "--after", "nonsense"])
            .fails(2, &["cursor"]);
    });
}

#[test]
fn every_example_of_a_configuration_is_right() {
    let place = Place::embedded();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/config");
    let mut checked = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.to_str().unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let check = place.run_in(
            &[("STATEHOUSE_TOKEN", "a-token-of-at-least-16-bytes")],
            &["--config", file, "config", "check"],
        );
        match check.code {
            // All else is right: that is found out before.
            8 => assert!(check.err.contains("build with --features"), "{}", check.err),
            _ => assert!(check.text().contains(&name), "{}", check.err),
        }
        checked.push(name);
    }
    checked.sort();
    assert_eq!(
        checked,
        [
            "dragonfly",
            "laptop",
            "rocketmq-dragonfly",
            "rocketmq-sqlite"
        ]
    );
}

#[test]
fn a_trio_restores_through_the_service() {
    let stores =
        ["main", "replica", "rollback"].map(|name| format!("{name} = \"sqlite:{name}.db\"\n"));
    let place = Place::served_with(&format!("[backends.trio]\n{}", stores.concat()));
    for text in ["one", "two"] {
        place.run(&["state", "put", "task/a", text]).text();
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while place.json(&["state", "trio"])["rollback"]["lag"] != 0 {
        assert!(
            std::time::Instant::now() < deadline,
            "the rollback store lags behind"
        );
    }
    let shown = place.run(&["state", "trio"]).text();
    assert!(
        shown.contains("rollback") && shown.contains("0 changes"),
        "{shown}"
    );
    let restore = ["state", "restore", "task/a"];
    place
        .run(&[&restore[..], &["--if-version", "9"]].concat())
        .fails(4, &["task/a"]);
    assert_eq!(place.json(&restore)["version"], 3);
    assert_eq!(place.run(&["state", "get", "task/a"]).text(), "one\n");
}
