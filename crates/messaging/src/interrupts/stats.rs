//! Counting.

use std::sync::atomic::{AtomicU64, Ordering};

use super::InterruptEvent;

/// What has happened in one process since it began, and what waits there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterruptStats {
    /// Interrupts that were accepted.
    pub sent: u64,
    /// Those that a handler has handled.
    pub delivered: u64,
    /// Times that a handler failed, panicked or took too long.
    pub failed: u64,
    /// Those that found a full buffer, or were in one at the end.
    pub dropped: u64,
    /// Critical ones that were stored.
    pub persisted: u64,
    /// Repeats of critical ones.
    pub retried: u64,
    /// Critical ones that are done with.
    pub acknowledged: u64,
    /// Those that wait in a buffer now.
    pub waiting: usize,
    /// Critical ones that a handler has now, or that wait to be acknowledged.
    pub taken: usize,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    sent: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    persisted: AtomicU64,
    retried: AtomicU64,
    acknowledged: AtomicU64,
}

impl Counters {
    pub(super) fn count(&self, event: InterruptEvent) {
        let (counter, outcome) = match event {
            InterruptEvent::Sent => (&self.sent, "sent"),
            InterruptEvent::Delivered => (&self.delivered, "delivered"),
            InterruptEvent::Failed => (&self.failed, "failed"),
            InterruptEvent::Dropped => (&self.dropped, "dropped"),
            InterruptEvent::Persisted => (&self.persisted, "persisted"),
            InterruptEvent::Retried => (&self.retried, "retried"),
            InterruptEvent::Acknowledged => (&self.acknowledged, "acknowledged"),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("statehouse_interrupts_total", "outcome" => outcome).increment(1);
    }

    pub(super) fn read(&self, waiting: usize, taken: usize) -> InterruptStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        InterruptStats {
            sent: read(&self.sent),
            delivered: read(&self.delivered),
            failed: read(&self.failed),
            dropped: read(&self.dropped),
            persisted: read(&self.persisted),
            retried: read(&self.retried),
            acknowledged: read(&self.acknowledged),
            waiting,
            taken,
        }
    }
}
