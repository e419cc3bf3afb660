//! Rules that span keys.

use std::time::Duration;

use super::problem::{Origin, Problem};
use super::schema::Shown;
use super::{Config, Log};

/// Checks the rules, and names the origin of the key at fault.
pub(super) fn check(config: &Config, shown: &[Shown]) -> Vec<Problem> {
    let mut rules = Rules {
        shown,
        problems: Vec::new(),
    };
    rules.server(config);
    rules.trio(config);
    rules.cache(config);
    rules.durations(config);
    rules.log(config);
    rules.problems
}

struct Rules<'a> {
    shown: &'a [Shown],
    problems: Vec<Problem>,
}

impl Rules<'_> {
    /// Notes what is wrong with a key or a section, where one of its values was set.
    fn wrong(&mut self, key: &str, text: impl Into<String>) {
        let is_part = |row: &&Shown| {
            let rest = row.key.strip_prefix(key);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let set = |row: &Shown| (row.origin != Origin::Default).then(|| row.origin.clone());
        let origin = self.shown.iter().filter(is_part).find_map(set);
        let origin = origin.unwrap_or(Origin::Default);
        self.problems.push(Problem::at(&origin, key, text));
    }

    fn server(&mut self, config: &Config) {
        let listen = config.server.listen;
        if !listen.ip().is_loopback() && config.tokens.is_empty() {
            self.wrong(
                "server.listen",
                format!(
                    "{listen} can be reached from other machines; add a [[server.tokens]] entry, \
                     or listen on 127.0.0.1"
                ),
            );
        }
        for (index, token) in config.tokens.iter().enumerate() {
            if token.token_env.is_some() == token.token_file.is_some() {
                self.wrong(
                    &format!("server.tokens.{index}"),
                    "give token_env or token_file, one of them",
                );
            }
        }
    }

    fn trio(&mut self, config: &Config) {
        let trio = &config.trio;
        let stores = [&trio.main, &trio.replica, &trio.rollback];
        let given = stores.iter().filter(|store| store.is_some()).count();
        if given != 0 && given != stores.len() {
            self.wrong(
                "backends.trio",
                "give main, replica and rollback, or none of them",
            );
        }
        if given > 0 && config.backends.state.is_some() {
            self.wrong(
                "backends.state",
                "states are kept either here or in backends.trio; remove one",
            );
        }
    }

    fn log(&mut self, config: &Config) {
        if let Err(part) = config.log.filter() {
            self.wrong(
                "log.level",
                format!(
                    "`{part}` is no level ({}) and no target with one, such as statehouse=debug",
                    Log::LEVELS.join(", ")
                ),
            );
        }
    }

    fn cache(&mut self, config: &Config) {
        if config.cache.url.is_some() && config.state.cache_size.0 == 0 {
            self.wrong(
                "cache.url",
                "stands behind the cache in memory, which state.cache_size = 0 turns off",
            );
        }
    }

    fn durations(&mut self, config: &Config) {
        let messaging = &config.messaging;
        let positive = [
            ("server.max_wait", config.server.max_wait),
            ("state.prune_interval", config.state.prune_interval),
            ("cache.ttl", config.cache.ttl),
            ("cache.timeout", config.cache.timeout),
            ("relay.lease", config.relay.lease),
            ("layers.timeout", config.layers.timeout),
            ("references.gc_interval", config.references.gc_interval),
            (
                "communication.sweep_interval",
                messaging.communication.sweep_interval,
            ),
            ("mailbox.ttl", messaging.mailbox.ttl),
            ("mailbox.lease", messaging.mailbox.lease),
            ("requests.timeout", messaging.requests.timeout),
            (
                "requests.recover_interval",
                messaging.requests.recover_interval,
            ),
        ];
        for (key, duration) in positive {
            if duration == Duration::ZERO {
                self.wrong(key, "must be longer than 0s");
            }
        }
        let layers = &config.layers;
        if layers.retry_base > layers.retry_cap {
            self.wrong(
                "layers.retry_base",
                "must not be longer than layers.retry_cap",
            );
        }
        if messaging.mailbox.backoff > messaging.mailbox.backoff_cap {
            self.wrong(
                "mailbox.backoff",
                "must not be longer than mailbox.backoff_cap",
            );
        }
    }
}
