//! Pages of records, in the byte order of their keys.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use rusqlite::{Connection, Row, Rows, types::Value};
use statehouse_contracts::{Direction, Error, ListQuery, Page, PageCursor, Record, StateKey};

use super::{
    MAX_PAGE_BYTES,
    read::{page_size, tombstone_of},
    row::{COLUMN_COUNT, COLUMNS, Life, Stored},
};
use crate::error::Failure;

/// The most rows that one page looks at; with a rare glob a page may stay empty.
const MAX_LOOKED_AT: usize = 10_000;

/// A page of the records of one kind.
pub(crate) fn list(
    connection: &Connection,
    ns: i64,
    query: &ListQuery,
    now: i64,
) -> Result<Page<Record>, Failure> {
    let after = query.after.as_ref().map(parse).transpose()?;
    let (from, below) = id_range(query, after.as_ref().map(|key| key.id.as_str()));
    let order = match query.direction {
        Direction::Ascending => "ASC",
        Direction::Descending => "DESC",
    };
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS}, v.data, k.life, k.expires_at <= ?5
         FROM state_key k JOIN state_version v ON v.pos = k.pos
         WHERE k.ns = ?1 AND k.kind = ?2 AND k.life < 3 AND k.id >= ?3 AND k.id < ?4
         ORDER BY k.id {order}"
    ))?;
    let rows = select.query((ns, query.kind.as_str(), from, below, now))?;
    let matches = |id: &str| {
        query
            .prefix
            .as_ref()
            .is_none_or(|prefix| id.starts_with(prefix.as_str()))
            && query.glob.as_ref().is_none_or(|glob| glob.matches(id))
    };
    fill(connection, rows, query.limit, query.tombstones, matches)
}

/// A page of the current records of all kinds, tombstones included.
pub(crate) fn export(
    connection: &Connection,
    ns: i64,
    limit: usize,
    after: Option<&PageCursor>,
    now: i64,
) -> Result<Page<Record>, Failure> {
    let after = after.map(parse).transpose()?;
    let (kind, id) = match &after {
        Some(key) => (key.kind.as_str(), key.id.as_str()),
        None => ("", ""),
    };
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS}, v.data, k.life, k.expires_at <= ?4
         FROM state_key k JOIN state_version v ON v.pos = k.pos
         WHERE k.ns = ?1 AND k.life < 3 AND (k.kind, k.id) > (?2, ?3)
         ORDER BY k.kind, k.id"
    ))?;
    let rows = select.query((ns, kind, id, now))?;
    fill(connection, rows, limit, true, |_| true)
}

/// The ids to look at: from the first value on, below the second.
fn id_range(query: &ListQuery, after: Option<&str>) -> (String, Value) {
    let mut prefix = query.prefix.clone().unwrap_or_default();
    if let Some(glob) = query.glob.as_ref().map(|glob| glob.prefix())
        && glob.starts_with(&prefix)
    {
        prefix = glob;
    }
    // Every text sorts below every blob.
    let mut below = successor(&prefix).map_or(Value::Blob(Vec::new()), Value::Text);
    let mut from = prefix;
    match (query.direction, after) {
        (_, None) => {}
        // The next text after `after`.
        (Direction::Ascending, Some(after)) => from = from.max(format!("{after}\0")),
        (Direction::Descending, Some(after)) => {
            if !matches!(&below, Value::Text(text) if text.as_str() < after) {
                below = Value::Text(after.to_owned());
            }
        }
    }
    (from, below)
}

/// The first text after all that begin with `prefix`; `None` when there is none.
fn successor(prefix: &str) -> Option<String> {
    let mut next = prefix.to_owned();
    while let Some(last) = next.pop() {
        let above = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(above) = above {
            next.push(above);
            return Some(next);
        }
    }
    None
}

/// Takes rows of [`COLUMNS`], the key's life and whether it has expired, until the page is full.
fn fill(
    connection: &Connection,
    mut rows: Rows<'_>,
    limit: usize,
    tombstones: bool,
    matches: impl Fn(&str) -> bool,
) -> Result<Page<Record>, Failure> {
    let limit = page_size(limit);
    let (mut items, mut looked_at, mut bytes, mut last) = (Vec::new(), 0, 0, None);
    while let Some(row) = rows.next()? {
        if items.len() == limit || looked_at == MAX_LOOKED_AT || bytes >= MAX_PAGE_BYTES {
            return Ok(Page { items, next: last });
        }
        looked_at += 1;
        let id = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        if matches(id)
            && let Some(record) = seen(connection, row, tombstones)?
        {
            bytes += record.data.len();
            items.push(record);
        }
        last = Some(cursor(row)?);
    }
    Ok(Page { items, next: None })
}

/// The record of a row as a reader sees it now.
fn seen(
    connection: &Connection,
    row: &Row<'_>,
    tombstones: bool,
) -> Result<Option<Record>, Failure> {
    let life = Life::of(row.get(COLUMN_COUNT)?);
    let expired = row
        .get::<_, Option<bool>>(COLUMN_COUNT + 1)?
        .unwrap_or(false);
    match (life, expired) {
        (Life::Live, false) => Stored::of(row)?.whole(connection).map(Some),
        _ if !tombstones => Ok(None),
        (Life::Live, true) => Ok(Some(tombstone_of(Stored::of(row)?.record))),
        _ => Ok(Some(Stored::of(row)?.record)),
    }
}

fn cursor(row: &Row<'_>) -> rusqlite::Result<PageCursor> {
    let (kind, id) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
    Ok(PageCursor(
        BASE64_URL_SAFE_NO_PAD.encode(format!("{kind}/{id}")),
    ))
}

fn parse(cursor: &PageCursor) -> Result<StateKey, Error> {
    let parsed = || {
        let text = BASE64_URL_SAFE_NO_PAD.decode(&cursor.0).ok()?;
        let text = String::from_utf8(text).ok()?;
        let (kind, id) = text.split_once('/')?;
        StateKey::parse(kind, id).ok()
    };
    parsed().ok_or_else(|| {
        Error::invalid("the page cursor is none that a list gave; begin without a cursor")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_character_has_no_successor() {
        assert_eq!(successor(""), None);
        assert_eq!(successor("\u{10FFFF}"), None);
        assert_eq!(successor("a\u{10FFFF}").as_deref(), Some("b"));
        assert_eq!(successor("\u{D7FF}").as_deref(), Some("\u{E000}"));
    }

    proptest! {
        #[test]
        fn a_successor_is_above_all_with_the_prefix(
            prefix in ".{1,4}", rest in ".{0,4}", other in ".{0,6}",
        ) {
            if let Some(next) = successor(&prefix) {
                let with_prefix = format!("{prefix}{rest}");
                prop_assert!(with_prefix < next);
                if other >= prefix && other < next {
                    prop_assert!(other.starts_with(&prefix));
                }
            }
        }

        #[test]
        fn cursors_are_reversible(kind in "[a-z.]{1,9}", id in "\\PC{1,20}") {
            let key = StateKey::parse(&kind, &id).unwrap();
            let cursor = PageCursor(BASE64_URL_SAFE_NO_PAD.encode(key.to_string()));
            prop_assert_eq!(parse(&cursor).unwrap(), key);
        }
    }
}
