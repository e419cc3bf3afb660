//! Times and spans as they stand in the file: microseconds since the Unix epoch.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use statehouse_contracts::Timestamp;
use tokio::time::Instant;

/// A deadline further away than anybody waits.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The time by this machine's clock. Writes take the group's time, [`Tx::now`], instead.
///
/// [`Tx::now`]: crate::engine::Tx::now
pub(crate) fn now() -> i64 {
    micros(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

/// A span in microseconds; at most the largest number.
pub(crate) fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// The time `span` after `at`; at most the largest number.
pub(crate) fn after(at: i64, span: Duration) -> i64 {
    at.saturating_add(micros(span))
}

/// A time as the contracts tell it; beyond the year 9999 the last moment before.
pub(crate) fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// When to stop waiting.
pub(crate) fn deadline(wait: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(wait.min(FAR)).unwrap_or(now)
}
