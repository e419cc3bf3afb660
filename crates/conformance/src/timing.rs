use std::time::Duration;

use crate::Expected;

/// How long cases wait, from what the adapter says of itself.
///
/// What must happen gets plenty of time, since the machine may be busy; what must not happen is
/// watched for briefly. A case that does not want a lease to end takes a long one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A lease that is waited out.
    pub short_lease: Duration,
    /// A lease that does not end while a case runs.
    pub long_lease: Duration,
    /// How long after the end of its lease a message or task is back at the latest.
    pub redelivery: Duration,
    /// A delay, ttl or backoff that is waited out.
    pub delay: Duration,
    /// How long after its delay something is due at the latest.
    pub late: Duration,
    /// How long anything else may take.
    pub patience: Duration,
    /// How long a case watches that nothing happens.
    pub quiet: Duration,
}

const SHORT: Duration = Duration::from_millis(200);
/// Some cases settle before it ends, over HTTP and on a disk that is busy.
const SHORT_LEASE: Duration = Duration::from_millis(600);
const PATIENCE: Duration = Duration::from_secs(10);

impl Timing {
    /// For messages and references.
    pub fn messages(expected: &Expected) -> Self {
        let consumer = expected.consumer.as_ref();
        let precision = expected
            .producer
            .map_or(Duration::ZERO, |c| c.delay_precision);
        Self::derive(
            consumer.map_or(Duration::ZERO, |c| c.min_lease),
            consumer.map_or(Duration::from_secs(30), |c| c.max_lease),
            consumer.map_or(Duration::ZERO, |c| c.redelivery_lag),
            precision,
        )
    }

    /// For tasks.
    pub fn tasks(expected: &Expected) -> Self {
        let tasks = expected.tasks.as_ref();
        Self::derive(
            tasks.map_or(Duration::ZERO, |c| c.min_lease),
            tasks.map_or(Duration::from_secs(30), |c| c.max_lease),
            tasks.map_or(Duration::ZERO, |c| c.redelivery_lag),
            tasks.map_or(Duration::ZERO, |c| c.delay_precision),
        )
    }

    fn derive(min: Duration, max: Duration, lag: Duration, precision: Duration) -> Self {
        Self {
            short_lease: min.max(SHORT_LEASE),
            long_lease: Duration::from_secs(60).clamp(min, max.max(min)),
            redelivery: lag + PATIENCE,
            delay: SHORT.max(precision * 2),
            late: precision + PATIENCE,
            patience: PATIENCE,
            quiet: Duration::from_millis(120),
        }
    }

    /// How long one case may take: time to wait out several leases and delays, one after another,
    /// and for hundreds of writes to a disk that is busy.
    pub(crate) fn deadline(expected: &Expected) -> Duration {
        [Self::messages(expected), Self::tasks(expected)]
            .iter()
            .map(|timing| {
                Duration::from_secs(120)
                    + 6 * (timing.short_lease + timing.delay)
                    + timing.redelivery
            })
            .max()
            .unwrap_or_default()
    }
}
