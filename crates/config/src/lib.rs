//! The configuration: a TOML file, then `STATEHOUSE_*` environment variables, then flags.
//!
//! A key `server.listen` stands in the file as `listen` under `[server]`, in the environment as
//! `STATEHOUSE_SERVER__LISTEN` (sections joined by two underscores, list entries by their index:
//! `STATEHOUSE_SERVER__TOKENS__0__TOKEN_ENV`), and as a flag where the command line has one. Later
//! sources win. Without any, the service listens on 127.0.0.1:7717 and keeps everything in
//! `statehouse.db` in the working directory.
//!
//! Every key stands once, in `sections.rs` or `messaging.rs`, with its type, default and meaning;
//! [`keys`] lists them. Loading reports everything that is wrong, not the first thing, and every
//! value knows its [`Origin`].

mod earlier;
mod environment;
mod file;
mod log;
mod loom;
mod messaging;
mod problem;
mod reference;
mod schema;
mod sections;
#[cfg(test)]
mod tests;
mod tokens;
mod units;
mod unknown;
mod validate;
mod value;

use std::path::{Path, PathBuf};

use statehouse_contracts::Endpoint;

pub use environment::Environment;
pub use messaging::{
    AutoPromote, Bus, Communication, Mailbox, Messaging, Overflow, Policies, Requests,
    SharedMemory, UnknownAgents,
};
pub use problem::{Origin, Problem, Problems};
pub use reference::reference;
pub use schema::{Key, Shown};
pub use sections::{
    Backends, CompressionChoice, Layers, Log, LogFormat, Namespaces, References, Relay,
    ReplicaMode, Server, SharedCache, State, Tasks, Telemetry, TokenConfig, Trio,
};
pub use tokens::{Token, read_tokens};
pub use units::{ByteSize, duration_text, parse_duration};

use schema::{Reader, Values};
use unknown::{Place, place, unknown};
use value::Raw;

/// The file that is read when none is named, if it is there.
pub const DEFAULT_FILE: &str = "statehouse.toml";

/// What the service runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[[server.tokens]]`
    pub tokens: Vec<TokenConfig>,
    /// `[backends]`
    pub backends: Backends,
    /// `[backends.trio]`
    pub trio: Trio,
    /// `[namespaces]`
    pub namespaces: Namespaces,
    /// `[state]`
    pub state: State,
    /// `[cache]`
    pub cache: SharedCache,
    /// `[relay]`
    pub relay: Relay,
    /// `[layers]`
    pub layers: Layers,
    /// `[references]`
    pub references: References,
    /// `[tasks]`
    pub tasks: Tasks,
    /// The sections of messaging.
    pub messaging: Messaging,
    /// `[log]`
    pub log: Log,
    /// `[telemetry]`
    pub telemetry: Telemetry,
}

impl Config {
    /// The backend of states. A complete [`Trio`] stands in its place.
    pub fn state_backend(&self) -> &Endpoint {
        self.backends
            .state
            .as_ref()
            .unwrap_or(&self.backends.default)
    }

    /// The backend of messages.
    pub fn messages_backend(&self) -> &Endpoint {
        self.backends
            .messages
            .as_ref()
            .unwrap_or(&self.backends.default)
    }

    /// The backend of task stacks.
    pub fn tasks_backend(&self) -> &Endpoint {
        self.backends
            .tasks
            .as_ref()
            .unwrap_or(&self.backends.default)
    }

    /// The backend of references.
    pub fn references_backend(&self) -> &Endpoint {
        self.backends
            .references
            .as_ref()
            .unwrap_or(&self.backends.default)
    }

    /// The URLs of the backends that some role is kept in, with the keys that name them.
    pub fn endpoints(&self) -> Vec<(&'static str, &Endpoint)> {
        let (backends, trio) = (&self.backends, &self.trio);
        let stores = [
            ("backends.trio.main", &trio.main),
            ("backends.trio.replica", &trio.replica),
            ("backends.trio.rollback", &trio.rollback),
        ];
        let is_trio = stores.iter().all(|(_, store)| store.is_some());
        let roles = [
            ("backends.state", &backends.state),
            ("backends.messages", &backends.messages),
            ("backends.tasks", &backends.tasks),
            ("backends.references", &backends.references),
        ];
        let roles = &roles[usize::from(is_trio)..];
        let named = stores.iter().chain(roles);
        let mut found: Vec<_> = named
            .filter_map(|(key, endpoint)| Some((*key, endpoint.as_ref()?)))
            .collect();
        if roles.iter().any(|(_, endpoint)| endpoint.is_none()) {
            found.push(("backends.default", &backends.default));
        }
        found
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let server = Server::read(reader, "server");
        let tokens = reader.read_list("server.tokens", TokenConfig::read);
        let backends = Backends::read(reader, "backends");
        let trio = Trio::read(reader, "backends.trio");
        let namespaces = Namespaces::read(reader, "namespaces");
        let state = State::read(reader, "state");
        let cache = SharedCache::read(reader, "cache");
        let relay = Relay::read(reader, "relay");
        let layers = Layers::read(reader, "layers");
        let references = References::read(reader, "references");
        let tasks = Tasks::read(reader, "tasks");
        let messaging = Messaging::read(reader);
        let log = Log::read(reader, "log");
        let telemetry = Telemetry::read(reader, "telemetry");
        Some(Self {
            server: server?,
            tokens: tokens?,
            backends: backends?,
            trio: trio?,
            namespaces: namespaces?,
            state: state?,
            cache: cache?,
            relay: relay?,
            layers: layers?,
            references: references?,
            tasks: tasks?,
            messaging: messaging?,
            log: log?,
            telemetry: telemetry?,
        })
    }
}

