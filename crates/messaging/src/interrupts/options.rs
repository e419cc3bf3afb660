//! How interrupts behave.

use std::time::Duration;

use super::SignalClass;

/// How interrupts behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptOptions {
    /// How many interrupts of the class high wait for their handlers. Default 10,000.
    pub high: usize,
    /// How many of the class normal. Default 1,000.
    pub normal: usize,
    /// How many of the class low, and how many of the class learning. Default 100.
    pub low: usize,
    /// How long a handler may take. Default 30 s.
    pub timeout: Duration,
    /// The wait before the first repeat of a critical interrupt; it doubles. Default 100 ms.
    pub retry: Duration,
    /// The longest wait before a repeat. Default 30 s.
    pub retry_cap: Duration,
    /// How many deliveries a critical interrupt gets before it is a dead letter. Default 50.
    pub max_attempts: u32,
}

impl Default for InterruptOptions {
    fn default() -> Self {
        Self {
            high: 10_000,
            normal: 1_000,
            low: 100,
            timeout: Duration::from_secs(30),
            retry: Duration::from_millis(100),
            retry_cap: Duration::from_secs(30),
            max_attempts: 50,
        }
    }
}

impl InterruptOptions {
    pub(super) fn buffer(&self, class: SignalClass) -> usize {
        let buffer = match class {
            SignalClass::Critical | SignalClass::High => self.high,
            SignalClass::Normal => self.normal,
            SignalClass::Low | SignalClass::Learning => self.low,
        };
        buffer.max(1)
    }
}
