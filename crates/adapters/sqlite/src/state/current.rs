//! What a key is right now, and whether a precondition holds for it.

use rusqlite::{Connection, OptionalExtension};
use statehouse_contracts::{Conflict, Precondition, StateKey};

use super::row::{self, Life};

/// A key that is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Current {
    pub(crate) key: i64,
    pub(crate) first: i64,
    pub(crate) version: i64,
    pub(crate) pos: i64,
    pub(crate) life: Life,
    pub(crate) expires_at: Option<i64>,
    pub(crate) created_at: i64,
    pub(crate) created_by: i64,
}

impl Current {
    /// Looks the key up; `None` when it was never written, or is forgotten.
    pub(crate) fn find(
        connection: &Connection,
        ns: i64,
        key: &StateKey,
    ) -> rusqlite::Result<Option<Self>> {
        connection
            .prepare_cached(
                "SELECT key, first, version, pos, life, expires_at, created_at, created_by
                 FROM state_key WHERE ns = ?1 AND kind = ?2 AND id = ?3 AND life < 3",
            )?
            .query_row((ns, key.kind.as_str(), key.id.as_str()), |row| {
                Ok(Self {
                    key: row.get(0)?,
                    first: row.get(1)?,
                    version: row.get(2)?,
                    pos: row.get(3)?,
                    life: Life::of(row.get(4)?),
                    expires_at: row.get(5)?,
                    created_at: row.get(6)?,
                    created_by: row.get(7)?,
                })
            })
            .optional()
    }

    /// Whether it has expired and its tombstone is not written yet.
    pub(crate) fn has_expired(&self, now: i64) -> bool {
        self.life == Life::Live && self.expires_at.is_some_and(|at| at <= now)
    }

    pub(crate) fn is_live(&self, now: i64) -> bool {
        self.life == Life::Live && !self.has_expired(now)
    }

    /// Its version as a reader sees it: with the tombstone that an expiry makes.
    pub(crate) fn version_now(&self, now: i64) -> i64 {
        self.version
            .saturating_add(i64::from(self.has_expired(now)))
    }

    /// Whether the next version can be counted, after the tombstone that comes first if it has
    /// expired. Only an import brings a key to the end.
    pub(crate) fn has_room(&self, now: i64) -> bool {
        self.version < i64::MAX - i64::from(self.has_expired(now))
    }
}

/// The conflict of the write at `index`, if its precondition does not hold.
pub(crate) fn conflict(
    index: usize,
    key: &StateKey,
    precondition: Precondition,
    current: Option<&Current>,
    now: i64,
) -> Option<Conflict> {
    let live = current.is_some_and(|current| current.is_live(now));
    let version = row::version(current.map_or(0, |current| current.version_now(now)));
    let holds = match precondition {
        Precondition::None => true,
        Precondition::Absent => !live,
        Precondition::Version(wanted) => live && wanted == version,
    };
    (!holds).then(|| Conflict {
        index,
        key: key.clone(),
        current: version,
        live,
    })
}
