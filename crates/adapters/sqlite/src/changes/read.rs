//! Pages of changes.

use bytes::Bytes;
use rusqlite::{Connection, Row};
use statehouse_contracts::{
    Change, ChangeContent, ChangeData, ChangeOperation, ChangePage, ContentType, Cursor, Id, Kind,
    OpId, Principal, StateKey,
};

use super::cursor::{Extent, Log};
use crate::{
    error::Failure,
    state::{MAX_PAGE_BYTES, Range, operation, page_size, timestamp, version},
};

/// The changes after a cursor.
pub(super) fn page(
    connection: &Connection,
    log: &Log,
    after: &Cursor,
    limit: usize,
) -> Result<ChangePage, Failure> {
    let extent = Extent::of(connection, log.ns)?;
    let mut place = log.place(after, extent)?;
    let limit = page_size(limit);
    let mut changes = Vec::new();
    if place < extent.head {
        let range = Range::of(log.ns);
        let mut select = connection.prepare_cached(
            "SELECT v.pos, v.commit_id, k.kind, k.id, v.version, v.operation, v.at,
                 (SELECT name FROM principal WHERE principal.id = v.by), v.op_id,
                 v.tombstone, v.pruned, v.created_at,
                 (SELECT name FROM principal WHERE principal.id = v.created_by), v.expires_at,
                 v.content_type, v.schema, v.data
             FROM state_version v JOIN state_key k ON k.key = v.key
             WHERE v.pos > ?1 AND v.pos <= ?2 ORDER BY v.pos",
        )?;
        let mut rows = select.query((range.row(place), range.row(extent.head)))?;
        let mut room = MAX_PAGE_BYTES;
        while changes.len() < limit
            && room > 0
            && let Some(row) = rows.next()?
        {
            place = Range::place(row.get(0)?);
            let change = change(row, log.cursor(place))?;
            room = room.saturating_sub(change.content.as_ref().map_or(0, size));
            changes.push(change);
        }
    }
    Ok(ChangePage {
        changes,
        next: log.cursor(place),
    })
}

fn size(content: &ChangeContent) -> usize {
    match &content.data {
        ChangeData::Whole(data) | ChangeData::Appended(data) => data.len(),
    }
}

fn change(row: &Row<'_>, cursor: Cursor) -> Result<Change, Failure> {
    let operation = operation(row.get(5)?)?;
    let op_id: Option<String> = row.get(8)?;
    Ok(Change {
        cursor,
        commit: version(row.get(1)?),
        key: StateKey::new(
            Kind::new(row.get::<_, String>(2)?)?,
            Id::new(row.get::<_, String>(3)?)?,
        ),
        version: version(row.get(4)?),
        operation,
        at: timestamp(row.get(6)?),
        by: Principal::new(row.get::<_, String>(7)?)?,
        op_id: op_id.map(OpId::new).transpose()?,
        content: content(row, operation)?,
    })
}

/// What was written, if that version holds something and is kept.
fn content(row: &Row<'_>, operation: ChangeOperation) -> Result<Option<ChangeContent>, Failure> {
    let (tombstone, pruned): (bool, bool) = (row.get(9)?, row.get(10)?);
    if tombstone || pruned {
        return Ok(None);
    }
    let data = row
        .get_ref(16)?
        .as_blob_or_null()
        .map_err(rusqlite::Error::from)?;
    let data = data.map(Bytes::copy_from_slice).unwrap_or_default();
    Ok(Some(ChangeContent {
        data: match operation {
            ChangeOperation::Append => ChangeData::Appended(data),
            _ => ChangeData::Whole(data),
        },
        content_type: ContentType::new(row.get::<_, String>(14)?)?,
        schema: row.get(15)?,
        created_at: timestamp(row.get(11)?),
        created_by: Principal::new(row.get::<_, String>(12)?)?,
        expires_at: row.get::<_, Option<i64>>(13)?.map(timestamp),
    }))
}
