//! The store's clock: wall-clock times that never go back.

use std::time::{Duration, Instant};

use jiff::Timestamp;

const SECOND: i64 = 1_000_000_000;

/// A point in time, in nanoseconds since the Unix epoch; good until the year 2262.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Time(i64);

impl Time {
    pub(crate) const NEVER: Self = Self(i64::MAX);

    pub(crate) fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    pub(crate) fn nanos(self) -> i64 {
        self.0
    }

    pub(crate) fn of(timestamp: Timestamp) -> Self {
        let seconds = timestamp.as_second().saturating_mul(SECOND);
        Self(seconds.saturating_add(timestamp.subsec_nanosecond().into()))
    }

    pub(crate) fn timestamp(self) -> Timestamp {
        // The remainder is less than a second, so it fits.
        let rest = self.0.rem_euclid(SECOND) as i32;
        Timestamp::new(self.0.div_euclid(SECOND), rest).unwrap_or(Timestamp::MAX)
    }

    pub(crate) fn after(self, duration: Duration) -> Self {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    pub(crate) fn before(self, duration: Duration) -> Self {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(nanos))
    }

    pub(crate) fn since(self, earlier: Self) -> Duration {
        let nanos = self.0.saturating_sub(earlier.0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }
}

/// Gives the wall-clock time at its start, moved on by the monotonic clock.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    origin: Time,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            origin: Time::of(Timestamp::now()),
        }
    }

    pub(crate) fn now(&self) -> Time {
        self.origin.after(self.start.elapsed())
    }

    /// The same point on the monotonic clock; far away for one that is out of its reach.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        deadline(self.start, time.since(self.origin))
    }
}

/// `start` and `length` later; a length out of the clock's reach counts as thirty years.
pub(crate) fn deadline(start: Instant, length: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    start.checked_add(length.min(FAR)).unwrap_or(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_timestamps_agree_and_nothing_overflows() {
        for text in ["2026-11-21T09:00:00.123456789Z", "1969-12-31T23:59:59.5Z"] {
            let timestamp: Timestamp = text.parse().unwrap();
            assert_eq!(Time::of(timestamp).timestamp(), timestamp);
        }
        assert_eq!(Time::of(Timestamp::MAX), Time::NEVER);
        let now = Clock::new().now();
        assert_eq!(now.after(Duration::MAX), Time::NEVER);
        assert_eq!(now.since(now.after(Duration::from_secs(1))), Duration::ZERO);
        assert!(deadline(Instant::now(), Duration::MAX) > Instant::now());
    }
}
