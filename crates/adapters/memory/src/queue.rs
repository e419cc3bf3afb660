//! Messages: producer, consumer, and the queue between them.

mod accepted;
mod admin;
pub(crate) mod broadcast;
mod group;
mod inspect;
mod leases;
pub(crate) mod leasing;
mod memory;
pub(crate) mod messages;
#[cfg(test)]
mod model;
mod routes;
pub(crate) mod sending;

use std::time::Duration;

pub(crate) use leasing::shorten;
pub(crate) use messages::Queue;

/// The largest inline payload in bytes.
pub(crate) const MAX_PAYLOAD: usize = 1024 * 1024;

/// The most messages of one call.
pub(crate) const MAX_BATCH: usize = 1_000;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The longest delay.
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(365 * 24 * 3600);

/// The shortest and the longest lease, of messages and of tasks.
pub(crate) const MIN_LEASE: Duration = Duration::from_millis(1);
pub(crate) const MAX_LEASE: Duration = DAY;
