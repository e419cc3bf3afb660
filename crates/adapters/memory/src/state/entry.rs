//! One key with its versions.

use jiff::Timestamp;
use statehouse_contracts::{
    ChangeContent, ChangeData, ContentType, Error, ErrorKind, Principal, Record, Result, StateKey,
    Tombstone, Version,
};

use crate::state::body::Body;
use crate::time::Time;

/// One version.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) version: Version,
    pub(crate) body: Body,
    /// Whether it was made by an append.
    pub(crate) appended: bool,
    pub(crate) content_type: ContentType,
    pub(crate) schema: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) created_by: Principal,
    pub(crate) updated_at: Timestamp,
    pub(crate) updated_by: Principal,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) tombstone: Option<Tombstone>,
}

impl Stored {
    pub(crate) fn is_live(&self) -> bool {
        self.tombstone.is_none()
    }

    pub(crate) fn expiry(&self) -> Option<Time> {
        self.expires_at.filter(|_| self.is_live()).map(Time::of)
    }

    /// The record but for its content, and where that is: it is read when no lock is held.
    pub(crate) fn draft(&self, key: StateKey) -> Draft {
        let record = Record {
            key,
            version: self.version,
            data: bytes::Bytes::new(),
            content_type: self.content_type.clone(),
            schema: self.schema.clone(),
            created_at: self.created_at,
            created_by: self.created_by.clone(),
            updated_at: self.updated_at,
            updated_by: self.updated_by.clone(),
            expires_at: self.expires_at,
            tombstone: self.tombstone,
        };
        Draft {
            record,
            body: self.body.clone(),
        }
    }

    /// What a change shows of it; nothing of a tombstone.
    pub(crate) fn change(&self) -> Option<ChangeContent> {
        if !self.is_live() {
            return None;
        }
        let appended = self.body.appended().filter(|_| self.appended);
        let data = match appended {
            Some(bytes) => ChangeData::Appended(bytes.clone()),
            None => ChangeData::Whole(self.body.read()),
        };
        Some(ChangeContent {
            data,
            content_type: self.content_type.clone(),
            schema: self.schema.clone(),
            created_at: self.created_at,
            created_by: self.created_by.clone(),
            expires_at: self.expires_at,
        })
    }
}

/// A record whose content is still to be put together.
#[derive(Debug)]
pub(crate) struct Draft {
    record: Record,
    body: Body,
}

impl Draft {
    pub(crate) fn read(mut self) -> Record {
        self.record.data = self.body.read();
        self.record
    }

    pub(crate) fn without_data(self) -> Record {
        self.record
    }
}

/// All that is kept of a key. It has at least one version.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The first version that it ever had here.
    first: Version,
    /// The current version, the largest.
    current: Stored,
    /// The kept versions before it, in order.
    past: Vec<Stored>,
}

impl Entry {
    pub(crate) fn new(first: Version, current: Stored) -> Self {
        Self {
            first,
            current,
            past: Vec::new(),
        }
    }

    pub(crate) fn current(&self) -> &Stored {
        &self.current
    }

    pub(crate) fn push(&mut self, stored: Stored) {
        self.past.push(std::mem::replace(&mut self.current, stored));
    }

    /// The kept version of this number.
    pub(crate) fn find(&self, version: Version) -> Option<&Stored> {
        if version == self.current.version {
            return Some(&self.current);
        }
        let at = self
            .past
            .binary_search_by_key(&version, |stored| stored.version);
        self.past.get(at.ok()?)
    }

    /// The version of this number, or why there is none.
    pub(crate) fn version(&self, key: &StateKey, version: Version) -> Result<&Stored> {
        let known = (self.first..=self.current.version).contains(&version);
        self.find(version).ok_or_else(|| {
            if known {
                let message = format!("version {version} of {key} was pruned");
                Error::new(ErrorKind::Pruned, message)
            } else {
                never_was(key, version)
            }
        })
    }

    /// The kept versions below `before`, newest first.
    pub(crate) fn history(&self, before: Version) -> impl Iterator<Item = &Stored> {
        let end = self.past.partition_point(|stored| stored.version < before);
        let current = Some(&self.current).filter(|current| current.version < before);
        current.into_iter().chain(self.past[..end].iter().rev())
    }

    /// Drops versions beyond the newest `keep_last`, and those superseded at `before` or earlier;
    /// never the current nor the latest live one. Answers how many.
    pub(crate) fn prune(&mut self, keep_last: Option<u64>, before: Option<Timestamp>) -> u64 {
        let count = self.past.len();
        let beyond = keep_last.map_or(0, |keep| (count as u64 + 1).saturating_sub(keep));
        let latest_live = if self.current.is_live() {
            None
        } else {
            self.past.iter().rposition(Stored::is_live)
        };
        let superseded: Vec<Timestamp> = self.past[1.min(count)..]
            .iter()
            .map(|next| next.updated_at)
            .chain([self.current.updated_at])
            .collect();
        let mut index = 0;
        self.past.retain(|_| {
            let too_many = (index as u64) < beyond;
            let too_old = before.is_some_and(|before| superseded[index] <= before);
            let keep = Some(index) == latest_live || !(too_many || too_old);
            index += 1;
            keep
        });
        (count - self.past.len()) as u64
    }

    /// How many versions are kept.
    pub(crate) fn len(&self) -> u64 {
        self.past.len() as u64 + 1
    }
}

pub(crate) fn never_was(key: &StateKey, version: Version) -> Error {
    Error::not_found(format!("{key} never had a version {version}"))
}
