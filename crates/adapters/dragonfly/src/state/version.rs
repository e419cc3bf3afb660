//! What a version is, as scripts tell it.

use bytes::Bytes;
use statehouse_contracts::{
    ChangeContent, ChangeData, ContentType, Error, ErrorKind, Principal, Record, Result, StateKey,
    Timestamp, Tombstone, Version,
};

use crate::reply::Reply;

/// A version without its number and its content.
#[derive(Debug)]
pub(super) struct Stored {
    tombstone: Option<Tombstone>,
    content_type: ContentType,
    schema: Option<String>,
    created_at: Timestamp,
    created_by: Principal,
    updated_at: Timestamp,
    updated_by: Principal,
    expires_at: Option<Timestamp>,
    /// The version where its content begins.
    pub(super) base: String,
    pub(super) size: usize,
    appended: bool,
    /// Whether its content lies where one command finds it, while it is the current version.
    pub(super) twice: bool,
}

impl Stored {
    pub(super) fn of(reply: Reply) -> Result<Self> {
        let mut answer = reply.row()?;
        let tombstone = match answer.next()?.str()? {
            "l" => None,
            "d" => Some(Tombstone::Deleted),
            "x" => Some(Tombstone::Expired),
            other => return Err(damaged(format!("a version lives as {other:?}"))),
        };
        let stored = Self {
            tombstone,
            content_type: ContentType::new(answer.next()?.str()?)?,
            schema: answer.optional()?.map(Reply::text).transpose()?,
            created_at: moment(answer.next()?.str()?)?,
            created_by: Principal::new(answer.next()?.str()?)?,
            updated_at: moment(answer.next()?.str()?)?,
            updated_by: Principal::new(answer.next()?.str()?)?,
            expires_at: answer.optional()?.map(|at| moment(at.str()?)).transpose()?,
            base: {
                // When it expires, once more, for scripts.
                answer.next()?;
                answer.text()?
            },
            size: answer.number()?,
            appended: answer.optional()?.is_some(),
            twice: !answer.is_empty() && answer.optional()?.is_some(),
        };
        Ok(stored)
    }

    pub(super) fn is_live(&self) -> bool {
        self.tombstone.is_none()
    }

    pub(super) fn may_expire(&self) -> bool {
        self.expires_at.is_some()
    }

    pub(super) fn record(self, key: StateKey, version: Version, data: Bytes) -> Record {
        Record {
            key,
            version,
            data,
            content_type: self.content_type,
            schema: self.schema,
            created_at: self.created_at,
            created_by: self.created_by,
            updated_at: self.updated_at,
            updated_by: self.updated_by,
            expires_at: self.expires_at,
            tombstone: self.tombstone,
        }
    }

    /// What a change shows of it, whose own part of the content is `data`; nothing of a tombstone.
    pub(super) fn change(self, data: Bytes) -> Option<ChangeContent> {
        self.is_live().then(|| ChangeContent {
            data: if self.appended {
                ChangeData::Appended(data)
            } else {
                ChangeData::Whole(data)
            },
            content_type: self.content_type,
            schema: self.schema,
            created_at: self.created_at,
            created_by: self.created_by,
            expires_at: self.expires_at,
        })
    }
}

/// What a record becomes when it expires.
pub(super) fn tombstone_of(record: Record) -> Record {
    Record {
        version: record.version + 1,
        data: Bytes::new(),
        content_type: ContentType::BYTES,
        schema: None,
        updated_at: record.expires_at.unwrap_or(record.updated_at),
        expires_at: None,
        tombstone: Some(Tombstone::Expired),
        ..record
    }
}

/// A time as it is stored: nanoseconds since the Unix epoch.
pub(super) fn moment(nanos: &str) -> Result<Timestamp> {
    let nanos: i128 = nanos
        .parse()
        .map_err(|_| damaged(format!("a time is {nanos:?}")))?;
    Ok(Timestamp::from_nanosecond(nanos).unwrap_or(if nanos < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    }))
}

pub(super) fn damaged(what: String) -> Error {
    Error::new(
        ErrorKind::Corrupted,
        format!("what the server keeps makes no sense: {what}"),
    )
}
