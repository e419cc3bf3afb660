//! Records.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use statehouse_contracts::{
    Error, Id, Kind, Principal, Prune, Pruned, Record, Result, StateKey, Tombstone, Version,
};
use utoipa::ToSchema;

use crate::{ContentDoc, Span};

/// The key of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyDoc {
    /// What sort of thing it is.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// Which one.
    #[schema(value_type = String)]
    pub id: Id,
}

/// Keys to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeysDoc {
    /// The keys, in the order of the answer.
    pub keys: Vec<KeyDoc>,
}

/// One version of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordDoc {
    /// What sort of thing it is.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// Which one.
    #[schema(value_type = String)]
    pub id: Id,
    /// Its version.
    pub version: Version,
    /// Its content; empty for a tombstone.
    pub data: ContentDoc,
    /// The schema of its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
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
    /// Why this version holds nothing, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "deleted")]
    pub tombstone: Option<Tombstone>,
}

/// Records to write as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportDoc {
    /// The records.
    pub records: Vec<RecordDoc>,
}

/// What to forget. A version goes when it is beyond `keep_last` or was superseded more than
/// `max_age` ago; a key's current version and its latest live one stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PruneDoc {
    /// Only of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub kind: Option<Kind>,
    /// Only of this id; needs `kind`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub id: Option<Id>,
    /// How many versions of a key stay, the current one included; at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<u64>,
    /// How long a version stays after it was superseded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
    /// How long a tombstone stays before its key is forgotten; not given: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tombstones: Option<Span>,
}

/// What a prune removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrunedDoc {
    /// Versions, those of forgotten keys included.
    pub versions: u64,
    /// Keys that were forgotten.
    pub keys: u64,
}

impl From<StateKey> for KeyDoc {
    fn from(key: StateKey) -> Self {
        let StateKey { kind, id } = key;
        Self { kind, id }
    }
}

impl From<KeyDoc> for StateKey {
    fn from(doc: KeyDoc) -> Self {
        Self::new(doc.kind, doc.id)
    }
}

impl From<Record> for RecordDoc {
    fn from(record: Record) -> Self {
        let StateKey { kind, id } = record.key;
        Self {
            kind,
            id,
            version: record.version,
            data: ContentDoc::new(&record.data, record.content_type),
            schema: record.schema,
            created_at: record.created_at,
            created_by: record.created_by,
            updated_at: record.updated_at,
            updated_by: record.updated_by,
            expires_at: record.expires_at,
            tombstone: record.tombstone,
        }
    }
}

impl TryFrom<RecordDoc> for Record {
    type Error = Error;
    fn try_from(doc: RecordDoc) -> Result<Self> {
        let (data, content_type) = doc.data.into_parts()?;
        Ok(Self {
            key: StateKey::new(doc.kind, doc.id),
            version: doc.version,
            data,
            content_type,
            schema: doc.schema,
            created_at: doc.created_at,
            created_by: doc.created_by,
            updated_at: doc.updated_at,
            updated_by: doc.updated_by,
            expires_at: doc.expires_at,
            tombstone: doc.tombstone,
        })
    }
}

impl From<Prune> for PruneDoc {
    fn from(prune: Prune) -> Self {
        let (kind, id) = match prune.key {
            Some(StateKey { kind, id }) => (Some(kind), Some(id)),
            None => (prune.kind, None),
        };
        Self {
            kind,
            id,
            keep_last: prune.keep_last,
            max_age: prune.max_age.map(Span),
            tombstones: prune.tombstones.map(Span),
        }
    }
}

impl TryFrom<PruneDoc> for Prune {
    type Error = Error;
    fn try_from(doc: PruneDoc) -> Result<Self> {
        let (kind, key) = match (doc.kind, doc.id) {
            (Some(kind), Some(id)) => (None, Some(StateKey::new(kind, id))),
            (None, Some(_)) => return Err(Error::invalid("id needs kind beside it")),
            (kind, None) => (kind, None),
        };
        Ok(Self {
            kind,
            key,
            keep_last: doc.keep_last,
            max_age: doc.max_age.map(Into::into),
            tombstones: doc.tombstones.map(Into::into),
        })
    }
}

impl From<Pruned> for PrunedDoc {
    fn from(pruned: Pruned) -> Self {
        let Pruned { versions, keys } = pruned;
        Self { versions, keys }
    }
}

impl From<PrunedDoc> for Pruned {
    fn from(doc: PrunedDoc) -> Self {
        let PrunedDoc { versions, keys } = doc;
        Self { versions, keys }
    }
}
