//! Sources, precedence and errors of the configuration as a whole.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn sources(directory: &Path) -> Sources {
    Sources {
        file: None,
        directory: directory.to_owned(),
        environment: Environment::default(),
        overrides: Vec::new(),
    }
}

fn load_file(text: &str) -> Result<Loaded, Problems> {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join(DEFAULT_FILE), text).unwrap();
    load(&sources(directory.path()))
}

fn load_environment(variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let directory = TempDir::new().unwrap();
    let mut sources = sources(directory.path());
    sources.environment = variables.iter().copied().collect();
    load(&sources)
}

fn row<'a>(loaded: &'a Loaded, key: &str) -> &'a Shown {
    loaded.shown.iter().find(|row| row.key == key).unwrap()
}

fn texts(result: Result<Loaded, Problems>) -> String {
    result.map(|loaded| loaded.config).unwrap_err().to_string()
}

#[test]
fn nothing_at_all_is_the_laptop() {
    let directory = TempDir::new().unwrap();
    let loaded = load(&sources(directory.path())).unwrap();
    assert_eq!(loaded.file, None);
    assert_eq!(loaded.config.server.listen.to_string(), "127.0.0.1:7717");
    for backend in [
        loaded.config.state_backend(),
        loaded.config.messages_backend(),
        loaded.config.tasks_backend(),
        loaded.config.references_backend(),
    ] {
        assert_eq!(backend.to_string(), "sqlite:statehouse.db");
    }
    assert!(loaded.shown.iter().all(|row| row.origin == Origin::Default));
}

