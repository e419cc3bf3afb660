//! The names of loom's configuration, in its file's tables and in its environment.

use super::environment::Environment;
use super::problem::{Origin, Problem};
use super::schema::{Key, Values};
use super::value::{Raw, Setting};

const BACKEND: &str = "communication.store.backend";
const PATH: &str = "communication.store.path";
const REDIS_URL: &str = "communication.store.redis_url";
const GC_ENABLED: &str = "communication.gc.enabled";
const GC_STRATEGY: &str = "communication.gc.strategy";
const GC_INTERVAL: &str = "communication.gc.interval";

const REFERENCES: &str = "backends.references";
const COLLECT: &str = "references.gc_interval";

/// A collection that never comes.
const NEVER: &str = "36500d";

/// The names that stand for a key of another name.
pub(super) const KEYS: &[Key] = &[
    name(BACKEND, String::expected),
    name(PATH, String::expected),
    name(REDIS_URL, String::expected),
    name(GC_ENABLED, bool::expected),
    name(GC_STRATEGY, String::expected),
    name(GC_INTERVAL, u64::expected),
];

/// The names that are keys as well.
const SAME: [&str; 4] = [
    "communication.auto_promote.enabled",
    "communication.auto_promote.threshold",
    "communication.policies.always_reference",
    "communication.policies.always_value",
];

const fn name(path: &'static str, expected: fn() -> String) -> Key {
    Key {
        path,
        default: "",
        about: "",
        expected,
    }
}

/// Fills keys that nothing else set.
pub(super) fn take(environment: &Environment, values: &mut Values, problems: &mut Vec<Problem>) {
    let mut names = Names {
        environment,
        values,
        problems,
    };
    for path in SAME {
        if let Some((text, origin)) = names.variable(path) {
            // A list is joined by white space there.
            let text = text.split_whitespace().collect::<Vec<_>>().join(",");
            names.fill(path, text, &origin);
        }
    }
    names.store();
    names.collection();
}

struct Names<'a> {
    environment: &'a Environment,
    values: &'a mut Values,
    problems: &'a mut Vec<Problem>,
}

