//! The parameters of a `dragonfly:`, `redis:` or `valkey:` URL.

use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, fs};

use serde::{Deserialize, Deserializer, de};
use statehouse_contracts::{Endpoint, Error, ErrorKind, Result, Secret};

/// The schemes, and whether each speaks TLS.
const SCHEMES: [(&str, bool); 6] = [
    ("dragonfly", false),
    ("dragonflys", true),
    ("redis", false),
    ("rediss", true),
    ("valkey", false),
    ("valkeys", true),
];

/// The port of a server, and of a sentinel, when the URL gives none.
const SERVER_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// How a server is used: the parameters of its URL, as in
/// `rediss://app@db.example.org:6380/0?password_env=REDIS_PASSWORD&tls_ca=ca.pem`. Durations are a
/// number with one of the units `ms`, `s`, `m`, `h`, `d`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// The environment variable that holds the password.
    pub password_env: Option<String>,
    /// The file that holds the password; white space around it is cut off.
    pub password_file: Option<PathBuf>,
    /// The PEM file of the certificates to trust instead of the system's (TLS).
    pub tls_ca: Option<PathBuf>,
    /// The PEM file of this client's certificates (TLS).
    pub tls_cert: Option<PathBuf>,
    /// The PEM file of this client's private key (TLS).
    pub tls_key: Option<PathBuf>,
    /// Whether the server is one of a cluster; the others are found by it.
    pub cluster: bool,
    /// The name of the service to ask the sentinel for; the URL's host is the sentinel then.
    pub sentinel: Option<String>,
    /// The sentinel's user.
    pub sentinel_username: Option<String>,
    /// The environment variable that holds the sentinel's password.
    pub sentinel_password_env: Option<String>,
    /// The file that holds the sentinel's password.
    pub sentinel_password_file: Option<PathBuf>,
    /// More servers of the cluster, or more sentinels: `host:port`, parted by commas.
    #[serde(deserialize_with = "nodes")]
    pub nodes: Vec<Node>,
    /// What every key begins with, so that installations can share a server. Default `sh`.
    pub prefix: String,
    /// How many connections carry commands, 1 to 64. Default 4.
    pub pool: usize,
    /// How long connecting may take. Default 2 s.
    #[serde(deserialize_with = "duration")]
    pub connect_timeout: Duration,
    /// How long an answer may take, beside the time the call itself asked to wait. Default 5 s.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// Whether scripts verify that they touch only keys they declare, which Dragonfly and clusters
    /// demand and a single Redis does not. For tests. Default false.
    pub check_keys: bool,
    /// How long a repeated op_id is recognised. Default 1 d.
    #[serde(deserialize_with = "duration")]
    pub op_window: Duration,
    /// How long a repeated idempotency key of a message is recognised. Default 10 m: each key takes
    /// some 100 bytes of the server's memory for up to twice as long.
    #[serde(deserialize_with = "duration")]
    pub message_window: Duration,
    /// How long finished tasks are kept. Default 7 d.
    #[serde(deserialize_with = "duration")]
    pub task_retention: Duration,
    /// How often content without a holder is collected. Default 5 m.
    #[serde(deserialize_with = "duration")]
    pub gc_interval: Duration,
    /// The bytes of stored content per namespace; no quota when not given.
    pub quota: Option<u64>,
    /// How many changes per namespace the change log keeps; all when not given.
    pub change_log_keep: Option<u64>,
    /// How long the change log keeps a change; for ever when not given.
    #[serde(deserialize_with = "optional_duration")]
    pub change_log_age: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        Self {
            password_env: None,
            password_file: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            cluster: false,
            sentinel: None,
            sentinel_username: None,
            sentinel_password_env: None,
            sentinel_password_file: None,
            nodes: Vec::new(),
            prefix: "sh".to_owned(),
            pool: 4,
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(5),
            check_keys: false,
            op_window: 24 * HOUR,
            message_window: Duration::from_secs(600),
            task_retention: 7 * 24 * HOUR,
            gc_interval: Duration::from_secs(300),
            quota: None,
            change_log_keep: None,
            change_log_age: None,
        }
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Node {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_matches(['[', ']']);
        let port = port.parse().ok().filter(|port| *port > 0)?;
        (!host.is_empty()).then(|| Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What a URL says in all: its address and its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The server, or the sentinel, and the other nodes that are given.
    pub(crate) nodes: Vec<Node>,
    pub(crate) tls: bool,
    pub(crate) database: u8,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) sentinel_password: Option<Secret>,
    pub(crate) config: Config,
}

impl Target {
    /// What `endpoint` says, with its passwords read from where it says they are.
    ///
    /// # Errors
    /// `InvalidArgument` for a URL without a host, with a path that is no database number, or with
    /// a parameter that is unknown or makes no sense; `PermissionDenied` when a password cannot be
    /// read.
    pub(crate) fn of(endpoint: &Endpoint) -> Result<Self> {
        let config: Config = endpoint.parameters()?;
        config.check()?;
        let tls = SCHEMES.contains(&(endpoint.scheme(), true));
        let inline = endpoint.password();
        if inline.is_some() && (config.password_env.is_some() || config.password_file.is_some()) {
            return Err(Error::invalid(format!(
                "the URL {endpoint} gives the password twice; leave it in one place"
            )));
        }
        if !tls && (config.tls_ca.is_some() || config.tls_cert.is_some()) {
            return Err(Error::invalid(format!(
                "the URL {endpoint} has TLS parameters but no TLS; write {}s://",
                endpoint.scheme()
            )));
        }
        let nodes = addresses(endpoint, &config)?;
        let database = database(endpoint)?;
        if config.cluster && database != 0 {
            return Err(Error::invalid(format!(
                "the URL {endpoint} names database {database}; a cluster has database 0 only"
            )));
        }
        let password = secret("password", &config.password_env, &config.password_file)?;
        let sentinel_password = secret(
            "sentinel's password",
            &config.sentinel_password_env,
            &config.sentinel_password_file,
        )?;
        Ok(Self {
            nodes,
            tls,
            database,
            username: endpoint.username(),
            password: inline.or(password),
            sentinel_password,
            config,
        })
    }
}

