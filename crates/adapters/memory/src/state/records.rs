//! The records of a namespace, and how a transaction changes them.

use std::collections::{BTreeMap, BTreeSet};

use statehouse_contracts::{
    Applied, ChangeOperation, Conflict, Error, ErrorKind, Id, Kind, Message, MessageDelivery, OpId,
    Precondition, Principal, Result, StateKey, Tombstone, Transaction, Version, Write,
};

use crate::config::Config;
use crate::state::entry::{Entry, Stored};
use crate::state::log::{Log, LogEntry};
use crate::state::outbox::Messages;
use crate::state::stage::Staged;
use crate::time::Time;
use crate::window::Window;

/// The largest version there can be.
const LAST_VERSION: Version = i64::MAX as Version;

/// The state of a namespace: records, change log and outbox, which change together.
///
/// Every operation begins with [`advance`](Records::advance), so that it finds what has expired as
/// tombstones.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) kinds: BTreeMap<Kind, BTreeMap<Id, Entry>>,
    pub(crate) log: Log,
    pub(crate) outbox: Messages,
    /// Versions of forgotten keys are at most this.
    pub(crate) floor: Version,
    commit: u64,
    expiries: BTreeSet<(Time, StateKey)>,
    ops: Window<OpId, ([u8; 32], Applied)>,
}

/// Who writes, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Author<'a> {
    pub(crate) by: &'a Principal,
    pub(crate) now: Time,
}

