//! Durable, versioned state.

use std::fmt::{self, Debug};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Applied, ChangeLog, ContentType, Glob, Id, Kind, Outbox, Principal, Result, StateCapability,
    Transaction,
};

/// A version of one key: 1, 2, 3 …; at most `i64::MAX`. 0 stands for "no version".
pub type Version = u64;

/// The key of a record: its kind and its id. Shown as `kind/id`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StateKey {
    /// What sort of thing it is: `task`, `agent`, `lifecycle`, `shared` or any other.
    pub kind: Kind,
    /// Which one.
    pub id: Id,
}

impl StateKey {
    /// A key of validated names.
    pub fn new(kind: Kind, id: Id) -> Self {
        Self { kind, id }
    }

    /// A key from text.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) when a name is not valid.
    pub fn parse(kind: &str, id: &str) -> Result<Self> {
        Ok(Self::new(Kind::new(kind)?, Id::new(id)?))
    }
}

impl fmt::Display for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.id)
    }
}

/// Why a version holds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tombstone {
    /// It was deleted.
    Deleted,
    /// It expired.
    Expired,
}

/// One version of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its key.
    pub key: StateKey,
    /// Its version.
    pub version: Version,
    /// Its content; empty for a tombstone.
    pub data: Bytes,
    /// Its media type.
    pub content_type: ContentType,
    /// The schema of its content, a name or URI of up to 1,024 bytes.
    pub schema: Option<String>,
    /// When the key came to life: its first version, or the first after a tombstone.
    pub created_at: Timestamp,
    /// Who did that.
    pub created_by: Principal,
    /// When this version was written.
    pub updated_at: Timestamp,
    /// Who wrote it.
    pub updated_by: Principal,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// Set when this version holds nothing.
    pub tombstone: Option<Tombstone>,
}

/// Which way a list goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Ascending byte order of the id.
    #[default]
    Ascending,
    /// Descending byte order of the id.
    Descending,
}

/// Where a page of a list begins. Opaque; good for the query that gave it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PageCursor(pub String);

impl Debug for PageCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.0, f)
    }
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries. A page may be empty and still have a next one.
    pub items: Vec<T>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<PageCursor>,
}

/// Which records to list.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// Of which kind.
    pub kind: Kind,
    /// Only ids that begin so.
    pub prefix: Option<String>,
    /// Only ids that match.
    pub glob: Option<Glob>,
    /// Which way.
    pub direction: Direction,
    /// Whether tombstones are listed as well.
    pub tombstones: bool,
    /// The most records; 0: as many as the backend likes.
    pub limit: usize,
    /// Where the page begins.
    pub after: Option<PageCursor>,
}

impl ListQuery {
    /// All live records of `kind`.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            prefix: None,
            glob: None,
            direction: Direction::Ascending,
            tombstones: false,
            limit: 0,
            after: None,
        }
    }
}

/// Which versions to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Only versions below this one.
    pub before: Option<Version>,
    /// The most versions; 0: as many as the backend likes.
    pub limit: usize,
    /// Whether their data is read; without, it is empty.
    pub data: bool,
}

impl Default for HistoryQuery {
    fn default() -> Self {
        Self {
            before: None,
            limit: 0,
            data: true,
        }
    }
}

/// What to forget. A version goes when it is beyond `keep_last` or was superseded more than
/// `max_age` ago.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prune {
    /// Only of this kind.
    pub kind: Option<Kind>,
    /// Only of this key.
    pub key: Option<StateKey>,
    /// How many versions of a key stay, the current one included; at least 1.
    pub keep_last: Option<u64>,
    /// How long a version stays after it was superseded.
    pub max_age: Option<Duration>,
    /// How long a tombstone stays as a key's current version, before the key is forgotten as a
    /// whole, with its history; `None`: for ever.
    pub tombstones: Option<Duration>,
}

/// What a prune removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Versions, those of forgotten keys included.
    pub versions: u64,
    /// Keys that were forgotten.
    pub keys: u64,
}

