//! The change log.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use statehouse_contracts::{
    Change, ChangeContent, ChangeData, ChangeOperation, ChangePage, Cursor, Error, Follower,
    FollowerName, FollowerSpec, FollowerStart, Id, Kind, OpId, Principal, Result, StateKey, Trim,
    Version,
};
use utoipa::ToSchema;

use crate::{ContentDoc, Span};

/// A place in the change log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CursorDoc {
    /// The place; opaque.
    pub cursor: String,
}

/// The content of a changed version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeContentDoc {
    /// The data: all of the version, or with `appended` what was added to the one before.
    pub data: ContentDoc,
    /// Whether the data is only what was added.
    #[serde(default)]
    pub appended: bool,
    /// Its schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// When the key came to life.
    pub created_at: Timestamp,
    /// Who did that.
    #[schema(value_type = String)]
    pub created_by: Principal,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeDoc {
    /// The place right after it: resume from here.
    pub cursor: String,
    /// The commit it belongs to.
    pub commit: u64,
    /// The kind of its key.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// The id of its key.
    #[schema(value_type = String)]
    pub id: Id,
    /// Its new version.
    pub version: Version,
    /// `put`, `append`, `delete`, `expire`, `rollback` or `import`.
    #[schema(value_type = String, example = "put")]
    pub operation: ChangeOperation,
    /// When.
    pub at: Timestamp,
    /// By whom.
    #[schema(value_type = String)]
    pub by: Principal,
    /// The op_id of its transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub op_id: Option<OpId>,
    /// What was written; not given for a tombstone, and when that version is no longer kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<ChangeContentDoc>,
}

/// A page of changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePageDoc {
    /// The changes; empty when nothing came in time.
    pub changes: Vec<ChangeDoc>,
    /// Where to go on.
    pub next: String,
}

/// Where a new follower begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FollowStartDoc {
    /// At the oldest change that is kept.
    #[default]
    Oldest,
    /// At the head.
    Head,
    /// At this place.
    At(String),
}

/// The promise of a follower.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FollowDoc {
    /// Where it begins: `"oldest"` (default), `"head"` or `{"at": cursor}`.
    pub start: FollowStartDoc,
    /// The most changes it may lag before trimming passes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lag: Option<u64>,
}

/// A durable named cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FollowerDoc {
    /// Its name.
    #[schema(value_type = String)]
    pub name: FollowerName,
    /// What it has done.
    pub cursor: String,
    /// How many changes it is behind the head.
    pub lag: u64,
    /// Whether trimming has passed it.
    pub lost: bool,
    /// When it last moved.
    pub advanced_at: Timestamp,
}

/// Where a follower moves to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdvanceDoc {
    /// The place; backwards does nothing.
    pub cursor: String,
}

/// What to trim off the log: changes beyond either bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrimDoc {
    /// How many of the newest changes stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<u64>,
    /// How long a change stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
}

impl From<Cursor> for CursorDoc {
    fn from(cursor: Cursor) -> Self {
        Self { cursor: cursor.0 }
    }
}

impl From<ChangeContent> for ChangeContentDoc {
    fn from(content: ChangeContent) -> Self {
        let (data, appended) = match &content.data {
            ChangeData::Whole(data) => (data, false),
            ChangeData::Appended(data) => (data, true),
        };
        Self {
            data: ContentDoc::new(data, content.content_type.clone()),
            appended,
            schema: content.schema,
            created_at: content.created_at,
            created_by: content.created_by,
            expires_at: content.expires_at,
        }
    }
}

impl TryFrom<ChangeContentDoc> for ChangeContent {
    type Error = Error;
    fn try_from(doc: ChangeContentDoc) -> Result<Self> {
        let (data, content_type) = doc.data.into_parts()?;
        let data = match doc.appended {
            true => ChangeData::Appended(data),
            false => ChangeData::Whole(data),
        };
        Ok(Self {
            data,
            content_type,
            schema: doc.schema,
            created_at: doc.created_at,
            created_by: doc.created_by,
            expires_at: doc.expires_at,
        })
    }
}

impl From<Change> for ChangeDoc {
    fn from(change: Change) -> Self {
        let StateKey { kind, id } = change.key;
        Self {
            cursor: change.cursor.0,
            commit: change.commit,
            kind,
            id,
            version: change.version,
            operation: change.operation,
            at: change.at,
            by: change.by,
            op_id: change.op_id,
            content: change.content.map(Into::into),
        }
    }
}

impl TryFrom<ChangeDoc> for Change {
    type Error = Error;
    fn try_from(doc: ChangeDoc) -> Result<Self> {
        Ok(Self {
            cursor: Cursor(doc.cursor),
            commit: doc.commit,
            key: StateKey::new(doc.kind, doc.id),
            version: doc.version,
            operation: doc.operation,
            at: doc.at,
            by: doc.by,
            op_id: doc.op_id,
            content: doc.content.map(ChangeContent::try_from).transpose()?,
        })
    }
}

impl From<ChangePage> for ChangePageDoc {
    fn from(page: ChangePage) -> Self {
        Self {
            changes: page.changes.into_iter().map(Into::into).collect(),
            next: page.next.0,
        }
    }
}

impl TryFrom<ChangePageDoc> for ChangePage {
    type Error = Error;
    fn try_from(doc: ChangePageDoc) -> Result<Self> {
        let changes: Result<_> = doc.changes.into_iter().map(Change::try_from).collect();
        Ok(Self {
            changes: changes?,
            next: Cursor(doc.next),
        })
    }
}

impl From<FollowerSpec> for FollowDoc {
    fn from(spec: FollowerSpec) -> Self {
        let start = match spec.start {
            FollowerStart::Oldest => FollowStartDoc::Oldest,
            FollowerStart::Head => FollowStartDoc::Head,
            FollowerStart::At(cursor) => FollowStartDoc::At(cursor.0),
        };
        Self {
            start,
            max_lag: spec.max_lag,
        }
    }
}

impl From<FollowDoc> for FollowerSpec {
    fn from(doc: FollowDoc) -> Self {
        let start = match doc.start {
            FollowStartDoc::Oldest => FollowerStart::Oldest,
            FollowStartDoc::Head => FollowerStart::Head,
            FollowStartDoc::At(cursor) => FollowerStart::At(Cursor(cursor)),
        };
        Self {
            start,
            max_lag: doc.max_lag,
        }
    }
}

impl From<Follower> for FollowerDoc {
    fn from(follower: Follower) -> Self {
        Self {
            name: follower.name,
            cursor: follower.cursor.0,
            lag: follower.lag,
            lost: follower.lost,
            advanced_at: follower.advanced_at,
        }
    }
}

impl From<FollowerDoc> for Follower {
    fn from(doc: FollowerDoc) -> Self {
        Self {
            name: doc.name,
            cursor: Cursor(doc.cursor),
            lag: doc.lag,
            lost: doc.lost,
            advanced_at: doc.advanced_at,
        }
    }
}

impl From<Trim> for TrimDoc {
    fn from(trim: Trim) -> Self {
        Self {
            keep_last: trim.keep_last,
            max_age: trim.max_age.map(Span),
        }
    }
}

impl From<TrimDoc> for Trim {
    fn from(doc: TrimDoc) -> Self {
        Self {
            keep_last: doc.keep_last,
            max_age: doc.max_age.map(Into::into),
        }
    }
}
