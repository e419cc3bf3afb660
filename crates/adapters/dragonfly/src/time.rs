//! Times and spans as they stand on the server: microseconds since the Unix epoch.

use std::time::Duration;

use statehouse_contracts::Timestamp;
use tokio::time::Instant;

/// A deadline further away than anybody waits.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The longest span that scripts add to a time. Lua counts in doubles, which hold whole
/// microseconds up to the year 2255; a later time counts as never.
const MAX_SPAN: Duration = Duration::from_secs(200 * 365 * 24 * 3600);

/// A span in microseconds, at most 200 years.
pub(crate) fn micros(span: Duration) -> i64 {
    i64::try_from(span.min(MAX_SPAN).as_micros()).unwrap_or(i64::MAX)
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