/// Every known key, in the order of the file.
pub fn keys() -> Vec<&'static Key> {
    let before = [
        Server::KEYS,
        TokenConfig::KEYS,
        Backends::KEYS,
        Trio::KEYS,
        Namespaces::KEYS,
        State::KEYS,
        SharedCache::KEYS,
        Relay::KEYS,
        Layers::KEYS,
        References::KEYS,
        Tasks::KEYS,
    ];
    before
        .into_iter()
        .chain(Messaging::KEYS)
        .chain([Log::KEYS, Telemetry::KEYS])
        .flatten()
        .collect()
}

/// A key set by a flag of the command line.
#[derive(Clone, Debug)]
pub struct Override {
    key: String,
    value: String,
    flag: String,
}

impl Override {
    /// Sets `key` (`server.listen`) to `value`, written as in the environment. `flag` (`--listen`)
    /// is named in errors and in `config show`.
    pub fn new(key: impl Into<String>, value: impl Into<String>, flag: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            flag: flag.into(),
        }
    }
}

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The file that was asked for, which must exist. `None`: [`DEFAULT_FILE`] in `directory`, if
    /// it is there.
    pub file: Option<PathBuf>,
    /// The working directory.
    pub directory: PathBuf,
    /// The environment.
    pub environment: Environment,
    /// Keys set by flags; the last one wins.
    pub overrides: Vec<Override>,
}

/// A configuration without problems.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the service runs with.
    pub config: Config,
    /// Every key with its value and origin, for `config show`.
    pub shown: Vec<Shown>,
    /// The file that was read.
    pub file: Option<PathBuf>,
}

impl Loaded {
    /// What is wrong with the value of `key`, with the place where it was set.
    pub fn problem(&self, key: &str, text: impl Into<String>) -> Problem {
        let shown = self.shown.iter().find(|shown| shown.key == key);
        let origin = shown.map_or(&Origin::Default, |shown| &shown.origin);
        Problem::at(origin, key, text)
    }
}

/// Loads the configuration.
///
/// # Errors
/// Everything that is wrong, in the order file, environment, flags, values, rules.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let keys = keys();
    let mut values = Values::default();
    let mut problems = Vec::new();
    let file = named_or_default_file(sources);
    if let Some(path) = &file {
        match file::read(path) {
            Ok(text) => {
                // Names of earlier tools are understood there, too.
                let keys: Vec<&Key> = keys.iter().copied().chain(loom::KEYS).collect();
                file::take(path, &text, &keys, &mut values, &mut problems);
            }
            Err(problem) => problems.push(problem),
        }
    }
    environment::take(&sources.environment, &keys, &mut values, &mut problems);
    take_overrides(&sources.overrides, &keys, &mut values, &mut problems);
    earlier::take(&sources.environment, &mut values, &mut problems);
    loom::take(&sources.environment, &mut values, &mut problems);

    let mut reader = Reader::new(&values);
    let config = Config::read(&mut reader);
    problems.append(&mut reader.problems);
    let shown = reader.shown;
    if let Some(config) = &config {
        problems.extend(validate::check(config, &shown));
    }
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded {
            config,
            shown,
            file,
        }),
        _ => Err(Problems(problems)),
    }
}

fn named_or_default_file(sources: &Sources) -> Option<PathBuf> {
    match &sources.file {
        Some(path) => Some(path.clone()),
        None => {
            let path = match sources.directory.as_path() {
                directory if directory == Path::new(".") => PathBuf::from(DEFAULT_FILE),
                directory => directory.join(DEFAULT_FILE),
            };
            path.exists().then_some(path)
        }
    }
}

fn take_overrides(
    overrides: &[Override],
    keys: &[&Key],
    values: &mut Values,
    problems: &mut Vec<Problem>,
) {
    for set in overrides {
        let origin = Origin::Flag(set.flag.clone());
        if place(keys, &set.key) == Place::Key {
            values.set(set.key.clone(), Raw::Word(set.value.clone()), origin);
        } else {
            let text = unknown(keys, &set.key, str::to_owned);
            problems.push(Problem::at(&origin, &set.key, text));
        }
    }
}