#[test]
fn a_log_level_is_a_level_and_targets_with_levels() {
    let level = |text: &str| load_file(&format!("[log]\nlevel = \"{text}\""));
    let both = level("info, statehouse = debug").unwrap().config.log;
    let parts = vec![(None, "info"), (Some("statehouse"), "debug")];
    assert_eq!(both.filter(), Ok(parts));
    for (text, part) in [
        ("inof", "`inof`"),
        ("info,statehouse=loud", "`statehouse=loud`"),
        ("=debug", "`=debug`"),
        ("info,", "``"),
        ("statehouse[http]=debug", "`statehouse[http]=debug`"),
        ("state house=debug", "`state house=debug`"),
    ] {
        let told = texts(level(text));
        assert!(told.contains("statehouse.toml:2: log.level: "), "{told}");
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn only_backends_that_keep_something_are_named() {
    let keys = |text: &str| {
        let config = load_file(text).unwrap().config;
        let keys = config.endpoints().into_iter().map(|(key, _)| key);
        keys.collect::<Vec<_>>()
    };
    assert_eq!(keys(""), ["backends.default"]);
    let roles = "messages = \"memory:\"\ntasks = \"memory:\"\nreferences = \"memory:\"\n";
    let state = keys(&format!("[backends]\nstate = \"memory:\"\n{roles}"));
    let named = ["backends.messages", "backends.tasks", "backends.references"];
    assert_eq!(state[0], "backends.state");
    assert_eq!(state[1..], named);
    let trio = "main = \"memory:\"\nreplica = \"memory:\"\nrollback = \"memory:\"\n";
    let trio = keys(&format!("[backends]\n{roles}[backends.trio]\n{trio}"));
    let stores = ["main", "replica", "rollback"].map(|store| format!("backends.trio.{store}"));
    assert_eq!(trio[..3], stores);
    assert_eq!(trio[3..], named);
}

#[test]
fn every_key_is_shown_with_its_default() {
    let loaded = load_environment(&[]).unwrap();
    let shown: Vec<&str> = loaded.shown.iter().map(|row| row.key.as_str()).collect();
    let known: Vec<&str> = keys()
        .iter()
        .map(|key| key.path)
        .filter(|path| !path.contains('*'))
        .collect();
    assert_eq!(shown, known);
    assert!(keys().iter().all(|key| key.about.trim_end().ends_with('.')));
}

#[test]
fn the_file() {
    let loaded = load_file(
        "[server]\nlisten = \"[::1]:8\"\ncors_origins = [\"https://a.example\"]\n\
         [[server.tokens]]\ntoken_env = \"A\"\nnamespace = \"team\"\nprincipal = \"planner\"\n\
         [[server.tokens]]\ntoken_file = \"/run/token\"\n\
         [backends]\nstate = \"memory:\"\n\
         [layers]\nretry_attempts = 0x10\nretry_base = \"1s\"\n\
         [telemetry]\nmetrics = false\n\
         [references]\nquota = 1000\ncompression = \"lz4\"\n",
    )
    .unwrap();
    let config = &loaded.config;
    assert_eq!(config.server.listen.port(), 8);
    assert_eq!(config.server.cors_origins, ["https://a.example"]);
    assert_eq!(config.tokens.len(), 2);
    assert_eq!(config.tokens[0].principal.as_str(), "planner");
    assert_eq!(config.tokens[1].principal.as_str(), "operator");
    assert_eq!(config.state_backend().to_string(), "memory:");
    assert_eq!(config.layers.retry_attempts.get(), 16);
    assert_eq!(config.references.quota, Some(ByteSize(1000)));
    assert_eq!(config.references.compression, CompressionChoice::Lz4);
    assert!(!config.telemetry.metrics);
    let Origin::File { line, .. } = row(&loaded, "layers.retry_attempts").origin else {
        panic!("not from the file");
    };
    assert_eq!(line, 13);
}

#[test]
fn flags_over_environment_over_file() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("other.toml");
    fs::write(
        &file,
        "[log]\nlevel = \"error\"\nformat = \"json\"\n[layers]\ntimeout = \"1s\"\n",
    )
    .unwrap();
    let loaded = load(&Sources {
        file: Some(file.clone()),
        directory: directory.path().to_owned(),
        environment: [
            ("STATEHOUSE_LOG__LEVEL", "warn"),
            ("STATEHOUSE_LAYERS__TIMEOUT", "2s"),
        ]
        .into_iter()
        .collect(),
        overrides: vec![
            Override::new("log.level", "debug", "--log"),
            Override::new("log.level", "trace", "--log"),
        ],
    })
    .unwrap();
    let origins: Vec<(String, String)> =
        ["log.level", "layers.timeout", "log.format", "relay.batch"]
            .map(|key| {
                (
                    row(&loaded, key).value.clone(),
                    row(&loaded, key).origin.to_string(),
                )
            })
            .to_vec();
    let from_file = format!("{}:3", file.display());
    let expected = [
        ("trace", "flag --log"),
        ("2s", "environment STATEHOUSE_LAYERS__TIMEOUT"),
        ("json", from_file.as_str()),
        ("256", "default"),
    ];
    assert_eq!(
        origins,
        expected.map(|(value, origin)| (value.to_owned(), origin.to_owned()))
    );
    assert_eq!(loaded.file, Some(file));
}

#[test]
fn a_list_entry_from_the_environment() {
    let loaded = load_environment(&[
        ("STATEHOUSE_SERVER__LISTEN", "0.0.0.0:7717"),
        ("STATEHOUSE_SERVER__TOKENS__0__TOKEN_ENV", "TOKEN"),
        ("STATEHOUSE_BACKENDS__TRIO__MODE", "native"),
    ])
    .unwrap();
    assert_eq!(loaded.config.tokens[0].token_env.as_deref(), Some("TOKEN"));
    assert_eq!(loaded.config.trio.mode, ReplicaMode::Native);
}

#[test]
fn all_problems_at_once() {
    let text = texts(load_file(
        "[server]\nlisen = \"x\"\nbody_limit = true\n[layers]\ntimeout = 30\n[log]\nformat = \"xml\"\n\
         [servr]\nx = 1\n[references]\nquota = -1\n[relay]\nbatch = 1.5\n\
         [state]\nkeep_last = \"3\"\n",
    ));
    for says in [
        "statehouse.toml:2: server.lisen: unknown key; the nearest known one is server.listen",
        "statehouse.toml:3: server.body_limit: expected a size such as",
        "found the bool true",
        "statehouse.toml:5: layers.timeout: expected a duration such as \"30s\"",
        "statehouse.toml:7: log.format: expected one of \"text\", \"json\", found the text \"xml\"",
        "statehouse.toml:8: servr: unknown key; the nearest known one is server",
        "references.quota: expected a size such as",
        "found a number with a fraction",
        "state.keep_last: expected a whole number from 1 to 4294967295, found the text \"3\"",
    ] {
        assert!(text.contains(says), "{says}\nis not in\n{text}");
    }
    assert_eq!(text.lines().count(), 8, "{text}");
}

#[test]
fn wrong_shapes_in_the_file() {
    let table = [
        (
            "server = 3",
            "server: expected a table, [server], found a whole number",
        ),
        (
            "[server]\ntokens = \"x\"",
            "expected tables, [[server.tokens]], found text",
        ),
        (
            "[server]\ntokens = [1]",
            "server.tokens.0: expected a table",
        ),
        ("\"server.listen\" = \"127.0.0.1:1\"", "unknown key"),
        ("[server]\nlisten = {a = 1}", "found a table"),
        ("[server\nlisten = 1", ":1: not valid TOML"),
        (
            "[log]\nlevel = \"a\"\nlevel = \"b\"",
            "not valid TOML: duplicate key",
        ),
        ("a = ", "not valid TOML"),
    ];
    for (file, says) in table {
        let text = texts(load_file(file));
        assert!(text.contains(says), "{file}: {text}");
    }
}

#[test]
fn files_that_cannot_be_read() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("latin1.toml"), b"[log]\nlevel = \"\xe9\"").unwrap();
    fs::write(at("large.toml"), vec![b'#'; 2 << 20]).unwrap();
    let table = [
        ("missing.toml", "does not exist"),
        ("", "is a directory; name a TOML file"),
        ("latin1.toml", "is not UTF-8 text: byte 15"),
        ("large.toml", "has 2097152 bytes"),
    ];
    for (name, says) in table {
        let mut sources = sources(directory.path());
        sources.file = Some(at(name));
        let text = texts(load(&sources));
        assert!(text.contains(says), "{name}: {text}");
    }
}

