//! Shared memory.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use statehouse_contracts::{Principal, ReferenceId, Version};
use utoipa::ToSchema;

use crate::ContentDoc;

/// The answer to a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SharedWrittenDoc {
    /// The version it has now.
    pub version: Version,
    /// The SHA-256 of the value.
    #[schema(value_type = String)]
    pub checksum: ReferenceId,
    /// Its size in bytes as it is stored.
    pub stored_size: u64,
}

/// A shared value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SharedValueDoc {
    /// Its name, without its scope.
    pub key: String,
    /// The version.
    pub version: Version,
    /// The value.
    pub data: ContentDoc,
    /// The SHA-256 of its bytes.
    #[schema(value_type = String)]
    pub checksum: ReferenceId,
    /// When the key came to life.
    pub created_at: Timestamp,
    /// Who did that.
    #[schema(value_type = String)]
    pub created_by: Principal,
    /// When this version was written.
    pub updated_at: Timestamp,
    /// Who wrote it.
    #[schema(value_type = String)]
    pub updated_by: Principal,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A shared value that is there no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SharedGoneDoc {
    /// Its name, without its scope.
    pub key: String,
    /// The version at which it is gone.
    pub version: Version,
    /// Whether it expired.
    pub expired: bool,
}

/// Numbers of a scope. Reads, writes, conflicts and watches are those of one service, for all
/// scopes of the same sort, on behalf of who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SharedStatsDoc {
    /// Its values.
    pub keys: u64,
    /// Their bytes, as they are stored.
    pub stored_bytes: u64,
    /// Reads, lists included.
    pub reads: u64,
    /// Writes and deletes.
    pub writes: u64,
    /// Preconditions that failed.
    pub conflicts: u64,
    /// Watches that are open.
    pub watches: u64,
}
