//! Followers: durable named cursors.

use rusqlite::{Connection, OptionalExtension, Row};
use statehouse_contracts::{Cursor, Error, Follower, FollowerName, FollowerSpec, FollowerStart};

use super::cursor::{Extent, Log};
use crate::{
    engine::Tx,
    error::Failure,
    state::{at, timestamp, version},
};

/// Makes the follower, finds it, or begins a lost one again.
pub(super) fn follow(
    tx: &Tx<'_>,
    log: &Log,
    name: &FollowerName,
    spec: &FollowerSpec,
) -> Result<Follower, Failure> {
    let extent = Extent::within(tx, log.ns)?;
    if let Some(known) = find(tx, log, name, extent)?.filter(|follower| !follower.lost) {
        return Ok(known);
    }
    let place = match &spec.start {
        FollowerStart::Oldest => extent.trimmed,
        FollowerStart::Head => extent.head,
        FollowerStart::At(cursor) => log.place(cursor, extent)?,
    };
    let max_lag = spec
        .max_lag
        .map(|lag| i64::try_from(lag).unwrap_or(i64::MAX));
    tx.prepare_cached(
        "INSERT INTO state_follower (ns, name, place, max_lag, lost, advanced_at)
         VALUES (?1, ?2, ?3, ?4, 0, ?5)
         ON CONFLICT (ns, name) DO UPDATE SET place = excluded.place, max_lag = excluded.max_lag,
             lost = 0, advanced_at = excluded.advanced_at",
    )?
    .execute((log.ns, name.as_str(), place, max_lag, at(tx)))?;
    find(tx, log, name, extent)?.ok_or_else(|| Error::internal("a follower was not kept").into())
}

/// Moves the follower on.
pub(super) fn advance(
    tx: &Tx<'_>,
    log: &Log,
    name: &FollowerName,
    cursor: &Cursor,
) -> Result<(), Failure> {
    let extent = Extent::within(tx, log.ns)?;
    let found: Option<(i64, bool)> = tx
        .prepare_cached("SELECT place, lost FROM state_follower WHERE ns = ?1 AND name = ?2")?
        .query_row((log.ns, name.as_str()), |row| row.try_into())
        .optional()?;
    let Some((from, lost)) = found else {
        return Err(Error::not_found(format!("there is no follower {name}")).into());
    };
    if lost {
        let why = "trimming has passed its follower; follow again";
        return Err(log.lost(why, extent).into());
    }
    let to = log.place(cursor, extent)?;
    if to > from {
        tx.prepare_cached(
            "UPDATE state_follower SET place = ?3, advanced_at = ?4 WHERE ns = ?1 AND name = ?2",
        )?
        .execute((log.ns, name.as_str(), to, at(tx)))?;
    }
    Ok(())
}

const COLUMNS: &str = "name, place, lost, advanced_at";

fn find(
    connection: &Connection,
    log: &Log,
    name: &FollowerName,
    extent: Extent,
) -> Result<Option<Follower>, Failure> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM state_follower WHERE ns = ?1 AND name = ?2"
    ))?;
    let mut rows = select.query((log.ns, name.as_str()))?;
    rows.next()?
        .map(|row| follower(row, log, extent))
        .transpose()
}

/// The followers of a log, by name.
pub(super) fn all(connection: &Connection, log: &Log) -> Result<Vec<Follower>, Failure> {
    let extent = Extent::of(connection, log.ns)?;
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM state_follower WHERE ns = ?1 ORDER BY name"
    ))?;
    let mut rows = select.query((log.ns,))?;
    let mut followers = Vec::new();
    while let Some(row) = rows.next()? {
        followers.push(follower(row, log, extent)?);
    }
    Ok(followers)
}

fn follower(row: &Row<'_>, log: &Log, extent: Extent) -> Result<Follower, Failure> {
    let place: i64 = row.get(1)?;
    Ok(Follower {
        name: FollowerName::new(row.get::<_, String>(0)?)?,
        cursor: log.cursor(place),
        lag: version(extent.head - place),
        lost: row.get(2)?,
        advanced_at: timestamp(row.get(3)?),
    })
}

/// Removes the follower; answers whether it was there.
pub(super) fn remove(tx: &Tx<'_>, ns: i64, name: &FollowerName) -> rusqlite::Result<bool> {
    let removed = tx
        .prepare_cached("DELETE FROM state_follower WHERE ns = ?1 AND name = ?2")?
        .execute((ns, name.as_str()))?;
    Ok(removed > 0)
}
