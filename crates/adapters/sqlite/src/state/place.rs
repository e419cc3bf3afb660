//! Where things stand: the rows of all namespaces share their tables, each in a range of its own.

use crate::engine::Counter;

/// Bits of a row's number that count within a namespace.
const BITS: u32 = 40;

/// The numbers of one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    ns: i64,
}

impl Range {
    pub(crate) fn of(ns: i64) -> Self {
        Self { ns }
    }

    /// The row at a place, from 1; place 0 is right before the first.
    pub(crate) fn row(self, place: i64) -> i64 {
        (self.ns << BITS) | place.clamp(0, Self::LAST)
    }

    /// The largest number a row of the namespace may have.
    pub(crate) fn last_row(self) -> i64 {
        self.row(Self::LAST)
    }

    /// The place of a row.
    pub(crate) fn place(row: i64) -> i64 {
        row & Self::LAST
    }

    const LAST: i64 = (1 << BITS) - 1;
}

/// The place of the last change of a namespace.
pub(crate) const fn head(ns: i64) -> Counter {
    Counter::new(100, ns)
}

/// The number of the last commit of a namespace.
pub(crate) const fn commits(ns: i64) -> Counter {
    Counter::new(101, ns)
}

/// The largest version of a forgotten key of a namespace: new keys start above.
pub(crate) const fn floor(ns: i64) -> Counter {
    Counter::new(102, ns)
}

/// The place of the last message put into the outbox of a namespace.
pub(crate) const fn outbox_head(ns: i64) -> Counter {
    Counter::new(103, ns)
}

/// How many messages of the outbox wait, parked ones not counted.
pub(crate) const fn outbox_waiting(ns: i64) -> Counter {
    Counter::new(104, ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_do_not_overlap() {
        let (a, b) = (Range::of(1), Range::of(2));
        assert!(a.last_row() < b.row(0));
        assert_eq!(Range::place(b.row(7)), 7);
        assert_eq!(a.row(i64::MAX), a.last_row());
    }
}
