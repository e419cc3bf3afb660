//! What is leased to this process and not handed out yet, in the order in which it will be.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Instant;

use cheetah_string::CheetahString;
use jiff::Timestamp;

use crate::pop::held::Held;

/// The place in the order: the higher priority first where priorities count, then what was due
/// first, then by the place in the log.
type Order = (Reverse<u8>, Timestamp, CheetahString, i32, i64);

/// Messages in order.
#[derive(Debug, Default)]
pub(super) struct Buffer(BTreeMap<Order, Held>);

impl Buffer {
    pub(super) fn put(&mut self, held: Held, priorities: bool) {
        let level = if priorities {
            held.content.priority.level()
        } else {
            0
        };
        let order = (
            Reverse(level),
            held.received.due_at,
            held.place.topic.clone(),
            held.place.queue,
            held.place.offset,
        );
        self.0.insert(order, held);
    }

    /// The first.
    pub(super) fn take(&mut self) -> Option<Held> {
        self.0.pop_first().map(|(_, held)| held)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What has been here since before `time`.
    pub(super) fn since_before(&mut self, time: Instant) -> Vec<Held> {
        self.0
            .extract_if(.., |_, held| held.since <= time)
            .map(|(_, held)| held)
            .collect()
    }

    /// Since when the oldest has been here.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.0.values().map(|held| held.since).min()
    }

    /// What is here, in order.
    pub(super) fn held(&self) -> impl Iterator<Item = &Held> {
        self.0.values()
    }

    /// Everything.
    pub(super) fn drain(&mut self) -> Vec<Held> {
        std::mem::take(&mut self.0).into_values().collect()
    }
}
