//! The parameters of a `memory:` URL.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use statehouse_contracts::{Endpoint, Error, Result};

/// How a store in memory works: the parameters of its URL, as in
/// `memory:?quota=67108864&gc_interval=60s`. Durations are written as `90s`, `10m` or `1h 30m`; a
/// number alone counts seconds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// How long a repeated op_id is recognised. Default 10 min.
    #[serde(deserialize_with = "duration")]
    pub op_window: Duration,
    /// How long a repeated idempotency key of a message is recognised. Default 10 min.
    #[serde(deserialize_with = "duration")]
    pub message_window: Duration,
    /// How many op_ids, and how many idempotency keys, a namespace remembers at most, whatever the
    /// windows say. Default 1,000,000.
    pub window_entries: usize,
    /// How long finished tasks are kept. Default 1 h.
    #[serde(deserialize_with = "duration")]
    pub task_retention: Duration,
    /// How often content without a holder is collected. Default 5 min.
    #[serde(deserialize_with = "duration")]
    pub gc_interval: Duration,
    /// The bytes of stored content per namespace; no quota when not given.
    pub quota: Option<u64>,
    /// How many versions of a key are kept; all when not given.
    pub history_keep: Option<u64>,
    /// How many changes the change log of a namespace keeps. Default 1,000,000.
    pub change_log_keep: u64,
    /// How many bytes of sent messages a namespace keeps for groups that start at the earliest.
    /// Default 16 MiB.
    pub message_retention: u64,
    /// How many messages a broadcast subscription holds before it loses the oldest. Default 1,024.
    pub broadcast_buffer: usize,
}

impl Default for Config {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            op_window: 10 * MINUTE,
            message_window: 10 * MINUTE,
            window_entries: 1_000_000,
            task_retention: 60 * MINUTE,
            gc_interval: 5 * MINUTE,
            quota: None,
            history_keep: None,
            change_log_keep: 1_000_000,
            message_retention: 16 * 1024 * 1024,
            broadcast_buffer: 1_024,
        }
    }
}

impl Config {
    pub(crate) fn of(endpoint: &Endpoint) -> Result<Self> {
        let place = endpoint.host().map_or(endpoint.path(), str::to_owned);
        if !matches!(place.as_str(), "" | "/") {
            return Err(Error::invalid(format!(
                "the URL {endpoint} names {place:?}, but a store in memory has no name; write \
                 memory:"
            )));
        }
        let config: Self = endpoint.parameters()?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let none = [
            (self.op_window.is_zero(), "op_window"),
            (self.message_window.is_zero(), "message_window"),
            (self.gc_interval.is_zero(), "gc_interval"),
            (self.window_entries == 0, "window_entries"),
            (self.broadcast_buffer == 0, "broadcast_buffer"),
            (self.history_keep == Some(0), "history_keep"),
        ];
        match none.iter().find(|(zero, _)| *zero) {
            Some((_, name)) => Err(Error::invalid(format!("{name} is 0; it must be more"))),
            None => Ok(()),
        }
    }
}

fn duration<'de, D: Deserializer<'de>>(source: D) -> std::result::Result<Duration, D::Error> {
    let text = String::deserialize(source)?;
    parse(&text).ok_or_else(|| {
        de::Error::custom(format!(
            "{text:?} is no duration; write for example 90s, 10m or 1h 30m"
        ))
    })
}

fn parse(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let signed: jiff::SignedDuration = text.parse().ok()?;
    Duration::try_from(signed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<Config> {
        Config::of(&Endpoint::parse(url).unwrap())
    }

    #[test]
    fn each_form_of_url() {
        let table = [
            ("memory:", Config::default()),
            ("memory://", Config::default()),
            (
                "memory:?gc_interval=1h+30m&quota=9",
                Config {
                    gc_interval: Duration::from_secs(5400),
                    quota: Some(9),
                    ..Config::default()
                },
            ),
            (
                "memory:?task_retention=7&op_window=250ms&history_keep=2",
                Config {
                    task_retention: Duration::from_secs(7),
                    op_window: Duration::from_millis(250),
                    history_keep: Some(2),
                    ..Config::default()
                },
            ),
        ];
        for (url, expected) in table {
            assert_eq!(of(url).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let table = [
            ("memory:name", "has no name"),
            ("memory://host", "has no name"),
            ("memory:?gc=1s", "unknown field `gc`"),
            ("memory:?gc_interval=often", "is no duration"),
            ("memory:?gc_interval=-1s", "is no duration"),
            ("memory:?gc_interval=0", "gc_interval is 0"),
            ("memory:?quota=-1", "invalid digit"),
        ];
        for (url, says) in table {
            let error = of(url).unwrap_err();
            assert!(error.to_string().contains(says), "{url}: {error}");
        }
    }
}
