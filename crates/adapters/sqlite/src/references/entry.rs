//! The row of one content, and taking content away.

use rusqlite::{Connection, OptionalExtension, Row};
use statehouse_contracts::{
    Compression, ContentType, Error, Reference, ReferenceId, ReferenceInfo, ReferenceKind,
};

use super::{chunk, count::Count};
use crate::{engine::Tx, error::Failure, state::damaged, time::timestamp};

/// The number of a kind in the file.
pub(super) fn kind_code(kind: ReferenceKind) -> i64 {
    match kind {
        ReferenceKind::SessionState => 0,
        ReferenceKind::WorkflowContext => 1,
        ReferenceKind::CollaborationState => 2,
        ReferenceKind::LargePayload => 3,
        ReferenceKind::PatternData => 4,
        ReferenceKind::ToolResult => 5,
        ReferenceKind::ObservabilityTrace => 6,
    }
}

fn kind_of(code: i64) -> Result<ReferenceKind, Failure> {
    Ok(match code {
        0 => ReferenceKind::SessionState,
        1 => ReferenceKind::WorkflowContext,
        2 => ReferenceKind::CollaborationState,
        3 => ReferenceKind::LargePayload,
        4 => ReferenceKind::PatternData,
        5 => ReferenceKind::ToolResult,
        6 => ReferenceKind::ObservabilityTrace,
        _ => return Err(damaged(format!("{code} is no kind of content"))),
    })
}

/// The number of a compression in the file.
pub(super) fn compression_code(compression: Compression) -> i64 {
    match compression {
        Compression::None | Compression::Auto => 0,
        Compression::Gzip => 1,
        Compression::Zstd => 2,
        Compression::Lz4 => 3,
    }
}

fn compression_of(code: i64) -> Result<Compression, Failure> {
    Ok(match code {
        0 => Compression::None,
        1 => Compression::Gzip,
        2 => Compression::Zstd,
        3 => Compression::Lz4,
        _ => return Err(damaged(format!("{code} is no compression"))),
    })
}

/// Sizes in the file are never negative.
pub(super) fn size(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// The row of one content.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) entry: i64,
    pub(super) ns: i64,
    pub(super) expires_at: Option<i64>,
    pub(super) holders: i64,
    pub(super) used_at: i64,
    pub(super) info: ReferenceInfo,
}

/// The columns that [`Entry::of`] reads, of `ref_content AS c`. Holders that have expired are
/// counted apart.
pub(super) const COLUMNS: &str = "c.entry, c.ns, c.id, c.kind, c.content_type, c.compression,
    c.size, c.stored, c.created_at, c.expires_at, c.cache, c.holders, c.used_at,
    (SELECT count(*) FROM ref_holder h WHERE h.entry = c.entry AND h.expires_at <= ?1)";

impl Entry {
    /// From a row of [`COLUMNS`]; its first parameter is the time.
    pub(super) fn of(row: &Row<'_>) -> Result<Self, Failure> {
        let (holders, gone): (i64, i64) = (row.get(11)?, row.get(13)?);
        let expires_at: Option<i64> = row.get(9)?;
        Ok(Self {
            entry: row.get(0)?,
            ns: row.get(1)?,
            expires_at,
            holders,
            used_at: row.get(12)?,
            info: ReferenceInfo {
                reference: Reference {
                    id: ReferenceId::from_digest(row.get(2)?),
                    size: size(row.get(6)?),
                    content_type: ContentType::new(row.get::<_, String>(4)?)?,
                },
                kind: kind_of(row.get(3)?)?,
                compression: compression_of(row.get(5)?)?,
                stored_size: size(row.get(7)?),
                created_at: timestamp(row.get(8)?),
                expires_at: expires_at.map(timestamp),
                holders: size(holders - gone),
                cache: row.get(10)?,
            },
        })
    }

    /// The content with this id, also when it has expired.
    pub(super) fn find(
        connection: &Connection,
        ns: i64,
        id: &ReferenceId,
        now: i64,
    ) -> Result<Option<Self>, Failure> {
        let mut select = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM ref_content c WHERE c.ns = ?2 AND c.id = ?3"
        ))?;
        let mut rows = select.query((now, ns, id.digest()))?;
        rows.next()?.map(Self::of).transpose()
    }

    /// The content with this id.
    ///
    /// # Errors
    /// `NotFound` when there is none, or it has expired.
    pub(super) fn live(
        connection: &Connection,
        ns: i64,
        id: &ReferenceId,
        now: i64,
    ) -> Result<Self, Failure> {
        match Self::find(connection, ns, id, now)? {
            Some(entry) if entry.is_live(now) => Ok(entry),
            _ => Err(unknown(id).into()),
        }
    }

    pub(super) fn is_live(&self, now: i64) -> bool {
        self.expires_at.is_none_or(|at| at > now)
    }

    fn stored(&self) -> i64 {
        i64::try_from(self.info.stored_size).unwrap_or(i64::MAX)
    }

    fn plain(&self) -> i64 {
        i64::try_from(self.info.reference.size).unwrap_or(i64::MAX)
    }

    /// Adds it to the sums of its namespace, or takes it out.
    pub(super) fn sum(&self, tx: &Tx<'_>, sign: i64) {
        tx.add(Count::Entries.of(self.ns), sign);
        tx.add(Count::Stored.of(self.ns), sign * self.stored());
        tx.add(Count::Plain.of(self.ns), sign * self.plain());
    }

    /// Takes the content away, with its holders.
    pub(super) fn remove(&self, tx: &Tx<'_>) -> rusqlite::Result<()> {
        tx.prepare_cached("DELETE FROM ref_content WHERE entry = ?1")?
            .execute((self.entry,))?;
        if self.holders > 0 {
            self.remove_holders(tx)?;
            tx.add(Count::Held.of(self.ns), -1);
        }
        self.sum(tx, -1);
        chunk::remove(tx, self.entry, self.info.reference.size)
    }

    fn remove_holders(&self, tx: &Tx<'_>) -> rusqlite::Result<()> {
        let holders: Vec<String> = tx
            .prepare_cached("SELECT holder FROM ref_holder WHERE entry = ?1")?
            .query_map((self.entry,), |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let id = self.info.reference.id;
        for holder in holders {
            tx.prepare_cached("DELETE FROM ref_holder WHERE ns = ?1 AND holder = ?2 AND id = ?3")?
                .execute((self.ns, holder, id.digest()))?;
        }
        Ok(())
    }

    /// As [`remove`](Self::remove), for a collection or for lack of room.
    pub(super) fn evict(&self, tx: &Tx<'_>) -> rusqlite::Result<()> {
        tx.add(Count::Evictions.of(self.ns), 1);
        self.remove(tx)
    }
}

/// There is no such content.
pub(super) fn unknown(id: &ReferenceId) -> Error {
    Error::not_found(format!("there is no content {id}"))
}

/// Whether a namespace has content with this id, live or not; without reading the rest.
pub(super) fn is_known(
    connection: &Connection,
    ns: i64,
    id: &ReferenceId,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM ref_content WHERE ns = ?1 AND id = ?2")?
        .query_row((ns, id.digest()), |_| Ok(()))
        .optional()
        .map(|found| found.is_some())
}