/// Keeps records with their versions.
///
/// # Versions
/// - Versions of a key count by 1. A delete is a version, a tombstone; the delete of an absent key
///   is `Ok` and makes none. A key's first version is 1, or the namespace's floor + 1: forgetting
///   a tombstone raises the floor to its version, so a version never comes twice.
/// - `Absent` holds for a key that was never written, deleted or expired; `Version(n)` for a live
///   record at n only.
/// - From `expires_at` on a record reads as absent; its version is n + 1 then, an `expired`
///   tombstone, written once, with its change: by the next write, or within `expiry_lag`. What
///   tells the current version tells n + 1 at once: conflicts, checks, `list` with tombstones and
///   `export`. `history`, `read_version` and the change log may show that tombstone only once it is
///   written; until then n stays the last version they know.
///
/// # Transactions
/// - `apply` is one transaction: all writes and messages, or none. One key twice is
///   [`InvalidArgument`](crate::ErrorKind::InvalidArgument). If a precondition fails, the
///   [`Conflict`](crate::ErrorKind::Conflict) names every failed write with its current version.
/// - Of N racing writers under the same `Version(n)` or `Absent`, exactly one wins.
/// - A repeated `op_id` within the dedup window answers with the first result and `replayed`,
///   whatever has happened since; with another fingerprint it is a
///   [`Conflict`](crate::ErrorKind::Conflict) without detail. A transaction that failed leaves no
///   op_id behind.
/// - An `Append` costs what is appended, not what is there; every version reads back whole. Beyond
///   `max_data` in all it is [`InvalidArgument`](crate::ErrorKind::InvalidArgument).
/// - Messages go to the [`Outbox`] in the same transaction, or with
///   [`MessageDelivery::Local`](crate::MessageDelivery) into the groups of the same store, under the rules of
///   [`Producer::send`](crate::Producer::send); what it would refuse refuses the transaction.
///
/// # Reading
/// - A handle reads what it wrote. `get_many` answers in the order asked, `None` for what is
///   absent.
/// - `list` goes in the byte order of ids; a record that is there all along appears exactly once
///   over the pages, whatever else is written meanwhile. Tombstones only if asked.
/// - `history` is newest first, tombstones included; of an unknown key it is empty.
/// - `read_version` of a version that never was is [`NotFound`](crate::ErrorKind::NotFound), of one
///   that was pruned [`Pruned`](crate::ErrorKind::Pruned). Of a key that was forgotten it
///   is either.
///
/// # Rollback
/// - A rollback is a new version with the content of an earlier one; it never rewrites. Onto a
///   tombstone it deletes, from one it restores. Without a predecessor, or to a version that never
///   was, it is [`NotFound`](crate::ErrorKind::NotFound); to a pruned one
///   [`Pruned`](crate::ErrorKind::Pruned).
///
/// # Forgetting
/// - `prune` never drops a key's current version, nor its latest live version while the key is
///   known. What it keeps reads as before, appended versions too.
#[async_trait]
pub trait StateManager: ChangeLog + Outbox + Debug + Send + Sync {
    /// What this manager can do.
    fn capability(&self) -> StateCapability;

    /// Applies a transaction. An empty one is `Ok` and commits nothing.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict), [`NotFound`](crate::ErrorKind::NotFound) and
    /// [`Pruned`](crate::ErrorKind::Pruned) (rollback),
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument).
    async fn apply(&self, transaction: Transaction) -> Result<Applied>;

    /// The live records of these keys, in their order.
    ///
    /// # Errors
    /// Those of the backend.
    async fn get_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Record>>>;

    /// One version of a key, also a tombstone.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Pruned`](crate::ErrorKind::Pruned).
    async fn read_version(&self, key: &StateKey, version: Version) -> Result<Record>;

    /// A page of records.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for a cursor that is none.
    async fn list(&self, query: ListQuery) -> Result<Page<Record>>;

    /// Versions of a key that are kept, newest first; go on with `before` the last one.
    ///
    /// # Errors
    /// Those of the backend.
    async fn history(&self, key: &StateKey, query: HistoryQuery) -> Result<Vec<Record>>;

    /// Forgets versions. Works in steps; what it has forgotten stays so when it fails.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for `keep_last` 0.
    async fn prune(&self, prune: Prune) -> Result<Pruned>;

    /// A page of the current records of all kinds, tombstones included, in the order of their
    /// keys, for [`StateManager::import`] (capability `import_export`).
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for a cursor that is none.
    async fn export(&self, limit: usize, after: Option<&PageCursor>) -> Result<Page<Record>>;

    /// Writes records as they are, with their versions and times, as the change `Import`: each
    /// where its key is unknown or at a lower version; others are left alone. Answers for each
    /// whether it was written, in their order (capability `import_export`).
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for version 0 or one key twice.
    async fn import(&self, records: Vec<Record>) -> Result<Vec<bool>>;

    /// Closes this handle. Idempotent; calls that wait end with
    /// [`Closed`](crate::ErrorKind::Closed).
    ///
    /// # Errors
    /// When what was accepted could not be finished.
    async fn close(&self) -> Result<()>;
}
