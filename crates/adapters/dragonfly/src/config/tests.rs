use super::*;

fn of(url: &str) -> Result<Target> {
    Target::of(&Endpoint::parse(url)?)
}

fn node(host: &str, port: u16) -> Node {
    Node {
        host: host.to_owned(),
        port,
    }
}

#[test]
fn each_url_names_its_server() {
    let table = [
        ("dragonfly://h", node("h", 6379), false, 0),
        ("dragonflys://h:7000/", node("h", 7000), true, 0),
        (
            "redis://127.0.0.1:6380/3",
            node("127.0.0.1", 6380),
            false,
            3,
        ),
        ("rediss://[::1]:6380", node("::1", 6380), true, 0),
        ("valkey://h/15", node("h", 6379), false, 15),
        ("valkeys://h", node("h", 6379), true, 0),
        ("redis://h?sentinel=main", node("h", 26379), false, 0),
        ("redis://h:7001/0?cluster=true", node("h", 7001), false, 0),
    ];
    for (url, first, tls, database) in table {
        let target = of(url).unwrap();
        assert_eq!(target.nodes, [first], "{url}");
        assert_eq!((target.tls, target.database), (tls, database), "{url}");
    }
    let target = of("redis://a?sentinel=main&nodes=b:1,[::1]:2").unwrap();
    assert_eq!(
        target.nodes,
        [node("a", 26379), node("b", 1), node("::1", 2)]
    );
}

#[test]
fn each_parameter_is_taken() {
    let url = "rediss://app:hunter2@h?tls_ca=ca.pem&tls_cert=c.pem&tls_key=k.pem&prefix=x&pool=2\
               &connect_timeout=1s&timeout=250ms&check_keys=true&op_window=2h\
               &message_window=30s&task_retention=1d&gc_interval=10m&quota=1024\
               &change_log_keep=5&change_log_age=7d&cluster=true";
    let expected = Config {
        tls_ca: Some("ca.pem".into()),
        tls_cert: Some("c.pem".into()),
        tls_key: Some("k.pem".into()),
        cluster: true,
        prefix: "x".into(),
        pool: 2,
        connect_timeout: Duration::from_secs(1),
        timeout: Duration::from_millis(250),
        check_keys: true,
        op_window: Duration::from_secs(7200),
        message_window: Duration::from_secs(30),
        task_retention: Duration::from_secs(24 * 3600),
        gc_interval: Duration::from_secs(600),
        quota: Some(1024),
        change_log_keep: Some(5),
        change_log_age: Some(Duration::from_secs(7 * 24 * 3600)),
        ..Config::default()
    };
    let target = of(url).unwrap();
    assert_eq!(target.config, expected);
    assert_eq!(target.username.as_deref(), Some("app"));
    assert_eq!(target.password, Some(Secret::new("hunter2")));
    assert!(!format!("{target:?}").contains("hunter2"));
    assert_eq!(of("redis://h").unwrap().config, Config::default());
}

#[test]
fn what_makes_no_sense_is_refused_with_a_hint() {
    let table = [
        ("redis:h", "names no host"),
        ("redis://h/data", "no database number"),
        ("redis://h/3?cluster=true", "database 0 only"),
        ("redis://h?cluster=yes", "`true` or `false`"),
        ("redis://h?cluster=true&sentinel=a", "exclude each other"),
        ("redis://h?nodes=a:1", "cluster=true or sentinel=NAME"),
        ("redis://h?cluster=true&nodes=a", "host:port"),
        ("redis://h?cluster=true&nodes=a:0", "host:port"),
        ("redis://h?sentinel_username=a", "sentinel=NAME"),
        ("redis://h?tls_ca=ca.pem", "redis://h?tls_ca"),
        ("redis://h?tls_ca=ca.pem", "write rediss://"),
        ("rediss://h?tls_cert=c.pem", "both or none"),
        ("redis://h?password=hunter2", "unknown field `password`"),
        ("redis://h?password_env=A&password_file=b", "one of them"),
        ("redis://:hunter2@h?password_env=A", "password twice"),
        ("redis://h?pool=0", "1 to 64"),
        ("redis://h?prefix=a%3Ab", "A-Z a-z 0-9"),
        ("redis://h?timeout=0s", "timeout is 0"),
        ("redis://h?timeout=5", "units ms, s, m, h, d"),
        ("redis://h?timeout=99999999999999999999d", "units"),
    ];
    for (url, says) in table {
        let error = of(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{url}: {error}");
        assert!(error.to_string().contains(says), "{url}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn a_password_is_read_from_its_place_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    let url = format!("redis://h?password_file={}", path.display());
    assert_eq!(of(&url).unwrap_err().kind(), ErrorKind::PermissionDenied);
    for (text, password) in [("hunter2\n", Some("hunter2")), (" \n", None)] {
        fs::write(&path, text).unwrap();
        let target = of(&url);
        assert!(!format!("{target:?}").contains("hunter2"));
        let read = target.ok().and_then(|target| target.password);
        assert_eq!(read.as_ref().map(Secret::reveal), password);
    }
}
