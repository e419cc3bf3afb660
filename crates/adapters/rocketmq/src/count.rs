//! Counting what is going on.

use std::sync::atomic::{AtomicUsize, Ordering};

/// So many count while this lives.
pub(crate) struct Counted<'a> {
    count: &'a AtomicUsize,
    number: usize,
}

impl<'a> Counted<'a> {
    pub(crate) fn new(count: &'a AtomicUsize, number: usize) -> Self {
        count.fetch_add(number, Ordering::AcqRel);
        Self { count, number }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(self.number, Ordering::AcqRel);
    }
}