/// The schemes of all URLs that this adapter opens.
pub(crate) const fn schemes() -> [&'static str; SCHEMES.len()] {
    let mut names = [""; SCHEMES.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = SCHEMES[at].0;
        at += 1;
    }
    names
}

fn addresses(endpoint: &Endpoint, config: &Config) -> Result<Vec<Node>> {
    let Some(host) = endpoint.host().filter(|host| !host.is_empty()) else {
        return Err(Error::invalid(format!(
            "the URL {endpoint} names no host; write for example {}://127.0.0.1:6379",
            endpoint.scheme()
        )));
    };
    let usual = match config.sentinel {
        Some(_) => SENTINEL_PORT,
        None => SERVER_PORT,
    };
    let first = Node {
        host: host.trim_matches(['[', ']']).to_owned(),
        port: endpoint.port().unwrap_or(usual),
    };
    Ok(std::iter::once(first)
        .chain(config.nodes.iter().cloned())
        .collect())
}

fn database(endpoint: &Endpoint) -> Result<u8> {
    let path = endpoint.path();
    match path.trim_start_matches('/') {
        "" => Ok(0),
        number => number.parse().map_err(|_| {
            Error::invalid(format!(
                "the path of the URL {endpoint} is no database number; write for example /0"
            ))
        }),
    }
}

fn secret(what: &str, env: &Option<String>, file: &Option<PathBuf>) -> Result<Option<Secret>> {
    let (place, text) = match (env, file) {
        (Some(name), _) => (
            format!("the environment variable {name}"),
            std::env::var(name).map_err(|error| error.to_string()),
        ),
        (None, Some(path)) => (
            format!("the file {}", path.display()),
            fs::read_to_string(path).map_err(|error| error.to_string()),
        ),
        (None, None) => return Ok(None),
    };
    let refused = |why: &str| {
        let message = format!("the {what} cannot be taken from {place}: {why}");
        Error::new(ErrorKind::PermissionDenied, message)
    };
    let text = text.map_err(|why| refused(&why))?;
    match text.trim() {
        "" => Err(refused("it is empty")),
        password => Ok(Some(Secret::new(password))),
    }
}

impl Config {
    /// The most connections for commands; one server thread answers them all.
    const MAX_POOL: usize = 64;

    fn check(&self) -> Result<()> {
        if !(1..=Self::MAX_POOL).contains(&self.pool) {
            return Err(Error::invalid(format!(
                "pool is {}; 1 to {} are allowed",
                self.pool,
                Self::MAX_POOL
            )));
        }
        self.check_places()?;
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.prefix.is_empty() || self.prefix.len() > 40 || !self.prefix.chars().all(valid) {
            return Err(Error::invalid(format!(
                "prefix is {:?}; 1 to 40 of A-Z a-z 0-9 - _ are allowed",
                self.prefix
            )));
        }
        let spans = [
            ("connect_timeout", self.connect_timeout),
            ("timeout", self.timeout),
            ("op_window", self.op_window),
            ("message_window", self.message_window),
            ("gc_interval", self.gc_interval),
        ];
        match spans.iter().find(|(_, span)| span.is_zero()) {
            Some((name, _)) => Err(Error::invalid(format!(
                "{name} is 0; write a duration such as 10s"
            ))),
            None => Ok(()),
        }
    }

    fn check_places(&self) -> Result<()> {
        let sentinel = self.sentinel.is_some();
        let sentinel_password =
            self.sentinel_password_env.is_some() || self.sentinel_password_file.is_some();
        let wrong = [
            (
                self.password_env.is_some() && self.password_file.is_some(),
                "password_env and password_file both say where the password is; give one of them",
            ),
            (
                self.sentinel_password_env.is_some() && self.sentinel_password_file.is_some(),
                "sentinel_password_env and sentinel_password_file both say where the sentinel's \
                 password is; give one of them",
            ),
            (
                self.tls_cert.is_some() != self.tls_key.is_some(),
                "tls_cert and tls_key belong together; give both or none",
            ),
            (
                self.cluster && sentinel,
                "cluster and sentinel exclude each other; give one of them",
            ),
            (
                !self.nodes.is_empty() && !self.cluster && !sentinel,
                "nodes are of a cluster or sentinels; give cluster=true or sentinel=NAME as well",
            ),
            (
                !sentinel && (self.sentinel_username.is_some() || sentinel_password),
                "there are credentials for a sentinel but no sentinel; give sentinel=NAME as well",
            ),
        ];
        match wrong.iter().find(|(is, _)| *is) {
            Some((_, why)) => Err(Error::invalid(*why)),
            None => Ok(()),
        }
    }
}

fn nodes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Node>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.split(',')
        .map(|node| {
            Node::parse(node).ok_or_else(|| {
                de::Error::custom(format!(
                    "{node:?} is no node; write host:port, parted by commas"
                ))
            })
        })
        .collect()
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Text;
    impl de::Visitor<'_> for Text {
        type Value = Duration;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number and one of the units ms, s, m, h, d, such as 30s")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            span(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }
    deserializer.deserialize_str(Text)
}

fn optional_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

fn span(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 3600 * 1000,
        "d" => 24 * 3600 * 1000,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    number.checked_mul(millis).map(Duration::from_millis)
}

#[cfg(test)]
mod tests;
