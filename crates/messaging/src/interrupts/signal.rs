//! What an interrupt says, and how urgent that is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use statehouse_contracts::{Error, Result};

/// What an interrupt says, by number: the lower, the more urgent.
///
/// | | class |
/// |---|---|
/// | 0–9 | [critical](SignalClass::Critical) |
/// | 10–19 | [high](SignalClass::High) |
/// | 20–29 | [normal](SignalClass::Normal) |
/// | 30–39 | [low](SignalClass::Low) |
/// | 40–49 | [learning](SignalClass::Learning) |
/// | from 1000 on | a program's own, as urgent as normal ones |
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Signal(u32);

/// How urgent a signal is. Each class has a buffer of its own, so no class waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignalClass {
    /// Persisted until it is acknowledged.
    Critical,
    /// Security, errors, resources.
    High,
    /// Wake up, shut down, look after oneself.
    Normal,
    /// Housekeeping.
    Low,
    /// Learning.
    Learning,
}

impl Signal {
    /// Stop everything, now.
    pub const EMERGENCY_STOP: Self = Self(0);
    /// The whole system shuts down.
    pub const SYSTEM_SHUTDOWN: Self = Self(1);
    /// A threshold that must not be crossed was.
    pub const THRESHOLD_CRITICAL: Self = Self(2);
    /// A database is down.
    pub const DATABASE_DOWN: Self = Self(3);
    /// Somebody has broken in.
    pub const SECURITY_BREACH: Self = Self(4);
    /// A threshold was crossed.
    pub const THRESHOLD_HIGH: Self = Self(10);
    /// Security needs a look.
    pub const ALERT_SECURITY: Self = Self(11);
    /// An error needs a look.
    pub const ALERT_ERROR: Self = Self(12);
    /// Something has run out.
    pub const RESOURCE_EXHAUSTED: Self = Self(13);
    /// There is work.
    pub const WAKEUP: Self = Self(20);
    /// Finish, then stop.
    pub const GRACEFUL_SHUTDOWN: Self = Self(21);
    /// Say how you are.
    pub const HEALTH_CHECK: Self = Self(22);
    /// The configuration has changed.
    pub const CONFIG_RELOAD: Self = Self(23);
    /// Report figures.
    pub const METRICS_COLLECTION: Self = Self(30);
    /// Begin a new log.
    pub const LOG_ROTATION: Self = Self(31);
    /// The first number that is a program's own.
    pub const CUSTOM: Self = Self(1000);

    const NAMES: [(Self, &str); 15] = [
        (Self::EMERGENCY_STOP, "emergency_stop"),
        (Self::SYSTEM_SHUTDOWN, "system_shutdown"),
        (Self::THRESHOLD_CRITICAL, "threshold_critical"),
        (Self::DATABASE_DOWN, "database_down"),
        (Self::SECURITY_BREACH, "security_breach"),
        (Self::THRESHOLD_HIGH, "threshold_high"),
        (Self::ALERT_SECURITY, "alert_security"),
        (Self::ALERT_ERROR, "alert_error"),
        (Self::RESOURCE_EXHAUSTED, "resource_exhausted"),
        (Self::WAKEUP, "wakeup"),
        (Self::GRACEFUL_SHUTDOWN, "graceful_shutdown"),
        (Self::HEALTH_CHECK, "health_check"),
        (Self::CONFIG_RELOAD, "config_reload"),
        (Self::METRICS_COLLECTION, "metrics_collection"),
        (Self::LOG_ROTATION, "log_rotation"),
    ];

    /// The signal of this number.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) from 50 to 999.
    pub fn new(number: u32) -> Result<Self> {
        if (50..Self::CUSTOM.0).contains(&number) {
            return Err(Error::invalid(format!(
                "{number} is no signal; signals are 0 to 49, and a program's own from 1000 on"
            )));
        }
        Ok(Self(number))
    }

    /// Its number.
    pub fn number(self) -> u32 {
        self.0
    }

    /// How urgent it is.
    pub fn class(self) -> SignalClass {
        match self.0 {
            0..10 => SignalClass::Critical,
            10..20 => SignalClass::High,
            30..40 => SignalClass::Low,
            40..50 => SignalClass::Learning,
            _ => SignalClass::Normal,
        }
    }

    /// Whether it is persisted.
    pub fn is_critical(self) -> bool {
        self.class() == SignalClass::Critical
    }

    fn name(self) -> Option<&'static str> {
        let known = Self::NAMES.iter().find(|(signal, _)| *signal == self);
        known.map(|(_, name)| *name)
    }
}

impl SignalClass {
    /// Those that wait in a buffer.
    pub(super) const BUFFERED: [Self; 4] = [Self::High, Self::Normal, Self::Low, Self::Learning];
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signal({self})")
    }
}

impl FromStr for Signal {
    type Err = Error;

    /// A name such as `wakeup`, or a number.
    fn from_str(text: &str) -> Result<Self> {
        if let Some((signal, _)) = Self::NAMES.iter().find(|(_, name)| *name == text) {
            return Ok(*signal);
        }
        let number = text.parse().map_err(|_| {
            Error::invalid(format!(
                "{text:?} is no signal; signals have names such as wakeup, or numbers"
            ))
        })?;
        Self::new(number)
    }
}

impl TryFrom<u32> for Signal {
    type Error = Error;

    fn try_from(number: u32) -> Result<Self> {
        Self::new(number)
    }
}

impl From<Signal> for u32 {
    fn from(signal: Signal) -> u32 {
        signal.0
    }
}
