//! What is stored, what is read, and what is counted.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use statehouse_contracts::{ContentType, Precondition, Principal, ReferenceId, Timestamp, Version};

/// What to store, and how.
#[derive(Clone, Debug)]
pub struct PutShared {
    /// The value.
    pub value: Bytes,
    /// Its media type.
    pub content_type: ContentType,
    /// What must hold: nothing, absent (create only), or the version that was read.
    pub precondition: Precondition,
    /// How long it lives; `None`: for ever.
    pub ttl: Option<Duration>,
}

impl PutShared {
    /// `value`, without a precondition, for ever.
    pub fn new(value: impl Into<Bytes>) -> Self {
        Self {
            value: value.into(),
            content_type: ContentType::BYTES,
            precondition: Precondition::None,
            ttl: None,
        }
    }

    /// The same under a precondition.
    pub fn when(mut self, precondition: Precondition) -> Self {
        self.precondition = precondition;
        self
    }
}

/// The answer to a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedWritten {
    /// The version it has now.
    pub version: Version,
    /// The SHA-256 of the value.
    pub checksum: ReferenceId,
    /// Its size as it is stored.
    pub stored_size: u64,
}

/// A shared value, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedValue {
    /// The plain bytes.
    pub value: Bytes,
    /// Their media type.
    pub content_type: ContentType,
    /// The version.
    pub version: Version,
    /// The SHA-256 of the plain bytes.
    pub checksum: ReferenceId,
    /// When and by whom the key came to life.
    pub created_at: Timestamp,
    /// Who did that.
    pub created_by: Principal,
    /// When this version was written.
    pub updated_at: Timestamp,
    /// Who wrote it.
    pub updated_by: Principal,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
}

/// Numbers of one scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SharedStats {
    /// Its values.
    pub keys: u64,
    /// Their bytes, as they are stored.
    pub stored_bytes: u64,
    /// Reads, lists included, by this process, of all scopes of this sort.
    pub reads: u64,
    /// Writes and deletes by this process, of all scopes of this sort.
    pub writes: u64,
    /// Preconditions that failed for this process, of all scopes of this sort.
    pub conflicts: u64,
    /// Watches that are open in this process, on all scopes of this sort.
    pub watches: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) reads: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) conflicts: AtomicU64,
    pub(super) watches: AtomicU64,
}
