//! Messages: producer, consumer, and the queue between them.

mod accepted;
mod admin;
mod broadcast;
mod consumer;
mod group;
mod inspect;
mod leases;
mod leasing;
mod memory;
mod messages;
#[cfg(test)]
mod model;
mod producer;
mod routes;
mod sending;

use std::time::Duration;

pub(crate) use consumer::consumer;
pub(crate) use leasing::shorten;
pub(crate) use messages::Queue;
pub(crate) use producer::producer;

/// The largest inline payload in bytes.
pub(crate) const MAX_PAYLOAD: usize = 1024 * 1024;

/// The most messages of one call.
const MAX_BATCH: usize = 1_000;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The longest delay.
const MAX_DELAY: Duration = Duration::from_secs(365 * 24 * 3600);

/// The shortest and the longest lease, of messages and of tasks.
pub(crate) const MIN_LEASE: Duration = Duration::from_millis(1);
pub(crate) const MAX_LEASE: Duration = DAY;
