//! The log of all writes of a namespace.

use std::fmt::{self, Debug};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ContentType, FollowerName, OpId, Principal, Result, StateKey, Version};

/// A place in the change log: opaque, printable; it knows which incarnation of the log it is of.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub String);

impl Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeOperation {
    /// A put.
    Put,
    /// An append.
    Append,
    /// A delete, also by a rollback onto a tombstone.
    Delete,
    /// An expiry.
    Expire,
    /// A rollback to content.
    Rollback,
    /// An import.
    Import,
}

/// What a change wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeData {
    /// The whole content of the version.
    Whole(Bytes),
    /// What was appended to the version before.
    Appended(Bytes),
}

/// The content of a changed version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeContent {
    /// The data.
    pub data: ChangeData,
    /// Its media type.
    pub content_type: ContentType,
    /// Its schema.
    pub schema: Option<String>,
    /// When the key came to life.
    pub created_at: Timestamp,
    /// Who did that.
    pub created_by: Principal,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The place right after it: resume from here.
    pub cursor: Cursor,
    /// The commit it belongs to.
    pub commit: u64,
    /// The key.
    pub key: StateKey,
    /// Its new version.
    pub version: Version,
    /// What was done.
    pub operation: ChangeOperation,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: Principal,
    /// The op_id of its transaction.
    pub op_id: Option<OpId>,
    /// What was written; `None` for a tombstone, and when that version is no longer kept.
    pub content: Option<ChangeContent>,
}

/// A page of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangePage {
    /// The changes; empty when nothing came in time.
    pub changes: Vec<Change>,
    /// Where to go on; moves on also over what is not shown.
    pub next: Cursor,
}

/// Where a new follower begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FollowerStart {
    /// At the oldest change that is kept.
    #[default]
    Oldest,
    /// At the head.
    Head,
    /// At this place.
    At(Cursor),
}

/// The promise of a follower.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FollowerSpec {
    /// Where it begins.
    pub start: FollowerStart,
    /// The most changes it may lag before trimming passes it and marks it lost; `None`: trimming
    /// always waits for it.
    pub max_lag: Option<u64>,
}

/// A durable named cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    /// Its name.
    pub name: FollowerName,
    /// What it has done.
    pub cursor: Cursor,
    /// How many changes it is behind the head.
    pub lag: u64,
    /// Whether trimming has passed it: it must start again, see [`ChangeLog::follow`].
    pub lost: bool,
    /// When it last moved.
    pub advanced_at: Timestamp,
}

/// What to trim off the log: changes beyond either bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trim {
    /// How many of the newest changes stay.
    pub keep_last: Option<u64>,
    /// How long a change stays.
    pub max_age: Option<Duration>,
}

/// The log of all writes of the namespace, in the order of their commits.
///
/// - Nothing that commits late is ever skipped: who reads from a cursor to the end, again and
///   again, sees every change exactly once; per key in the order of its versions.
/// - A page may split a commit.
/// - `head()` before `list`, then changes from there taken by version, misses nothing.
/// - A cursor that was trimmed, is of another log, or is ahead of a store that was restored from a
///   backup, is [`CursorLost`](crate::ErrorKind::CursorLost) with the oldest cursor that works and
///   the head; never an empty page. A cursor that no log ever made is
///   [`InvalidArgument`](crate::ErrorKind::InvalidArgument).
/// - Followers hold back trimming, unless they lag beyond their `max_lag`; then they are marked
///   lost, and their next advance is [`CursorLost`](crate::ErrorKind::CursorLost).
#[async_trait]
pub trait ChangeLog: Send + Sync {
    /// Changes after `after`, at most `limit` (0: as many as the backend likes); at once what is
    /// there, else waits up to `wait` for the first.
    ///
    /// # Errors
    /// [`CursorLost`](crate::ErrorKind::CursorLost),
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument).
    async fn changes(&self, after: &Cursor, limit: usize, wait: Duration) -> Result<ChangePage>;

    /// The end of the log now.
    ///
    /// # Errors
    /// Those of the backend.
    async fn head(&self) -> Result<Cursor>;

    /// The oldest place that can be resumed from.
    ///
    /// # Errors
    /// Those of the backend.
    async fn oldest(&self) -> Result<Cursor>;

    /// Makes the follower, or finds it as it is; one that was lost starts again by `spec`.
    ///
    /// # Errors
    /// [`CursorLost`](crate::ErrorKind::CursorLost) for a start that is not kept.
    async fn follow(&self, name: &FollowerName, spec: FollowerSpec) -> Result<Follower>;

    /// Moves the follower on to `cursor`; backwards is `Ok` and does nothing.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`CursorLost`](crate::ErrorKind::CursorLost) when
    /// it was lost.
    async fn advance(&self, name: &FollowerName, cursor: &Cursor) -> Result<()>;

    /// The followers, by name.
    ///
    /// # Errors
    /// Those of the backend.
    async fn followers(&self) -> Result<Vec<Follower>>;

    /// Removes the follower; answers whether it was there.
    ///
    /// # Errors
    /// Those of the backend.
    async fn unfollow(&self, name: &FollowerName) -> Result<bool>;

    /// Trims the log; answers how many changes went.
    ///
    /// # Errors
    /// Those of the backend.
    async fn trim(&self, trim: Trim) -> Result<u64>;
}