impl Records {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            kinds: BTreeMap::new(),
            log: Log::new(),
            outbox: Messages::default(),
            floor: 0,
            commit: 0,
            expiries: BTreeSet::new(),
            ops: Window::new(config.op_window, config.window_entries),
        }
    }

    pub(crate) fn entry(&self, key: &StateKey) -> Option<&Entry> {
        self.kinds.get(&key.kind)?.get(&key.id)
    }

    /// The current version where it is live.
    pub(crate) fn live(&self, key: &StateKey) -> Option<&Stored> {
        let current = self.entry(key)?.current();
        Some(current).filter(|current| current.is_live())
    }

    /// When the next record expires.
    pub(crate) fn next_due(&self) -> Option<Time> {
        self.expiries.first().map(|(due, _)| *due)
    }

    /// Writes the tombstones of what has expired, and forgets old op_ids. Answers whether it wrote.
    pub(crate) fn advance(&mut self, now: Time) -> bool {
        self.ops.advance(now);
        let mut wrote = false;
        while let Some((due, _)) = self.expiries.first()
            && *due <= now
            && let Some((_, key)) = self.expiries.pop_first()
        {
            if !wrote {
                self.commit += 1;
                wrote = true;
            }
            self.expire(key, now);
        }
        wrote
    }

    fn expire(&mut self, key: StateKey, now: Time) {
        let Some(current) = self.live(&key) else {
            return;
        };
        let by = current.updated_by.clone();
        let author = Author { by: &by, now };
        let Ok(version) = self.next_version(&key) else {
            return;
        };
        let tombstone = self.tombstone(&key, version, author, Tombstone::Expired);
        self.write(key, tombstone, ChangeOperation::Expire, author, None);
    }

    /// Applies `transaction`, whose digest is `fingerprint` if it has an op_id. `deliver` takes the
    /// messages for local groups, all or none; it is called when nothing else can fail.
    pub(crate) fn apply(
        &mut self,
        transaction: Transaction,
        fingerprint: [u8; 32],
        author: Author<'_>,
        deliver: impl FnOnce(Vec<Message>) -> Result<()>,
    ) -> Result<Applied> {
        if let Some(first) = self.replay(transaction.op_id.as_ref(), &fingerprint)? {
            return Ok(first);
        }
        let Transaction {
            writes,
            messages,
            delivery,
            op_id,
        } = transaction;
        self.check(&writes)?;
        let staged = self.stage_all(&writes, author)?;
        let some = staged.iter().any(|s| matches!(s, Staged::Version(..))) || !messages.is_empty();
        match delivery {
            MessageDelivery::Local => deliver(messages)?,
            MessageDelivery::Outbox => {
                for message in messages {
                    self.outbox.push(message, author.now);
                }
            }
        }
        self.commit += u64::from(some);
        let keys = writes.into_iter().map(|write| write.key);
        let versions = keys
            .zip(staged)
            .map(|(key, staged)| match staged {
                Staged::Nothing(version) => version,
                Staged::Version(stored, operation) => {
                    self.write(key, *stored, operation, author, op_id.as_ref())
                }
            })
            .collect();
        let applied = Applied {
            commit: self.commit,
            at: author.now.timestamp(),
            versions,
            replayed: false,
        };
        if let Some(op_id) = op_id {
            self.ops
                .insert(op_id, (fingerprint, applied.clone()), author.now);
        }
        Ok(applied)
    }

    fn replay(&self, op_id: Option<&OpId>, fingerprint: &[u8; 32]) -> Result<Option<Applied>> {
        let Some((op_id, (known, applied))) = op_id.and_then(|id| Some((id, self.ops.get(id)?)))
        else {
            return Ok(None);
        };
        if known != fingerprint {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("the op_id {op_id} belongs to another transaction; use a new one"),
            ));
        }
        Ok(Some(Applied {
            replayed: true,
            ..applied.clone()
        }))
    }

    /// No key twice, and every precondition holds.
    fn check(&self, writes: &[Write]) -> Result<()> {
        let mut keys = BTreeSet::new();
        if let Some(twice) = writes.iter().find(|write| !keys.insert(&write.key)) {
            return Err(Error::invalid(format!(
                "{} is written twice in one transaction; put both writes into one",
                twice.key
            )));
        }
        let failed = |(index, write): (usize, &Write)| {
            let current = self.entry(&write.key).map(Entry::current);
            let version = current.map_or(0, |current| current.version);
            let live = current.is_some_and(Stored::is_live);
            let holds = match write.precondition {
                Precondition::None => true,
                Precondition::Absent => !live,
                Precondition::Version(expected) => live && expected == version,
            };
            (!holds).then(|| Conflict {
                index,
                key: write.key.clone(),
                current: version,
                live,
            })
        };
        let conflicts: Vec<Conflict> = writes.iter().enumerate().filter_map(failed).collect();
        if conflicts.is_empty() {
            Ok(())
        } else {
            Err(Error::conflicts(conflicts))
        }
    }

    pub(super) fn current_version(&self, key: &StateKey) -> Version {
        self.entry(key).map_or(0, |entry| entry.current().version)
    }

    pub(super) fn next_version(&self, key: &StateKey) -> Result<Version> {
        let before = self
            .entry(key)
            .map_or(self.floor, |entry| entry.current().version);
        if before >= LAST_VERSION {
            return Err(Error::invalid(format!(
                "{key} has had its last version, {before}"
            )));
        }
        Ok(before + 1)
    }

    /// Makes `stored` the key's current version within the present commit; answers its number.
    fn write(
        &mut self,
        key: StateKey,
        stored: Stored,
        operation: ChangeOperation,
        author: Author<'_>,
        op_id: Option<&OpId>,
    ) -> Version {
        let version = stored.version;
        if let Some(old) = self.entry(&key).and_then(|entry| entry.current().expiry()) {
            self.expiries.remove(&(old, key.clone()));
        }
        if let Some(due) = stored.expiry() {
            self.expiries.insert((due, key.clone()));
        }
        self.log.push(LogEntry {
            commit: self.commit,
            key: key.clone(),
            version,
            operation,
            at: author.now,
            by: author.by.clone(),
            op_id: op_id.cloned(),
        });
        // What came before an imported version was written elsewhere: it is not kept here.
        let imported = operation == ChangeOperation::Import;
        let first = if imported {
            self.floor.min(version - 1) + 1
        } else {
            version
        };
        let ids = self.kinds.entry(key.kind).or_default();
        match ids.entry(key.id) {
            std::collections::btree_map::Entry::Occupied(mut known) => known.get_mut().push(stored),
            std::collections::btree_map::Entry::Vacant(new) => {
                new.insert(Entry::new(first, stored));
            }
        }
        version
    }

    /// Writes an imported version where the key is unknown or at a lower one.
    pub(crate) fn import(&mut self, key: StateKey, stored: Stored, author: Author<'_>) -> bool {
        let newer = self
            .entry(&key)
            .is_none_or(|e| e.current().version < stored.version);
        if newer {
            self.write(key, stored, ChangeOperation::Import, author, None);
        }
        newer
    }

    /// Begins a commit of writes that are made one by one.
    pub(crate) fn begin(&mut self) {
        self.commit += 1;
    }

    /// Forgets the key as a whole: a tombstone, whose version raises the floor.
    pub(crate) fn forget(&mut self, key: &StateKey) -> u64 {
        let Some(ids) = self.kinds.get_mut(&key.kind) else {
            return 0;
        };
        let Some(entry) = ids.remove(&key.id) else {
            return 0;
        };
        if ids.is_empty() {
            self.kinds.remove(&key.kind);
        }
        self.floor = self.floor.max(entry.current().version);
        entry.len()
    }
}