#[test]
fn wrong_names_in_the_environment_and_flags() {
    let text = texts(load_environment(&[
        ("STATEHOUSE_SERVER__LISEN", "x"),
        ("STATEHOUSE_LISTEN", "x"),
        ("STATEHOUSE_LAYERS__RETRY_ATTEMPTS", "many"),
    ]));
    for says in [
        "environment STATEHOUSE_SERVER__LISEN: server.lisen: unknown key; \
         the nearest known one is STATEHOUSE_SERVER__LISTEN",
        "environment STATEHOUSE_LISTEN: listen: unknown key",
        "environment STATEHOUSE_LAYERS__RETRY_ATTEMPTS: layers.retry_attempts: expected a whole number",
    ] {
        assert!(text.contains(says), "{says}\nis not in\n{text}");
    }
    let directory = TempDir::new().unwrap();
    let mut sources = sources(directory.path());
    sources.overrides = vec![Override::new("log.levl", "debug", "--set")];
    let text = texts(load(&sources));
    assert_eq!(
        text,
        "flag --set: log.levl: unknown key; the nearest known one is log.level"
    );
}

#[test]
fn variables_that_are_no_keys() {
    let loaded = load_environment(&[
        ("STATEHOUSE_URL", "http://127.0.0.1:7717"),
        ("STATEHOUSE_PORT", "tcp://10.0.0.1:7717"),
        ("STATEHOUSE_PORT_7717_TCP_ADDR", "10.0.0.1"),
        ("STATEHOUSE_SERVICE_HOST", "10.0.0.1"),
        ("STATEHOUSE_SERVICE_PORT_HTTP", "7717"),
        ("PATH", "/bin"),
    ]);
    assert!(loaded.is_ok(), "{loaded:?}");
}

