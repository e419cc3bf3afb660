//! Limits by kind, read without a lock.

use std::hash::BuildHasher;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::FixedState;
use statehouse_contracts::Kind;

/// The slots of the first table; each further one has twice as many.
const FIRST: usize = 64;

/// How far from its place a kind is looked for.
const PROBES: usize = 8;

/// A slot without a rule.
const NONE: u64 = u64::MAX - 1;

/// A hash table that only grows: a slot belongs to one kind for ever, and only its limit changes. So
/// readers need no lock and nothing to hold on to. A kind whose rule is gone keeps its slot; there
/// are as many as kinds that ever had a rule.
#[derive(Debug)]
pub(super) struct Limits {
    slots: Box<[Slot]>,
    next: OnceLock<Box<Limits>>,
}

#[derive(Debug)]
struct Slot {
    kind: OnceLock<Kind>,
    limit: AtomicU64,
}

impl Limits {
    pub(super) fn new() -> Self {
        Self::with_slots(FIRST)
    }

    fn with_slots(slots: usize) -> Self {
        let slot = || Slot {
            kind: OnceLock::new(),
            limit: AtomicU64::new(NONE),
        };
        Self {
            slots: std::iter::repeat_with(slot).take(slots).collect(),
            next: OnceLock::new(),
        }
    }

    /// The limit of `kind`, if it has one.
    #[inline]
    pub(super) fn get(&self, kind: &Kind) -> Option<u64> {
        let hash = hash(kind);
        let mut table = self;
        loop {
            for slot in table.places(hash) {
                match slot.kind.get() {
                    Some(known) if known == kind => {
                        let limit = slot.limit.load(Ordering::Acquire);
                        return (limit != NONE).then_some(limit);
                    }
                    Some(_) => {}
                    // Places are taken in order: it is in none further on.
                    None => return None,
                }
            }
            table = table.next.get()?;
        }
    }

    /// Sets the limit of `kind`, or takes it away. By one caller at a time.
    pub(super) fn set(&self, kind: &Kind, limit: Option<u64>) {
        // One byte below what would say something else: no payload is so large.
        let limit = match limit {
            Some(NONE) => NONE - 1,
            Some(limit) => limit,
            None => NONE,
        };
        let hash = hash(kind);
        let mut table = self;
        loop {
            for slot in table.places(hash) {
                if slot.kind.get_or_init(|| kind.clone()) == kind {
                    slot.limit.store(limit, Ordering::Release);
                    return;
                }
            }
            let larger = || Box::new(Self::with_slots(table.slots.len() * 2));
            table = table.next.get_or_init(larger);
        }
    }

    fn places(&self, hash: u64) -> impl Iterator<Item = &Slot> {
        let mask = self.slots.len() - 1;
        (0..PROBES).map(move |step| &self.slots[(hash as usize).wrapping_add(step) & mask])
    }
}

fn hash(kind: &Kind) -> u64 {
    FixedState::default().hash_one(kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_and_forgets_nothing() {
        let limits = Limits::new();
        let kind = |n: u64| Kind::new(format!("kind-{n}")).unwrap();
        for n in 0..5_000 {
            limits.set(&kind(n), Some(n));
        }
        limits.set(&kind(7), None);
        limits.set(&kind(8), Some(u64::MAX));
        for n in 0..5_000 {
            let expected = match n {
                7 => None,
                8 => Some(u64::MAX),
                n => Some(n),
            };
            assert_eq!(limits.get(&kind(n)), expected);
        }
        assert_eq!(limits.get(&kind(5_000)), None);
        limits.set(&kind(7), Some(u64::MAX - 1));
        assert_eq!(limits.get(&kind(7)), Some(u64::MAX - 2));
    }
}
