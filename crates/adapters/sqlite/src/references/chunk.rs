//! Chunks in the file. Large content is written and removed some chunks at a time, so that other
//! callers get their turn between.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};
use statehouse_content::{CHUNK_LEN, Chunk};
use statehouse_contracts::{Error, ErrorKind, Retry};

use super::count;
use crate::{
    config::Config,
    engine::Tx,
    error::Failure,
    housekeeping::{Chore, Progress},
    time::after,
};

/// Chunks that one job writes or removes at most.
pub(super) const STEP: usize = 32;

/// How long content may take to be written.
const WRITING: Duration = Duration::from_secs(3600);

/// Removes chunks that belong to no content.
pub(super) const SWEEP: Chore = Chore {
    name: "remove loose chunks",
    every: |_| Duration::from_secs(1),
    run: sweep,
};

/// Where chunk `number` of an entry lies.
fn position(entry: i64, number: usize) -> i64 {
    (entry << 20) | i64::try_from(number).unwrap_or(0)
}

/// Writes consecutive chunks, the first of them as number `first`.
pub(super) fn write(
    tx: &Tx<'_>,
    entry: i64,
    first: usize,
    chunks: &[Chunk],
) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO ref_chunk (pos, plain, checksum, stored) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (number, chunk) in (first..).zip(chunks) {
        insert.execute((
            position(entry, number),
            chunk.plain_len,
            chunk.checksum.cast_signed(),
            &chunk.stored[..],
        ))?;
    }
    Ok(())
}

pub(super) const READ: &str = "SELECT plain, checksum, stored FROM ref_chunk
    WHERE pos >= ?1 AND pos < ?2 ORDER BY pos";

/// Reads some chunks of an entry; what is missing is found by whoever decodes them.
pub(super) fn read(
    connection: &Connection,
    entry: i64,
    numbers: Range<usize>,
) -> rusqlite::Result<Vec<Chunk>> {
    let mut select = connection.prepare_cached(READ)?;
    let range = (position(entry, numbers.start), position(entry, numbers.end));
    let chunks = select.query_map(range, |row| {
        Ok(Chunk {
            plain_len: row.get(0)?,
            checksum: row.get::<_, i64>(1)?.cast_unsigned(),
            stored: Bytes::copy_from_slice(row.get_ref(2)?.as_blob()?),
        })
    })?;
    chunks.collect()
}

/// How many chunks plain content of this size has.
pub(super) fn number_of(size: u64) -> usize {
    usize::try_from(size.div_ceil(CHUNK_LEN as u64)).unwrap_or(usize::MAX)
}

/// Begins an entry whose chunks are written before its content is there.
pub(super) fn begin(tx: &Tx<'_>) -> rusqlite::Result<i64> {
    let entry = count::next_entry(tx)?;
    loosen(tx, entry, after(tx.now(), WRITING))?;
    Ok(entry)
}

fn loosen(tx: &Tx<'_>, entry: i64, until: i64) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT OR REPLACE INTO ref_loose (entry, until) VALUES (?1, ?2)")?
        .execute((entry, until))?;
    Ok(())
}

/// The chunks of an entry that was begun belong to its content now.
///
/// # Errors
/// `Timeout` when writing them took too long.
pub(super) fn adopt(tx: &Tx<'_>, entry: i64) -> Result<(), Failure> {
    let adopted = tx
        .prepare_cached("DELETE FROM ref_loose WHERE entry = ?1 AND until > ?2")?
        .execute((entry, tx.now()))?;
    if adopted == 1 {
        return Ok(());
    }
    let message = format!("the content took more than {WRITING:?} to be written");
    Err(Error::new(ErrorKind::Timeout, message)
        .with_retry(Retry::After(Duration::ZERO))
        .into())
}

/// Gives up an entry that was begun.
pub(super) fn abandon(tx: &Tx<'_>, entry: i64) -> rusqlite::Result<()> {
    loosen(tx, entry, tx.now())
}

/// Removes the chunks of an entry: few at once, many later.
pub(super) fn remove(tx: &Tx<'_>, entry: i64, size: u64) -> rusqlite::Result<()> {
    let number = number_of(size);
    if number > STEP {
        return loosen(tx, entry, tx.now());
    }
    tx.prepare_cached("DELETE FROM ref_chunk WHERE pos >= ?1 AND pos < ?2")?
        .execute((position(entry, 0), position(entry, number)))?;
    Ok(())
}

pub(super) const LOOSE: &str =
    "SELECT entry FROM ref_loose WHERE until <= ?1 ORDER BY until LIMIT 1";

fn sweep(tx: &Tx<'_>, _: &Config) -> Result<Progress, Failure> {
    let loose: Option<i64> = tx
        .prepare_cached(LOOSE)?
        .query_row((tx.now(),), |row| row.get(0))
        .optional()?;
    let Some(entry) = loose else {
        return Ok(Progress::Done);
    };
    let removed = tx
        .prepare_cached(
            "DELETE FROM ref_chunk WHERE pos IN (
                 SELECT pos FROM ref_chunk WHERE pos >= ?1 AND pos < ?2 LIMIT ?3
             )",
        )?
        .execute((position(entry, 0), position(entry + 1, 0), STEP as i64))?;
    if removed < STEP {
        tx.prepare_cached("DELETE FROM ref_loose WHERE entry = ?1")?
            .execute((entry,))?;
    }
    Ok(Progress::More)
}
