//! Looking after groups.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{Error, GroupName, GroupSpec, MessageId, Page, PageCursor, Received, Result};

/// One group as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    /// Its name.
    pub group: GroupName,
    /// Its promise.
    pub spec: GroupSpec,
    /// Whether it hands out nothing at the moment.
    pub paused: bool,
}

/// How many messages a group holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Can be received now, or wait behind their ordering key.
    pub ready: u64,
    /// Wait for their delay or backoff.
    pub delayed: u64,
    /// Are leased.
    pub in_flight: u64,
    /// Are dead letters.
    pub dead: u64,
    /// Were dropped because they expired, since the group was declared.
    pub expired: u64,
    /// Were dropped by [`Overflow::DropOldest`](crate::Overflow), since the group was declared.
    pub dropped: u64,
    /// Whether the numbers are exact at this moment.
    pub exact: bool,
}

/// What went wrong in one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptError {
    /// The attempt, from 1.
    pub attempt: u32,
    /// When it ended.
    pub at: Timestamp,
    /// What was said of it; `nacked` when it was given back without a word, `lease expired` when
    /// its lease ran out.
    pub error: String,
}

/// A message that a group gave up on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message.
    pub received: Received,
    /// Why: the reason given, `max_deliveries` or `expired`.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// How many deliveries it had.
    pub attempts: u32,
    /// The last attempts that failed, at most 10, oldest first.
    pub errors: Vec<AttemptError>,
}

/// Looks after the groups of a namespace. Each operation is a capability of its own
/// ([`AdminCapability`](crate::AdminCapability)); the bodies here refuse.
///
/// - Pausing keeps everything and hands out nothing; sending goes on.
/// - Deleting a group deletes its messages and dead letters, and no other group's.
/// - `peek` shows what a `receive` of that size would hand out now if the group were not paused: of
///   an ordering key its head, and nothing while that is leased or waits. It changes neither order
///   nor attempts.
/// - `redrive` puts dead letters back into their own group only, with attempts from 0, due now.
/// - Every operation on an unknown group is [`NotFound`](crate::ErrorKind::NotFound).
#[async_trait]
pub trait QueueAdmin: Send + Sync {
    /// The groups, by name.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where the capability denies it; so for all.
    async fn groups(&self) -> Result<Vec<GroupStatus>> {
        Err(Error::unsupported("this backend", "groups"))
    }

    /// Stops handing out. Idempotent.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    async fn pause(&self, group: &GroupName) -> Result<()> {
        Err(Error::unsupported("this backend", "pause").with_context("group", group))
    }

    /// Hands out again. Idempotent.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    async fn resume(&self, group: &GroupName) -> Result<()> {
        Err(Error::unsupported("this backend", "resume").with_context("group", group))
    }

    /// Deletes the group and what it holds; answers whether it was there.
    ///
    /// # Errors
    /// Those of the backend.
    async fn delete_group(&self, group: &GroupName) -> Result<bool> {
        Err(Error::unsupported("this backend", "delete_group").with_context("group", group))
    }

    /// How many messages it holds.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    async fn counts(&self, group: &GroupName) -> Result<Counts> {
        Err(Error::unsupported("this backend", "counts").with_context("group", group))
    }

    /// For how long the oldest ready message has been due; `None` when there is none.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    async fn oldest_ready_age(&self, group: &GroupName) -> Result<Option<Duration>> {
        Err(Error::unsupported("this backend", "oldest_ready_age").with_context("group", group))
    }

    /// The next ready messages, at most `max`, in their order, with the number of their last
    /// attempt (0: never delivered).
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    async fn peek(&self, group: &GroupName, max: usize) -> Result<Vec<(Received, u32)>> {
        let _ = max;
        Err(Error::unsupported("this backend", "peek").with_context("group", group))
    }

    /// A page of its dead letters, oldest first.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    async fn dead_letters(
        &self,
        group: &GroupName,
        limit: usize,
        after: Option<&PageCursor>,
    ) -> Result<Page<DeadLetter>> {
        let _ = (limit, after);
        Err(Error::unsupported("this backend", "dead_letters").with_context("group", group))
    }

    /// Puts dead letters back: the one with this id, or all. Answers how many.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for an unknown group or dead letter.
    async fn redrive(&self, group: &GroupName, id: Option<MessageId>) -> Result<u64> {
        let _ = id;
        Err(Error::unsupported("this backend", "redrive").with_context("group", group))
    }

    /// Deletes what is ready and delayed, or with `dead` the dead letters instead. What is in
    /// flight stays. Answers how many.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    async fn purge(&self, group: &GroupName, dead: bool) -> Result<u64> {
        let _ = dead;
        Err(Error::unsupported("this backend", "purge").with_context("group", group))
    }
}
