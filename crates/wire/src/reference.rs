//! Large content.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use statehouse_contracts::{
    Collected, Compression, ContentType, Holder, PutOutcome, Reference, ReferenceId, ReferenceInfo,
    ReferenceKind, ReferenceStats,
};
use utoipa::ToSchema;

use crate::{ReferenceDoc, Span};

/// The answer to a put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutOutcomeDoc {
    /// The content's reference.
    pub reference: ReferenceDoc,
    /// Who holds it; not given for cache content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub holder: Option<Holder>,
    /// Whether the content is new.
    pub created: bool,
}

/// What is known of stored content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReferenceInfoDoc {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ReferenceId,
    /// Its plain size in bytes.
    pub size: u64,
    /// Its media type.
    #[schema(value_type = String)]
    pub content_type: ContentType,
    /// What it is for.
    #[schema(value_type = String, example = "large_payload")]
    pub kind: ReferenceKind,
    /// How it is stored: `none`, `gzip`, `zstd` or `lz4`.
    #[schema(value_type = String, example = "zstd")]
    pub compression: Compression,
    /// Its stored size in bytes.
    pub stored_size: u64,
    /// When it was first put.
    pub created_at: Timestamp,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// How many holders it has: the reference count.
    pub holders: u64,
    /// Whether it was put as cache.
    pub cache: bool,
}

/// Sums over a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReferenceStatsDoc {
    /// Entries.
    pub entries: u64,
    /// Entries with a holder.
    pub held: u64,
    /// Bytes stored, as they are stored.
    pub stored_bytes: u64,
    /// Plain bytes that this content stands for.
    pub plain_bytes: u64,
    /// Runs of the garbage collector.
    pub collections: u64,
    /// Entries that were collected or evicted.
    pub evictions: u64,
}

/// What a garbage collection removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectedDoc {
    /// Entries.
    pub entries: u64,
    /// Bytes, as they were stored.
    pub bytes: u64,
}

/// How long a holder holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HoldDoc {
    /// How long from now; until it is released when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Span>,
}

/// The life of content, counted anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TouchDoc {
    /// How long from now; without an end when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
}

impl From<PutOutcome> for PutOutcomeDoc {
    fn from(outcome: PutOutcome) -> Self {
        Self {
            reference: outcome.reference.into(),
            holder: outcome.holder,
            created: outcome.created,
        }
    }
}

impl From<PutOutcomeDoc> for PutOutcome {
    fn from(doc: PutOutcomeDoc) -> Self {
        Self {
            reference: doc.reference.into(),
            holder: doc.holder,
            created: doc.created,
        }
    }
}

impl From<ReferenceInfo> for ReferenceInfoDoc {
    fn from(info: ReferenceInfo) -> Self {
        Self {
            id: info.reference.id,
            size: info.reference.size,
            content_type: info.reference.content_type,
            kind: info.kind,
            compression: info.compression,
            stored_size: info.stored_size,
            created_at: info.created_at,
            expires_at: info.expires_at,
            holders: info.holders,
            cache: info.cache,
        }
    }
}

impl From<ReferenceInfoDoc> for ReferenceInfo {
    fn from(doc: ReferenceInfoDoc) -> Self {
        Self {
            reference: Reference {
                id: doc.id,
                size: doc.size,
                content_type: doc.content_type,
            },
            kind: doc.kind,
            compression: doc.compression,
            stored_size: doc.stored_size,
            created_at: doc.created_at,
            expires_at: doc.expires_at,
            holders: doc.holders,
            cache: doc.cache,
        }
    }
}

impl From<ReferenceStats> for ReferenceStatsDoc {
    fn from(stats: ReferenceStats) -> Self {
        Self {
            entries: stats.entries,
            held: stats.held,
            stored_bytes: stats.stored_bytes,
            plain_bytes: stats.plain_bytes,
            collections: stats.collections,
            evictions: stats.evictions,
        }
    }
}

impl From<ReferenceStatsDoc> for ReferenceStats {
    fn from(doc: ReferenceStatsDoc) -> Self {
        Self {
            entries: doc.entries,
            held: doc.held,
            stored_bytes: doc.stored_bytes,
            plain_bytes: doc.plain_bytes,
            collections: doc.collections,
            evictions: doc.evictions,
        }
    }
}

impl From<Collected> for CollectedDoc {
    fn from(collected: Collected) -> Self {
        let Collected { entries, bytes } = collected;
        Self { entries, bytes }
    }
}

impl From<CollectedDoc> for Collected {
    fn from(doc: CollectedDoc) -> Self {
        let CollectedDoc { entries, bytes } = doc;
        Self { entries, bytes }
    }
}
