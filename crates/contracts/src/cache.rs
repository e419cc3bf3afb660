//! A cache of state records that processes share.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Record, Result, StateKey, Version};

/// What lets a record be filled in, until the cache is flushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FillTicket(pub String);

/// What a cache knows of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheLook {
    /// The live record, when it is kept.
    pub record: Option<Record>,
    /// For a fill by whoever read the record elsewhere after this look.
    pub ticket: FillTicket,
}

/// Live records by key, shared by the processes that use one namespace's states.
///
/// It may forget anything at any time, and an operation that fails means no more than a miss: the
/// store of states is the truth, and who uses the cache reads there. What it must never do is to
/// bring back a version older than one it was told of:
///
/// - A `fill` is kept only while nothing newer is known: neither a newer record nor a newer version
///   that was `heard`. What was heard is remembered for as long as the given `ttl`.
/// - After a `flush` no look finds anything that was filled before, and no fill with a ticket from
///   before is kept. A cache that lost its content gives out new tickets.
/// - A record is kept for the `ttl` of its fill at most.
#[async_trait]
pub trait RecordCache: Debug + Send + Sync {
    /// The record of `key`, if it is kept, and a ticket for filling it in.
    ///
    /// # Errors
    /// Those of the backend.
    async fn look(&self, key: &StateKey) -> Result<CacheLook>;

    /// Keeps a live record that was read after the look that gave `ticket`; answers whether it
    /// did.
    ///
    /// # Errors
    /// Those of the backend.
    async fn fill(&self, ticket: &FillTicket, record: &Record, ttl: Duration) -> Result<bool>;

    /// Takes note that each key is at this version now, or later: what is older goes.
    ///
    /// # Errors
    /// Those of the backend.
    async fn heard(&self, versions: &[(StateKey, Version)], ttl: Duration) -> Result<()>;

    /// Forgets everything.
    ///
    /// # Errors
    /// Those of the backend.
    async fn flush(&self) -> Result<()>;
}
