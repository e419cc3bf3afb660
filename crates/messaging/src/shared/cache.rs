//! The values that this process has seen, kept fresh by the change log.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::fast::FixedState;
use statehouse_contracts::{Id, Timestamp, Version};

use super::SharedValue;

/// How many values are kept at most.
const MOST: usize = 65_536;

/// How many sorts of changes are told apart.
const SLOTS: usize = 64;

/// Values by id, each no older than what was heard of its key.
#[derive(Debug)]
pub(super) struct Cache {
    values: DashMap<Id, Arc<SharedValue>, FixedState>,
    /// Counts the changes of the keys that share a slot: who reads from the store meanwhile keeps
    /// what it read to itself.
    heard: [AtomicU64; SLOTS],
}

/// The state of a slot before a read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket(u64);

impl Cache {
    pub(super) fn new() -> Self {
        Self {
            values: DashMap::default(),
            heard: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    pub(super) fn get(&self, id: &Id) -> Option<Arc<SharedValue>> {
        let value = Arc::clone(&*self.values.get(id)?);
        let expired = value.expires_at.is_some_and(|at| at <= Timestamp::now());
        (!expired).then_some(value)
    }

    pub(super) fn ticket(&self, id: &Id) -> Ticket {
        Ticket(self.slot(id).load(Ordering::SeqCst))
    }

    /// Keeps what was read with `ticket`, unless a change was heard of since.
    pub(super) fn fill(&self, id: &Id, ticket: Ticket, value: &Arc<SharedValue>) {
        if self.values.len() >= MOST {
            self.values.clear();
        }
        let entry = self.values.entry(id.clone());
        // Looked at with the entry locked: a change that counts later finds the value and drops it.
        if self.ticket(id).0 != ticket.0 {
            return;
        }
        match entry {
            Entry::Occupied(mut known) if known.get().version < value.version => {
                known.insert(Arc::clone(value));
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(vacant) => drop(vacant.insert(Arc::clone(value))),
        }
    }

    /// Takes note that `id` is at `version` now, or later.
    pub(super) fn heard(&self, id: &Id, version: Version) {
        self.slot(id).fetch_add(1, Ordering::SeqCst);
        self.values
            .remove_if(id, |_, value| value.version < version);
    }

    /// Changes may have been missed.
    pub(super) fn flush(&self) {
        for slot in &self.heard {
            slot.fetch_add(1, Ordering::SeqCst);
        }
        self.values.clear();
    }

    fn slot(&self, id: &Id) -> &AtomicU64 {
        let hash = FixedState::default().hash_one(id);
        &self.heard[hash as usize % SLOTS]
    }
}
