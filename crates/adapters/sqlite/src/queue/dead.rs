//! Dead letters.

use rusqlite::{Connection, Row};
use statehouse_contracts::{AttemptError, DeadLetter, MessageId, Page, PageCursor, Result};

use super::{
    Count,
    place::{self, Held, Mover},
    receive::{self, Stored},
    rows,
};
use crate::{engine::Tx, error::Failure, time::timestamp};

/// The most dead letters one job moves.
const AT_ONCE: usize = 256;

const PAGE: &str = "SELECT d.seq, d.rank, d.due, d.attempts, d.key, d.expires, d.shared,
        m.sent_at, m.meta, m.payload, d.position, d.at, d.reason
    FROM queue_dead d LEFT JOIN queue_message m ON m.seq = d.seq
    WHERE d.grp = ?1 AND d.position > ?2 ORDER BY d.position LIMIT ?3";
const TAKE_ONE: &str = "DELETE FROM queue_dead WHERE position =
        (SELECT min(position) FROM queue_dead WHERE grp = ?1 AND id = ?2)
    RETURNING seq, rank, due, attempts, key, expires, shared";
const TAKE_MANY: &str = "DELETE FROM queue_dead WHERE position IN
        (SELECT position FROM queue_dead WHERE grp = ?1 AND position <= ?2
         ORDER BY position LIMIT ?3)
    RETURNING seq, rank, due, attempts, key, expires, shared, position";

/// A dead letter as it was read, not decoded yet.
#[derive(Debug)]
pub(super) struct StoredLetter {
    stored: Stored,
    position: i64,
    at: i64,
    reason: String,
    errors: Vec<AttemptError>,
}

impl StoredLetter {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            stored: Stored::of(row)?,
            position: row.get(10)?,
            at: row.get(11)?,
            reason: row.get(12)?,
            errors: Vec::new(),
        })
    }

    fn letter(self) -> Result<DeadLetter> {
        Ok(DeadLetter {
            attempts: self.stored.held.attempts,
            received: self.stored.shown()?,
            reason: self.reason,
            at: timestamp(self.at),
            errors: self.errors,
        })
    }
}

/// A page of dead letters as it was read.
#[derive(Debug)]
pub(super) struct StoredPage {
    letters: Vec<StoredLetter>,
    /// Whether there may be more.
    more: bool,
}

/// Reads a page of a group's dead letters; it ends early when it gets too large.
pub(super) fn read_page(
    connection: &Connection,
    grp: i64,
    limit: usize,
    after: i64,
) -> Result<StoredPage, Failure> {
    let mut statement = connection.prepare_cached(PAGE)?;
    let mut found = statement.query((grp, after, rows(limit)))?;
    let (mut letters, mut bytes) = (Vec::new(), 0);
    while bytes < receive::MAX_BYTES
        && let Some(row) = found.next()?
    {
        let mut letter = StoredLetter::of(row)?;
        letter.errors = errors(connection, grp, letter.stored.held.seq)?;
        bytes += letter.stored.size();
        letters.push(letter);
    }
    Ok(StoredPage {
        more: letters.len() == limit || bytes >= receive::MAX_BYTES,
        letters,
    })
}

fn errors(connection: &Connection, grp: i64, seq: i64) -> rusqlite::Result<Vec<AttemptError>> {
    connection
        .prepare_cached(
            "SELECT attempt, at, error FROM queue_error WHERE grp = ?1 AND seq = ?2
             ORDER BY attempt",
        )?
        .query_map((grp, seq), |row| {
            Ok(AttemptError {
                attempt: row.get(0)?,
                at: timestamp(row.get(1)?),
                error: row.get(2)?,
            })
        })?
        .collect()
}

impl StoredPage {
    /// Decodes it; of a message that cannot be read, what is left.
    pub(super) fn page(self) -> Result<Page<DeadLetter>> {
        let last = self.letters.last().filter(|_| self.more);
        let next = last.map(|last| PageCursor(last.position.to_string()));
        let items = self.letters.into_iter().map(StoredLetter::letter);
        Ok(Page {
            items: items.collect::<Result<_>>()?,
            next,
        })
    }
}

/// Redrives the dead letter with this id; false when there is none.
pub(super) fn redrive_one(mover: &mut Mover<'_>, id: MessageId) -> Result<bool, Failure> {
    let taken: Vec<Held> = mover
        .tx
        .prepare_cached(TAKE_ONE)?
        .query_map((mover.group.id, id.0.as_bytes()), Held::of)?
        .collect::<rusqlite::Result<_>>()?;
    for held in &taken {
        revive(mover, *held)?;
    }
    Ok(!taken.is_empty())
}

/// Redrives, or with `purge` deletes, some of the dead letters up to a position; says how many.
pub(super) fn clear_some(mover: &mut Mover<'_>, up_to: i64, purge: bool) -> Result<usize, Failure> {
    let mut taken: Vec<(i64, Held)> = mover
        .tx
        .prepare_cached(TAKE_MANY)?
        .query_map((mover.group.id, up_to, rows(AT_ONCE)), |row| {
            Ok((row.get(7)?, Held::of(row)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    taken.sort_unstable_by_key(|(position, _)| *position);
    for (_, held) in &taken {
        if purge {
            mover.tx.add(Count::Dead.of(mover.group.id), -1);
            mover.forget_errors(held.seq)?;
            place::drop_body(mover.tx, *held)?;
        } else {
            revive(mover, *held)?;
        }
    }
    Ok(taken.len())
}

/// The position of the newest dead letter.
pub(super) fn newest(tx: &Tx<'_>, grp: i64) -> rusqlite::Result<i64> {
    let newest: Option<i64> = tx
        .prepare_cached("SELECT max(position) FROM queue_dead WHERE grp = ?1")?
        .query_row((grp,), |row| row.get(0))?;
    Ok(newest.unwrap_or(0))
}

/// Puts a dead letter back: due now, with its ttl and its attempts from the start.
fn revive(mover: &mut Mover<'_>, held: Held) -> rusqlite::Result<()> {
    let now = mover.tx.now();
    mover.tx.add(Count::Dead.of(mover.group.id), -1);
    mover.forget_errors(held.seq)?;
    mover.admit(Held {
        due: now,
        attempts: 0,
        expires: held
            .expires
            .map(|expires| now.saturating_add(expires - held.due)),
        ..held
    })
}