impl Names<'_> {
    fn fill(&mut self, path: &str, text: String, origin: &Origin) {
        if !self.values.is_set(path) {
            self.values
                .set(path.to_owned(), Raw::Word(text), origin.clone());
        }
    }

    fn wrong(&mut self, path: &str, origin: &Origin, text: String) {
        self.problems.push(Problem::at(origin, path, text));
    }

    /// The variable of `path`: `LOOM_COMMUNICATION_STORE_PATH`.
    fn variable(&mut self, path: &str) -> Option<(String, Origin)> {
        let name = format!("LOOM_{}", path.to_uppercase().replace('.', "_"));
        match self.environment.text(&name) {
            Ok(text) => {
                let text = text.map(str::trim).filter(|text| !text.is_empty())?;
                Some((text.to_owned(), Origin::Environment(name)))
            }
            Err(text) => {
                self.problems.push(Problem::general(text));
                None
            }
        }
    }

    /// The value of a name in the environment, else in the file.
    fn get<T: Setting>(&mut self, path: &str) -> Option<(T, Origin)> {
        let (raw, origin) = match self.variable(path) {
            Some((text, origin)) => (Raw::Word(text), origin),
            None => self.values.get(path)?,
        };
        match T::parse(&raw) {
            Ok(value) => Some((value, origin)),
            Err(text) => {
                self.wrong(path, &origin, text);
                None
            }
        }
    }

    /// Where content is kept.
    fn store(&mut self) {
        let backend = self.get::<String>(BACKEND);
        let file = self.get::<String>(PATH);
        let redis = self.get::<String>(REDIS_URL);
        let (backend, origin) = match (backend, &file) {
            (Some(backend), _) => backend,
            (None, Some((_, origin))) => ("sqlite".to_owned(), origin.clone()),
            (None, None) => return,
        };
        let url = match (backend.as_str(), redis) {
            ("memory", _) => "memory:".to_owned(),
            ("sqlite", _) => {
                let file = file.map_or_else(|| "./loom.db".to_owned(), |(file, _)| file);
                format!("sqlite:{file}")
            }
            ("redis", Some((url, _))) => url,
            ("redis", None) => {
                return self.wrong(REDIS_URL, &origin, "the backend redis needs it".to_owned());
            }
            (other, _) => {
                let text = format!("expected memory, sqlite or redis, found {other:?}");
                return self.wrong(BACKEND, &origin, text);
            }
        };
        self.fill(REFERENCES, url, &origin);
    }

    /// When content without a holder is collected.
    fn collection(&mut self) {
        let enabled = self.get::<bool>(GC_ENABLED);
        let strategy = self.get::<String>(GC_STRATEGY);
        let interval = self.get::<u64>(GC_INTERVAL);
        if let Some((strategy, origin)) = strategy {
            match strategy.as_str() {
                "ref_counting" => {}
                "manual" => self.fill(COLLECT, NEVER.to_owned(), &origin),
                other => {
                    let text = format!(
                        "expected ref_counting, which collects what has expired as well, or \
                         manual, found {other:?}"
                    );
                    self.wrong(GC_STRATEGY, &origin, text);
                }
            }
        }
        if let Some((false, origin)) = enabled {
            self.fill(COLLECT, NEVER.to_owned(), &origin);
        }
        if let Some((seconds, origin)) = interval {
            self.fill(COLLECT, format!("{seconds}s"), &origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tempfile::TempDir;

    use super::super::{Environment, Loaded, Problems, Sources, load};

    fn loaded(file: &str, variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("statehouse.toml"), file).unwrap();
        load(&Sources {
            file: None,
            directory: directory.path().to_owned(),
            environment: variables.iter().copied().collect::<Environment>(),
            overrides: Vec::new(),
        })
    }

    #[test]
    fn b69_its_tables_are_understood() {
        let file = "[communication.store]\nbackend = \"sqlite\"\npath = \"./data/loom.db\"\n\
            [communication.gc]\nenabled = true\nstrategy = \"ref_counting\"\ninterval = 60\n\
            [communication.auto_promote]\nenabled = true\nthreshold = 2048\n\
            [communication.policies]\nalways_reference = [\"report\"]\nalways_value = []\n";
        let config = loaded(file, &[]).unwrap().config;
        let references = config.references_backend().to_string();
        assert_eq!(references, "sqlite:./data/loom.db");
        assert_eq!(config.references.gc_interval, Duration::from_secs(60));
        let policy = config.policy();
        assert_eq!(policy.auto_promote.threshold, 2048);
        assert_eq!(policy.policies.always_reference[0].as_str(), "report");
        assert!(policy.policies.always_value.is_empty());
    }

    #[test]
    fn b70_its_environment_is_understood_and_never_wins() {
        let variables = [
            ("LOOM_COMMUNICATION_STORE_BACKEND", "memory"),
            ("LOOM_COMMUNICATION_GC_ENABLED", "false"),
            ("LOOM_COMMUNICATION_AUTO_PROMOTE_THRESHOLD", "99"),
            ("LOOM_COMMUNICATION_POLICIES_ALWAYS_VALUE", "a b"),
        ];
        let config = loaded("", &variables).unwrap().config;
        assert_eq!(config.references_backend().to_string(), "memory:");
        let year = Duration::from_secs(365 * 86_400);
        assert!(config.references.gc_interval > year);
        assert_eq!(config.policy().auto_promote.threshold, 99);
        assert_eq!(config.policy().policies.always_value.len(), 2);

        let file = "[backends]\nreferences = \"sqlite:mine.db\"\n\
            [communication.auto_promote]\nthreshold = 7\n[references]\ngc_interval = \"1m\"\n";
        let config = loaded(file, &variables).unwrap().config;
        assert_eq!(config.references_backend().to_string(), "sqlite:mine.db");
        assert_eq!(config.references.gc_interval, Duration::from_secs(60));
        assert_eq!(config.policy().auto_promote.threshold, 7);
    }

    #[test]
    fn what_it_cannot_say_here_is_refused() {
        let table = [
            (
                "[communication.store]\nbackend = \"etcd\"",
                "memory, sqlite or redis",
            ),
            ("[communication.store]\nbackend = \"redis\"", "redis_url"),
            ("[communication.gc]\nstrategy = \"ttl\"", "ref_counting"),
            ("[communication.gc]\ninterval = \"5m\"", "whole number"),
            (
                "[communication.policies]\nalways_value = [\"a b\"]",
                "always_value",
            ),
            ("[communication.stor]\nbackend = \"x\"", "unknown key"),
        ];
        for (file, says) in table {
            let error = loaded(file, &[]).unwrap_err().to_string();
            assert!(error.contains(says), "{file}: {error}");
        }
    }
}
