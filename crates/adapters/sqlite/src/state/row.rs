//! Records and codes as they stand in the file.

use bytes::Bytes;
use rusqlite::{Connection, Row};
use statehouse_contracts::{
    ChangeOperation, ContentType, Error, ErrorKind, Id, Kind, Principal, Record, StateKey,
    Timestamp, Tombstone, Version,
};

use crate::error::Failure;

/// What a key's row says of its current version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Live = 0,
    Deleted = 1,
    Expired = 2,
    Forgotten = 3,
}

impl Life {
    pub(crate) fn of(code: i64) -> Self {
        match code {
            0 => Self::Live,
            1 => Self::Deleted,
            2 => Self::Expired,
            _ => Self::Forgotten,
        }
    }

    pub(crate) fn code(self) -> i64 {
        self as i64
    }

    /// The life of a key whose current version is this.
    pub(crate) fn after(tombstone: Option<Tombstone>) -> Self {
        match tombstone {
            None => Self::Live,
            Some(Tombstone::Deleted) => Self::Deleted,
            Some(Tombstone::Expired) => Self::Expired,
        }
    }

    pub(crate) fn tombstone(self) -> Option<Tombstone> {
        match self {
            Self::Live => None,
            Self::Expired => Some(Tombstone::Expired),
            Self::Deleted | Self::Forgotten => Some(Tombstone::Deleted),
        }
    }
}

/// The operations by their code.
const OPERATIONS: [ChangeOperation; 6] = [
    ChangeOperation::Put,
    ChangeOperation::Append,
    ChangeOperation::Delete,
    ChangeOperation::Expire,
    ChangeOperation::Rollback,
    ChangeOperation::Import,
];

/// The code of an operation.
pub(crate) fn operation_code(operation: ChangeOperation) -> i64 {
    let place = OPERATIONS.iter().position(|known| *known == operation);
    place
        .and_then(|place| i64::try_from(place).ok())
        .unwrap_or(0)
}

/// The operation of a code.
pub(crate) fn operation(code: i64) -> Result<ChangeOperation, Failure> {
    let known = usize::try_from(code)
        .ok()
        .and_then(|code| OPERATIONS.get(code));
    known
        .copied()
        .ok_or_else(|| damaged(format!("operation {code} is unknown")))
}

/// A file whose rows make no sense.
pub(crate) fn damaged(what: String) -> Failure {
    Error::new(
        ErrorKind::Corrupted,
        format!("the database is damaged: {what}"),
    )
    .into()
}

/// A time of the state tables.
pub(crate) fn timestamp(nanos: i64) -> Timestamp {
    // 64 bits of nanoseconds end long before the largest timestamp.
    Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::MAX)
}

/// A time as it stands in the state tables: those after the year 2262 are its end.
pub(crate) fn nanos(at: Timestamp) -> i64 {
    let at = at.as_nanosecond();
    i64::try_from(at).unwrap_or(if at < 0 { i64::MIN } else { i64::MAX })
}

/// A version as the contracts count it.
pub(crate) fn version(number: i64) -> Version {
    Version::try_from(number).unwrap_or_default()
}

/// A version as the file counts it; none that is there for one too large.
pub(crate) fn number(version: Version) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

/// The columns that [`Stored::of`] reads, but the last, which is the data: of `k`, a key, and `v`,
/// one of its versions.
pub(crate) const COLUMNS: &str = "k.kind, k.id, v.key, v.version, v.tombstone, v.at,
    (SELECT name FROM principal WHERE principal.id = v.by), v.created_at,
    (SELECT name FROM principal WHERE principal.id = v.created_by), v.expires_at, v.base, v.size,
    v.content_type, v.schema";

/// How many they are with the data; further columns follow.
pub(crate) const COLUMN_COUNT: usize = 15;

/// A version as it is stored: its content may begin in earlier versions.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The version, with its own part of the content only.
    pub(crate) record: Record,
    pub(crate) key: i64,
    pub(crate) base: i64,
    pub(crate) size: i64,
}

impl Stored {
    pub(crate) fn of(row: &Row<'_>) -> Result<Self, Failure> {
        let data = row
            .get_ref(14)?
            .as_blob_or_null()
            .map_err(rusqlite::Error::from)?;
        let tombstone = Life::of(row.get(4)?).tombstone();
        let record = Record {
            key: StateKey::new(Kind::new(text(row, 0)?)?, Id::new(text(row, 1)?)?),
            version: version(row.get(3)?),
            data: data.map(Bytes::copy_from_slice).unwrap_or_default(),
            content_type: ContentType::new(text(row, 12)?)?,
            schema: row.get(13)?,
            created_at: timestamp(row.get(7)?),
            created_by: Principal::new(text(row, 8)?)?,
            updated_at: timestamp(row.get(5)?),
            updated_by: Principal::new(text(row, 6)?)?,
            expires_at: row.get::<_, Option<i64>>(9)?.map(timestamp),
            tombstone,
        };
        Ok(Self {
            record,
            key: row.get(2)?,
            base: row.get(10)?,
            size: row.get(11)?,
        })
    }

    fn is_whole(&self) -> bool {
        self.record.tombstone.is_some() || self.base == number(self.record.version)
    }

    /// The record with its whole content.
    pub(crate) fn whole(mut self, connection: &Connection) -> Result<Record, Failure> {
        if !self.is_whole() {
            let until = number(self.record.version);
            self.record.data = content(connection, self.key, self.base, until, self.size)?;
        }
        Ok(self.record)
    }
}

/// The content that the versions from `base` up to `until` make together.
pub(crate) fn content(
    connection: &Connection,
    key: i64,
    base: i64,
    until: i64,
    size: i64,
) -> Result<Bytes, Failure> {
    let mut whole = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    let mut statement = connection.prepare_cached(
        "SELECT data FROM state_version WHERE key = ?1 AND version BETWEEN ?2 AND ?3
         ORDER BY version",
    )?;
    let mut rows = statement.query((key, base, until))?;
    while let Some(row) = rows.next()? {
        let part = row
            .get_ref(0)?
            .as_blob_or_null()
            .map_err(rusqlite::Error::from)?;
        whole.extend_from_slice(part.unwrap_or_default());
    }
    if i64::try_from(whole.len()) == Ok(size) {
        Ok(whole.into())
    } else {
        Err(damaged(format!(
            "version {until} of a record has {} bytes instead of {size}",
            whole.len()
        )))
    }
}

fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, Failure> {
    let text = row.get_ref(column)?.as_str();
    Ok(text.map_err(rusqlite::Error::from)?)
}
