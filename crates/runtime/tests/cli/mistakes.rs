//! What goes wrong is said on one line, with its exit code, and nothing panics.

use std::net::TcpListener;

use serde_json::Value;

use crate::place::Place;

#[test]
fn mistyped_commands_say_what_would_be_right() {
    let place = Place::embedded();
    let cases: [(&[&str], &[&str]); 12] = [
        (&["statee"], &["'state'"]),
        (&["state", "get", "a/b", "--jsno"], &["--json"]),
        (&["state", "get", "a"], &["KIND/ID"]),
        (&["state", "get", "a/b", "--at", "x"], &["no version"]),
        (
            &["state", "put", "a/b", "x", "--if-version", "-1"],
            &["-1", "from 1"],
        ),
        (
            &["state", "get", "a/b", "--at", "99999999999999999999"],
            &["9223372036854775807"],
        ),
        (&["receive", "bob", "--wait", "5"], &["unit"]),
        (&["send", "bob", "x", "--priority", "10"], &["0 to 9"]),
        (&["ref", "get", "nope"], &["64 lowercase hex"]),
        (&["replay", "--speed", "-1", "x"], &["above 0"]),
        (&["replay", "--agents", "0", "x"], &["1..=10000"]),
        (&["--as", "", "state", "get", "a/b"], &["empty"]),
    ];
    for (arguments, words) in cases {
        place.run(arguments).fails(2, words);
        let outcome = place.run(&[&["--json"], arguments].concat());
        outcome.fails(2, &[]);
        let document: Value = serde_json::from_str(&outcome.err).unwrap();
        assert_eq!(document["kind"], "invalid_argument");
    }
    assert!(
        !place.path().join("statehouse.db").exists(),
        "nothing is half done"
    );
}

#[test]
fn files_that_cannot_be_used() {
    let place = Place::embedded();
    place
        .run(&["state", "put", "a/b", "@none"])
        .fails(3, &["none cannot be read"]);
    place
        .run(&["state", "put", "a/b", "@."])
        .fails(2, &["directory"]);
    place
        .run(&["--config", "none.toml", "doctor"])
        .fails(2, &["none.toml"]);
    place.run(&["replay", "none.traj"]).fails(3, &["none.traj"]);
    place.write("cut.traj", br#"{"trajectory": [{"action": "ls", "obs"#);
    place
        .run(&["replay", "cut.traj"])
        .fails(2, &["cut.traj", "JSON"]);
    place.write("empty.jsonl", b"");
    place.run(&["replay", "empty.jsonl"]).fails(2, &["empty"]);
    place
        .run(&["man", "--out", "/proc/none"])
        .fails(7, &["/proc/none"]);
}

#[test]
fn databases_that_cannot_be_used() {
    let place = Place::embedded();
    place.write("noise.db", &[b'x'; 10_000]);
    std::fs::create_dir(place.path().join("folder.db")).unwrap();
    for (url, code, word) in [
        ("sqlite:noise.db", 2, "not a SQLite database"),
        ("sqlite:folder.db", 2, "not a regular file"),
        ("sqlite:none/x.db", 2, "does not exist"),
        ("sqlite:/proc/x.db", 6, "/proc/x.db"),
        ("amqp://127.0.0.1", 8, "--features"),
        ("gopher://127.0.0.1", 8, "this build has"),
        ("bogus", 2, "scheme"),
    ] {
        let set = format!("backends.default={url}");
        let arguments = ["--set", &set, "state", "put", "a/b", "x"];
        place.run(&arguments).fails(code, &[word]);
    }
    let noise = std::fs::read(place.path().join("noise.db")).unwrap();
    assert_eq!(noise, [b'x'; 10_000], "a foreign file stays as it is");
}

#[test]
fn a_torn_database_is_told_as_damage() {
    let place = Place::embedded();
    for number in 0..20 {
        let key = format!("a/{number}");
        place.run(&["state", "put", &key, &"x".repeat(5000)]).text();
    }
    let path = place.path().join("statehouse.db");
    let mut file = std::fs::read(&path).unwrap();
    file[4096..].fill(0xa5);
    std::fs::write(&path, file).unwrap();
    place.run(&["state", "list", "a"]).fails(10, &["damaged"]);
}

#[test]
fn configuration_and_listening() {
    let place = Place::embedded();
    place
        .run(&["--set", "servr.listen=x", "config", "check"])
        .fails(2, &["server.listen"]);
    place.write("statehouse.toml", b"[server]\nlisen = \"127.0.0.1:0\"\n");
    place
        .run(&["config", "check"])
        .fails(2, &["lisen", "listen"]);
    // All that is wrong at once; what no role is kept in is not opened.
    let gophers = b"[backends]\nstate = \"memory:\"\nmessages = \"gopher://a\"\n\
        tasks = \"gopher://b\"\nreferences = \"memory:\"\ndefault = \"gopher://c\"\n";
    place.write("statehouse.toml", gophers);
    let words = [
        "statehouse.toml:3: backends.messages: the scheme \"gopher\" is unknown",
        "statehouse.toml:4: backends.tasks: ",
    ];
    for command in [&["config", "check"][..], &["serve"], &["doctor"]] {
        let checked = place.run(command);
        assert_eq!(checked.code, 8, "{}", checked.err);
        assert!(words.iter().all(|word| checked.err.contains(word)));
        assert!(!checked.err.contains("backends.default"), "{}", checked.err);
    }
    std::fs::remove_file(place.path().join("statehouse.toml")).unwrap();
    place
        .run(&["serve", "--listen", "0.0.0.0:7999"])
        .fails(2, &["token"]);
    place
        .run(&["serve", "--listen", "127.0.0.1:99999"])
        .fails(2, &["port"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let serve = place.run(&["serve", "--listen", &address]);
    assert_eq!(serve.code, 6, "{}", serve.err);
    assert!(serve.err.contains(&address), "{}", serve.err);
}

#[test]
fn services_that_cannot_be_reached() {
    let place = Place::embedded();
    let none = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for (url, code, word) in [
        (format!("http://{none}"), 6, "cannot connect"),
        ("ftp://x".to_owned(), 8, "http"),
        ("nonsense".to_owned(), 2, "scheme"),
    ] {
        place
            .run(&["--url", &url, "state", "get", "a/b"])
            .fails(code, &[word]);
    }
    let served = Place::served();
    assert!(!served.address().is_empty());
    served.run(&["state", "get", "a/b"]).fails(3, &["a/b"]);
    let error = served.run(&["--json", "state", "get", "a/b"]);
    let document: Value = serde_json::from_str(&error.err).unwrap();
    assert_eq!(document["kind"], "not_found");
}
