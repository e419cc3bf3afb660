//! The keys of the state of one namespace.

use fred::types::Key;
use statehouse_contracts::{Kind, OpId, StateKey};

use crate::keys::Keys;

/// The keys that there are one of, and how the others are made.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    keys: Keys,
    /// What is counted: commits, changes, the floor, the ends of the change log.
    pub(super) meta: Key,
    /// The change log; also the channel that wakes those who wait for changes.
    pub(super) changes: Key,
    /// When records expire.
    pub(super) expiry: Key,
    /// The kinds there are records of.
    pub(super) kinds: Key,
    /// The followers of the change log.
    pub(super) followers: Key,
    /// The messages to send; also the channel that wakes their relay.
    pub(super) outbox: Key,
    /// Who relays them.
    pub(super) lease: Key,
    /// The places of the messages that are parked, why they are, and what they block.
    pub(super) parked: [Key; 3],
}

impl Names {
    pub(crate) fn new(keys: Keys) -> Self {
        let one = |name: &str| Key::from(keys.one(name));
        Self {
            meta: one("meta"),
            changes: one("changes"),
            expiry: one("expiry"),
            kinds: one("kinds"),
            followers: one("followers"),
            outbox: one("outbox"),
            lease: one("outbox-lease"),
            parked: [
                one("outbox-parked"),
                one("outbox-reasons"),
                one("outbox-blocks"),
            ],
            keys,
        }
    }

    /// The keys that exist only while the namespace holds state.
    pub(crate) fn witnesses(keys: &Keys) -> [String; 2] {
        [keys.one("kinds"), keys.one("outbox")]
    }

    /// What every commit touches.
    pub(super) fn commit(&self) -> Vec<Key> {
        [&self.meta, &self.changes, &self.expiry, &self.kinds]
            .map(Key::clone)
            .to_vec()
    }

    pub(super) fn record(&self, kind: &str, id: &str) -> Key {
        self.keys.of_kind("record", kind, id).into()
    }

    pub(super) fn record_of(&self, key: &StateKey) -> Key {
        self.record(key.kind.as_str(), key.id.as_str())
    }

    pub(super) fn versions(&self, kind: &str, id: &str) -> Key {
        self.keys.of_kind("versions", kind, id).into()
    }

    pub(super) fn versions_of(&self, key: &StateKey) -> Key {
        self.versions(key.kind.as_str(), key.id.as_str())
    }

    /// The ids of a kind.
    pub(super) fn index(&self, kind: &str) -> Key {
        self.keys.of("index", kind).into()
    }

    pub(super) fn index_of(&self, kind: &Kind) -> Key {
        self.index(kind.as_str())
    }

    /// The first answer to a transaction; without an op_id a key that is never written.
    pub(super) fn op(&self, op_id: Option<&OpId>) -> Key {
        match op_id {
            Some(op_id) => self.keys.of("op", op_id.as_str()).into(),
            None => self.keys.one("op").into(),
        }
    }
}
