//! Groups: durable named subscriptions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Pattern;

/// Where a new group begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// With what is sent after it was declared.
    #[default]
    Now,
    /// With the earliest message that is still kept (capability `start_earliest`).
    Earliest,
}

/// What happens to a message for a full group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// The send waits for room until its deadline, then is [`Overloaded`](crate::ErrorKind).
    #[default]
    Reject,
    /// The oldest ready message makes room and is counted as dropped.
    DropOldest,
}

/// What happens to a message that expires before it is handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expired {
    /// It is dropped and counted.
    #[default]
    Drop,
    /// It becomes a dead letter with the reason `expired`.
    DeadLetter,
}

/// How long a failed attempt waits before the next: `initial × factor^(attempt − 1)`, at most
/// `max`, and with `jitter` a random part of it between one half and the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backoff {
    /// The wait after the first attempt.
    pub initial: Duration,
    /// The growth from one attempt to the next; 1 keeps it.
    pub factor: u32,
    /// The longest wait.
    pub max: Duration,
    /// Whether the wait is spread at random, so that failures do not come back together.
    pub jitter: bool,
}

impl Backoff {
    /// No wait at all.
    pub const NONE: Self = Self {
        initial: Duration::ZERO,
        factor: 1,
        max: Duration::ZERO,
        jitter: false,
    };

    /// The same wait each time.
    pub const fn fixed(wait: Duration) -> Self {
        Self {
            initial: wait,
            factor: 1,
            max: wait,
            jitter: false,
        }
    }

    /// The wait after attempt number `attempt` (from 1). `random` is in 0.0..1.0.
    pub fn wait(&self, attempt: u32, random: f64) -> Duration {
        let growth = self
            .factor
            .max(1)
            .checked_pow(attempt.saturating_sub(1))
            .unwrap_or(u32::MAX);
        let whole = self
            .initial
            .checked_mul(growth)
            .unwrap_or(self.max)
            .min(self.max);
        if self.jitter {
            whole.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
        } else {
            whole
        }
    }
}

impl Default for Backoff {
    /// 1 s, doubling up to 5 min, with jitter.
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            factor: 2,
            max: Duration::from_secs(300),
            jitter: true,
        }
    }
}

/// The promise of a group. A spec lets an adapter choose the cheapest form that keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSpec {
    /// Which topics it hears.
    pub pattern: Pattern,
    /// Where it begins.
    #[serde(default)]
    pub start: Start,
    /// Whether ordering keys are kept; without, keys are ignored. Default true.
    #[serde(default = "yes")]
    pub ordering: bool,
    /// Whether priorities count; without, all are equal. Default true.
    #[serde(default = "yes")]
    pub priorities: bool,
    /// How many deliveries a message gets before it is a dead letter, at least 1. Default 4.
    #[serde(default = "four")]
    pub max_deliveries: u32,
    /// The lease of a delivery when `receive` names none. Default 30 s.
    #[serde(default = "half_a_minute")]
    pub lease: Duration,
    /// The wait after a nack that names no delay.
    #[serde(default)]
    pub backoff: Backoff,
    /// The most messages it holds, ready, delayed and in flight together; `None`: no bound.
    #[serde(default)]
    pub max_length: Option<u64>,
    /// What happens when it is full.
    #[serde(default)]
    pub overflow: Overflow,
    /// What happens to messages that expire.
    #[serde(default)]
    pub expired: Expired,
}

fn yes() -> bool {
    true
}

fn four() -> u32 {
    4
}

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

impl GroupSpec {
    /// The default promise for `pattern`.
    pub fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            start: Start::Now,
            ordering: true,
            priorities: true,
            max_deliveries: four(),
            lease: half_a_minute(),
            backoff: Backoff::default(),
            max_length: None,
            overflow: Overflow::Reject,
            expired: Expired::Drop,
        }
    }

    /// The name of the first field in which `other` differs, for a conflicting declaration.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        let fields = [
            (self.pattern == other.pattern, "pattern"),
            (self.start == other.start, "start"),
            (self.ordering == other.ordering, "ordering"),
            (self.priorities == other.priorities, "priorities"),
            (
                self.max_deliveries == other.max_deliveries,
                "max_deliveries",
            ),
            (self.lease == other.lease, "lease"),
            (self.backoff == other.backoff, "backoff"),
            (self.max_length == other.max_length, "max_length"),
            (self.overflow == other.overflow, "overflow"),
            (self.expired == other.expired, "expired"),
        ];
        fields.iter().find(|(same, _)| !same).map(|(_, name)| *name)
    }
}

/// The answer to a declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Whether the group is new; false when it was there with the same spec.
    pub created: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_its_maximum() {
        let backoff = Backoff {
            jitter: false,
            ..Backoff::default()
        };
        let waits: Vec<u64> = [1, 2, 3, 9, 10, 4_000_000_000]
            .into_iter()
            .map(|attempt| backoff.wait(attempt, 0.0).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 256, 300, 300]);
        let jitter = Backoff::default();
        assert_eq!(jitter.wait(1, 0.0), Duration::from_millis(500));
        assert_eq!(jitter.wait(1, 1.0), Duration::from_secs(1));
    }

    #[test]
    fn a_spec_from_json_has_the_defaults() {
        let spec: GroupSpec = serde_json::from_str(r#"{"pattern":"a.#"}"#).unwrap();
        assert_eq!(spec, GroupSpec::new(Pattern::new("a.#").unwrap()));
        let other = GroupSpec {
            max_length: Some(1),
            ..spec.clone()
        };
        assert_eq!(spec.difference(&other), Some("max_length"));
        assert_eq!(spec.difference(&spec), None);
    }
}
