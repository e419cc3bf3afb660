//! The parameters of a `sqlite:` URL.

use std::{fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, de};
use statehouse_contracts::{Durability, Endpoint, Error, Result};

use crate::engine::{EngineOptions, Synchronous};

/// How a file is used: the parameters of its URL, as in
/// `sqlite:statehouse.db?synchronous=normal&readers=8`. Durations are a number with one of the
/// units `ms`, `s`, `m`, `h`, `d`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// When an operation counts as accepted: `full` (default) once it is on the disk, `normal`
    /// once the operating system has it. `normal` is faster for a caller alone, and a loss of
    /// power may take the last operations that were accepted, but never part of one and never the
    /// file.
    pub synchronous: Durable,
    /// How many reads run at the same time, 1 to 64. Default 4.
    pub readers: usize,
    /// How long a write waits for another process before it is `Overloaded`. Default 5 s.
    #[serde(deserialize_with = "duration")]
    pub busy_timeout: Duration,
    /// How long a repeated op_id is recognised. Default 1 d.
    #[serde(deserialize_with = "duration")]
    pub op_window: Duration,
    /// How long a repeated idempotency key of a message is recognised. Default 1 h.
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

/// When an operation counts as accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durable {
    /// On the disk.
    #[default]
    Full,
    /// In the operating system's hands.
    Normal,
}

impl Default for Config {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        Self {
            synchronous: Durable::Full,
            readers: 4,
            busy_timeout: Duration::from_secs(5),
            op_window: 24 * HOUR,
            message_window: HOUR,
            task_retention: 7 * 24 * HOUR,
            gc_interval: Duration::from_secs(300),
            quota: None,
            change_log_keep: None,
            change_log_age: None,
        }
    }
}

impl Config {
    /// The most readers: each is a thread and a file descriptor.
    const MAX_READERS: usize = 64;

    /// The file and its configuration.
    ///
    /// # Errors
    /// `InvalidArgument` for a URL with a host, without a path, or with a parameter that is
    /// unknown or makes no sense.
    pub(crate) fn of(endpoint: &Endpoint) -> Result<(PathBuf, Self)> {
        let path = endpoint.path();
        if let Some(host) = endpoint.host() {
            return Err(Error::invalid(format!(
                "the URL {endpoint} makes {host:?} a host; a file is named without slashes before \
                 it: sqlite:{host}{path}"
            )));
        }
        let path = path.strip_prefix("//").map_or(path.clone(), |rest| {
            format!("/{}", rest.trim_start_matches('/'))
        });
        if path.is_empty() || path.ends_with('/') {
            return Err(Error::invalid(format!(
                "the URL {endpoint} names no file; write for example sqlite:statehouse.db"
            )));
        }
        let config: Self = endpoint.parameters()?;
        config.check()?;
        Ok((PathBuf::from(path), config))
    }

    fn check(&self) -> Result<()> {
        if !(1..=Self::MAX_READERS).contains(&self.readers) {
            return Err(Error::invalid(format!(
                "readers is {}; 1 to {} are allowed",
                self.readers,
                Self::MAX_READERS
            )));
        }
        let spans = [
            ("op_window", self.op_window),
            ("message_window", self.message_window),
            ("gc_interval", self.gc_interval),
        ];
        match spans.iter().find(|(_, span)| span.is_zero()) {
            Some((name, _)) => Err(Error::invalid(format!(
                "{name} is 0; write a duration such as 10m"
            ))),
            None => Ok(()),
        }
    }

    pub(crate) fn engine(&self) -> EngineOptions {
        EngineOptions {
            synchronous: match self.synchronous {
                Durable::Full => Synchronous::Full,
                Durable::Normal => Synchronous::Normal,
            },
            busy_timeout: self.busy_timeout,
            readers: self.readers,
            ..EngineOptions::default()
        }
    }

    /// What an accepted operation survives.
    pub(crate) fn durability(&self) -> Durability {
        match self.synchronous {
            Durable::Full => Durability::DISK,
            Durable::Normal => Durability::PROCESS,
        }
    }

    /// What an operator should know.
    pub(crate) fn facts(&self) -> Vec<(String, String)> {
        let synchronous = match self.synchronous {
            Durable::Full => "full: on the disk when accepted",
            Durable::Normal => "normal: a loss of power may take the last accepted operations",
        };
        vec![("synchronous".to_owned(), synchronous.to_owned())]
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Text;
    impl de::Visitor<'_> for Text {
        type Value = Duration;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number and one of the units ms, s, m, h, d, such as 30s")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }
    deserializer.deserialize_str(Text)
}

fn optional_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

fn parse(text: &str) -> Option<Duration> {
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
mod tests {
    use super::*;

    fn of(url: &str) -> Result<(PathBuf, Config)> {
        Config::of(&Endpoint::parse(url)?)
    }

    #[test]
    fn each_url_names_its_file() {
        let table = [
            ("sqlite:statehouse.db", "statehouse.db"),
            ("sqlite:data/a%20b.db?readers=2", "data/a b.db"),
            ("sqlite:/var/lib/a.db", "/var/lib/a.db"),
            ("sqlite:///var/lib/a.db", "/var/lib/a.db"),
            ("sqlite:./a.db", "./a.db"),
        ];
        for (url, path) in table {
            assert_eq!(of(url).unwrap().0, PathBuf::from(path), "{url}");
        }
    }

    #[test]
    fn each_parameter_is_taken() {
        let url = "sqlite:a.db?synchronous=normal&readers=2&busy_timeout=250ms&op_window=2h\
                   &message_window=30s&task_retention=1d&gc_interval=10m&quota=1024\
                   &change_log_keep=5&change_log_age=7d";
        let expected = Config {
            synchronous: Durable::Normal,
            readers: 2,
            busy_timeout: Duration::from_millis(250),
            op_window: Duration::from_secs(7200),
            message_window: Duration::from_secs(30),
            task_retention: Duration::from_secs(24 * 3600),
            gc_interval: Duration::from_secs(600),
            quota: Some(1024),
            change_log_keep: Some(5),
            change_log_age: Some(Duration::from_secs(7 * 24 * 3600)),
        };
        assert_eq!(of(url).unwrap().1, expected);
        assert_eq!(of("sqlite:a.db").unwrap().1, Config::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_hint() {
        let table = [
            ("sqlite://data/a.db", "sqlite:data/a.db"),
            ("sqlite:", "sqlite:statehouse.db"),
            ("sqlite:data/", "names no file"),
            ("sqlite:a.db?synchronous=off", "`full` or `normal`"),
            ("sqlite:a.db?reader=2", "`readers`"),
            ("sqlite:a.db?readers=0", "1 to 64"),
            ("sqlite:a.db?busy_timeout=5", "units ms, s, m, h, d"),
            ("sqlite:a.db?busy_timeout=99999999999999999999d", "units"),
            ("sqlite:a.db?op_window=0s", "op_window is 0"),
            ("sqlite:a.db?quota=-1", "invalid digit"),
        ];
        for (url, says) in table {
            let error = of(url).unwrap_err();
            assert!(error.to_string().contains(says), "{url}: {error}");
        }
    }
}