#[test]
fn a_variable_that_is_not_utf8() {
    let directory = TempDir::new().unwrap();
    let bad = OsString::from_vec(vec![0xff, 0xfe]);
    let mut sources = sources(directory.path());
    sources.environment = [
        (OsString::from("STATEHOUSE_LOG__LEVEL"), bad.clone()),
        (OsString::from("RABBITMQ_HOST"), bad.clone()),
        (OsString::from("SOMETHING_ELSE"), bad),
    ]
    .into_iter()
    .collect();
    let text = texts(load(&sources));
    assert!(
        text.contains("STATEHOUSE_LOG__LEVEL is not UTF-8"),
        "{text}"
    );
    assert!(text.contains("RABBITMQ_HOST is not UTF-8"), "{text}");
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn names_of_earlier_tools() {
    let loaded = load_environment(&[
        ("ROCKETMQ_NAMESERVER_ADDRS", "a:9876, b:9876;c:9876"),
        ("RABBITMQ_HOST", ""),
    ])
    .unwrap();
    let messages = row(&loaded, "backends.messages");
    let url = "rocketmq://a:9876?nameserver=b:9876&nameserver=c:9876";
    assert_eq!(messages.value, url);
    assert!(matches!(messages.origin, Origin::Environment(_)));
    assert_eq!(loaded.config.state_backend().scheme(), "sqlite");

    let named = load_environment(&[
        ("ROCKETMQ_NAMESERVER_ADDRS", "a:9876"),
        ("ROCKETMQ_STATE_TOPIC", "agent_state_updates"),
        ("ROCKETMQ_PRODUCER_GROUP", "p"),
        ("ROCKETMQ_CONSUMER_GROUP", "g"),
    ])
    .unwrap();
    assert_eq!(
        row(&named, "backends.messages").value,
        "rocketmq://a:9876?topic=agent_state_updates&producer_group=p&consumer_group=g"
    );
}

#[test]
fn rabbitmq_by_its_parts_shows_no_password() {
    let loaded = load_environment(&[
        ("RABBITMQ_HOST", "rabbit"),
        ("RABBITMQ_PORT", "tcp://10.0.0.1:5673"),
        ("RABBITMQ_USER", "trader"),
        ("RABBITMQ_PASS", "hunt/er@2"),
        ("RABBITMQ_VHOST", "/trading"),
    ])
    .unwrap();
    let url = loaded.config.messages_backend();
    assert_eq!(url.password().unwrap().reveal(), "hunt/er@2");
    assert_eq!((url.host(), url.port()), (Some("rabbit"), Some(5673)));
    assert_eq!(url.path(), "//trading");
    let shown = &row(&loaded, "backends.messages").value;
    assert_eq!(shown, "amqp://trader:***@rabbit:5673/%2Ftrading");
    assert!(!format!("{loaded:?}").contains("hunt"));
}

#[test]
fn earlier_names_never_win() {
    let loaded = load_environment(&[
        ("ROCKETMQ_NAMESERVER_ADDRS", "a:9876"),
        ("RABBITMQ_HOST", "b"),
        ("STATEHOUSE_BACKENDS__MESSAGES", "memory:"),
    ])
    .unwrap();
    assert_eq!(loaded.config.messages_backend().to_string(), "memory:");
    let both = texts(load_environment(&[
        ("ROCKETMQ_NAMESERVER_ADDRS", "a:9876"),
        ("RABBITMQ_HOST", "b"),
    ]));
    assert!(
        both.contains("set backends.messages to say which"),
        "{both}"
    );
}

#[test]
fn a_password_is_shown_nowhere() {
    let loaded =
        load_file("[backends]\ndefault = \"dragonfly://:hunter2@h:6379/0?token=hunter2\"\n")
            .unwrap();
    assert!(!format!("{loaded:?}").contains("hunter2"));
    let wrong = [
        "[backends]\ndefault = \"amqp://u:hunter2@a:1,b:2/\"",
        "[backends]\ndefault = [\"amqp://u:hunter2@a\"",
        "[backends]\ndefalt = \"amqp://u:hunter2@a\"",
        "[backends]\ndefault = \"hunter2\"",
        "[backends]\ndefault = \"a\" hunter2 = ",
    ];
    for file in wrong {
        let problems = load_file(file).map(|loaded| loaded.config).unwrap_err();
        assert!(
            !format!("{problems} {problems:?}").contains("hunter2"),
            "{problems}"
        );
    }
}

#[test]
fn rules_across_keys() {
    let table = [
        (
            "[server]\nlisten = \"0.0.0.0:1\"",
            "server.listen: 0.0.0.0:1 can be reached",
        ),
        (
            "[[server.tokens]]\nprincipal = \"p\"",
            "statehouse.toml:2: server.tokens.0: give token_env or token_file",
        ),
        (
            "[backends.trio]\nmain = \"memory:\"",
            "statehouse.toml:2: backends.trio: give main, replica and rollback",
        ),
        (
            "[layers]\nretry_base = \"9s\"",
            "layers.retry_base: must not be longer",
        ),
        (
            "[references]\ngc_interval = \"0s\"",
            "must be longer than 0s",
        ),
        (
            "[backends]\nstate = \"memory:\"\n[backends.trio]\nmain = \"memory:\"\n\
             replica = \"memory:\"\nrollback = \"memory:\"",
            "backends.state: states are kept either",
        ),
    ];
    for (file, says) in table {
        let text = texts(load_file(file));
        assert!(text.contains(says), "{file}: {text}");
    }
}

#[test]
fn tokens_come_from_the_environment_or_a_file() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("token");
    fs::write(&path, "hunter2\n").unwrap();
    let loaded = load_file(&format!(
        "[[server.tokens]]\ntoken_env = \"T\"\nnamespace = \"team\"\n\
         [[server.tokens]]\ntoken_file = {:?}\n",
        path.display().to_string()
    ))
    .unwrap();
    let environment: Environment = [("T", "opensesame")].into_iter().collect();
    let tokens = read_tokens(&loaded.config.tokens, &environment).unwrap();
    let revealed: Vec<&str> = tokens.iter().map(|token| token.secret.reveal()).collect();
    assert_eq!(revealed, ["opensesame", "hunter2"]);
    assert!(!format!("{tokens:?} {environment:?}").contains("opensesame"));

    fs::write(&path, " \n").unwrap();
    let problems = read_tokens(&loaded.config.tokens, &Environment::default()).unwrap_err();
    let text = problems.to_string();
    assert!(
        text.contains("server.tokens.0: the environment variable T is not set"),
        "{text}"
    );
    assert!(text.contains("is empty; it must hold the token"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_file_panics(text in "(\\[{0,2}(server|backends|log|x)\\.?(tokens|trio)?\\]{0,2}|[a-z_.\"]{0,8} ?= ?(\"[a-z:/@]{0,9}\"|[0-9._-]{0,9}|\\[|\\{|true)|\n|.){0,12}") {
        let _ = load_file(&text);
    }

    #[test]
    fn no_variable_panics(name in "[A-Z_0-9*.]{0,20}", value in ".{0,20}") {
        let _ = load_environment(&[(&format!("STATEHOUSE_{name}"), &value)]);
    }
}
