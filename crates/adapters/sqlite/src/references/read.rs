//! Reading content, and what is known of it.

use std::ops::Range;

use rusqlite::Connection;
use statehouse_content::{Chunk, Encoded, Window};
use statehouse_contracts::{
    Error, Page, PageCursor, ReferenceId, ReferenceInfo, ReferenceQuery, Result,
};

use super::{
    MAX_PAGE, chunk,
    entry::{COLUMNS, Entry},
};
use crate::error::Failure;

/// The most entries that one page looks at; where few match, a page may be empty.
const MAX_LOOKED_AT: usize = 10_000;

/// The stored form of content.
pub(super) fn whole(
    connection: &Connection,
    ns: i64,
    id: &ReferenceId,
    now: i64,
) -> Result<(Entry, Encoded), Failure> {
    let entry = Entry::live(connection, ns, id, now)?;
    let size = entry.info.reference.size;
    let encoded = Encoded {
        compression: entry.info.compression,
        plain_len: size,
        chunks: chunk::read(connection, entry.entry, 0..chunk::number_of(size))?,
    };
    Ok((entry, encoded))
}

/// The chunks of a range, and nothing more.
pub(super) fn range(
    connection: &Connection,
    ns: i64,
    id: &ReferenceId,
    range: Range<u64>,
    now: i64,
) -> Result<(Entry, Window, Vec<Chunk>), Failure> {
    let entry = Entry::live(connection, ns, id, now)?;
    let window = Window::of(entry.info.reference.size, range)?;
    let chunks = chunk::read(connection, entry.entry, window.chunks())?;
    Ok((entry, window, chunks))
}

pub(super) const LIST: &str = "FROM ref_content c
    WHERE c.ns = ?2 AND c.id > ?3 ORDER BY c.id";
pub(super) const LIST_OF_HOLDER: &str = "FROM ref_holder m
    CROSS JOIN ref_content c ON c.entry = m.entry
    WHERE m.ns = ?2 AND m.id > ?3 AND m.holder = ?4
        AND (m.expires_at IS NULL OR m.expires_at > ?1) ORDER BY m.id";

/// A page of entries in the order of their ids.
pub(super) fn list(
    connection: &Connection,
    ns: i64,
    query: &ReferenceQuery,
    now: i64,
) -> Result<Page<ReferenceInfo>, Failure> {
    let after: Option<ReferenceId> = query.after.as_ref().map(parse).transpose()?;
    // The empty blob sorts before every id.
    let from: &[u8] = after.as_ref().map_or(&[], |id| id.digest());
    let limit = match query.limit {
        0 => MAX_PAGE,
        limit => limit.min(MAX_PAGE),
    };
    let which = match query.holder {
        Some(_) => LIST_OF_HOLDER,
        None => LIST,
    };
    let mut select = connection.prepare_cached(&format!("SELECT {COLUMNS} {which}"))?;
    let mut rows = match &query.holder {
        Some(holder) => select.query((now, ns, from, holder.as_str()))?,
        None => select.query((now, ns, from))?,
    };
    let mut items: Vec<ReferenceInfo> = Vec::new();
    let (mut last, mut looked_at) = (None, 0);
    while let Some(row) = rows.next()? {
        if items.len() == limit || looked_at == MAX_LOOKED_AT {
            let next = last.map(|id: ReferenceId| PageCursor(id.to_string()));
            return Ok(Page { items, next });
        }
        looked_at += 1;
        let entry = Entry::of(row)?;
        last = Some(entry.info.reference.id);
        if entry.is_live(now) && query.kind.is_none_or(|kind| kind == entry.info.kind) {
            items.push(entry.info);
        }
    }
    Ok(Page { items, next: None })
}

fn parse(cursor: &PageCursor) -> Result<ReferenceId> {
    cursor.0.parse().map_err(|_| {
        Error::invalid(format!(
            "the cursor {:?} is none of a list of references",
            cursor.0
        ))
    })
}
