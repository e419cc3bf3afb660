//! The messages of an outbox.

use std::collections::BTreeMap;

use bytes::Bytes;
use rusqlite::{Connection, Row};
use statehouse_contracts::{
    Envelope, Error, Message, OutboxEntry, OutboxOutcome, OutboxSettle, Page, PageCursor, Result,
};

use super::channel;
use crate::{
    engine::Tx,
    error::Failure,
    state::{
        MAX_PAGE_BYTES, Range, damaged, outbox_head, outbox_waiting, page_size, timestamp, version,
    },
};

/// A message in the form in which it is stored.
#[derive(Debug)]
pub(crate) struct Sealed {
    ordering_key: Option<String>,
    properties: String,
    body: Bytes,
}

impl Sealed {
    pub(crate) fn of(message: &Message) -> Self {
        let envelope = Envelope::seal(message);
        Self {
            ordering_key: message.ordering_key.clone(),
            properties: serde_json::json!(envelope.properties).to_string(),
            body: envelope.body,
        }
    }
}

/// Adds messages at the end.
pub(crate) fn append(tx: &Tx<'_>, ns: i64, at: i64, messages: &[Sealed]) -> rusqlite::Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let mut place = tx.counter(outbox_head(ns))?;
    let mut insert = tx.prepare_cached(
        "INSERT INTO state_outbox (pos, at, ordering_key, properties, body)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut added = 0;
    for message in messages {
        place += 1;
        added += 1;
        insert.execute((
            Range::of(ns).row(place),
            at,
            &message.ordering_key,
            &message.properties,
            &message.body[..],
        ))?;
    }
    tx.add(outbox_head(ns), added);
    tx.add(outbox_waiting(ns), added);
    tx.notify(channel(ns));
    Ok(())
}

/// Messages to send after a position, without parked ones and those behind them.
pub(super) fn to_send(
    connection: &Connection,
    ns: i64,
    after: u64,
    limit: usize,
) -> Result<Vec<OutboxEntry>, Failure> {
    let range = Range::of(ns);
    let mut select = connection.prepare_cached(
        "SELECT pos, at, parked, properties, body FROM state_outbox AS entry
         WHERE pos > ?1 AND pos <= ?2 AND parked IS NULL
             AND (ordering_key IS NULL OR NOT EXISTS (
                 SELECT 1 FROM state_outbox AS before
                 WHERE before.parked IS NOT NULL AND before.ordering_key = entry.ordering_key
                     AND before.pos > ?3 AND before.pos < entry.pos))
         ORDER BY pos",
    )?;
    let mut rows = select.query((range.row(position(after)), range.last_row(), range.row(0)))?;
    let mut entries = Vec::new();
    let mut room = MAX_PAGE_BYTES;
    while entries.len() < page_size(limit)
        && room > 0
        && let Some(row) = rows.next()?
    {
        let entry = entry(row)?;
        room = room.saturating_sub(entry.message.bytes().len());
        entries.push(entry);
    }
    Ok(entries)
}

/// A page of parked messages after a place.
pub(super) fn parked(
    connection: &Connection,
    ns: i64,
    after: i64,
    limit: usize,
) -> Result<Page<OutboxEntry>, Failure> {
    let range = Range::of(ns);
    let mut select = connection.prepare_cached(
        "SELECT pos, at, parked, properties, body FROM state_outbox
         WHERE parked IS NOT NULL AND pos > ?1 AND pos <= ?2 ORDER BY pos",
    )?;
    let mut rows = select.query((range.row(after), range.last_row()))?;
    let mut items: Vec<OutboxEntry> = Vec::new();
    let mut room = MAX_PAGE_BYTES;
    while let Some(row) = rows.next()? {
        if items.len() == page_size(limit) || room == 0 {
            let next = items
                .last()
                .map(|last| PageCursor(last.position.to_string()));
            return Ok(Page { items, next });
        }
        let entry = entry(row)?;
        room = room.saturating_sub(entry.message.bytes().len());
        items.push(entry);
    }
    Ok(Page { items, next: None })
}

/// The place after which a page of parked messages begins.
///
/// # Errors
/// `InvalidArgument` for a cursor that no page gave.
pub(super) fn parse(cursor: &PageCursor) -> Result<i64> {
    let digits = cursor.0.bytes().all(|byte| byte.is_ascii_digit());
    let place = cursor.0.parse().ok().filter(|_| digits);
    place.ok_or_else(|| {
        Error::invalid("the page cursor is none that a page gave; begin without a cursor")
    })
}

fn entry(row: &Row<'_>) -> Result<OutboxEntry, Failure> {
    let pos: i64 = row.get(0)?;
    let properties = row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?;
    let properties: BTreeMap<String, String> = serde_json::from_str(properties)
        .map_err(|error| damaged(format!("a message of the outbox cannot be read: {error}")))?;
    let body = row.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?;
    let envelope = Envelope {
        body: Bytes::copy_from_slice(body),
        properties,
    };
    Ok(OutboxEntry {
        position: version(Range::place(pos)),
        message: envelope.open()?,
        at: timestamp(row.get(1)?),
        parked: row.get(2)?,
    })
}

/// Settles what waits; what is settled already is passed over.
pub(super) fn settle(tx: &Tx<'_>, ns: i64, settles: &[OutboxSettle]) -> rusqlite::Result<()> {
    let mut settled = 0;
    for settle in settles {
        let pos = Range::of(ns).row(position(settle.position));
        settled += match &settle.outcome {
            OutboxOutcome::Sent => tx
                .prepare_cached("DELETE FROM state_outbox WHERE pos = ?1 AND parked IS NULL")?
                .execute((pos,))?,
            OutboxOutcome::Parked { reason } => tx
                .prepare_cached(
                    "UPDATE state_outbox SET parked = ?2 WHERE pos = ?1 AND parked IS NULL",
                )?
                .execute((pos, reason))?,
        };
    }
    tx.add(outbox_waiting(ns), -i64::try_from(settled).unwrap_or(0));
    Ok(())
}

/// Lets a parked message be sent again.
pub(super) fn unpark(tx: &Tx<'_>, ns: i64, position: u64) -> Result<(), Failure> {
    let sql = "UPDATE state_outbox SET parked = NULL WHERE pos = ?1 AND parked IS NOT NULL";
    change_parked(tx, ns, position, sql)?;
    tx.add(outbox_waiting(ns), 1);
    Ok(())
}

/// Drops a parked message.
pub(super) fn discard(tx: &Tx<'_>, ns: i64, position: u64) -> Result<(), Failure> {
    let sql = "DELETE FROM state_outbox WHERE pos = ?1 AND parked IS NOT NULL";
    change_parked(tx, ns, position, sql)
}

fn change_parked(tx: &Tx<'_>, ns: i64, at: u64, sql: &str) -> Result<(), Failure> {
    let changed = tx
        .prepare_cached(sql)?
        .execute((Range::of(ns).row(position(at)),))?;
    if changed == 0 {
        let message = format!("the outbox has no parked message at position {at}");
        return Err(Error::not_found(message).into());
    }
    // Those behind it may be sent now.
    tx.notify(channel(ns));
    Ok(())
}

/// The place that a position names; one that is too large names none.
fn position(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}
