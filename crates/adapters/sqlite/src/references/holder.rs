//! Who holds content.

use rusqlite::OptionalExtension;
use statehouse_contracts::{Holder, ReferenceId};

use super::{
    count::Count,
    entry::{self, Entry},
};
use crate::{engine::Tx, error::Failure};

/// Adds a holder, or renews it; it holds until `expires`.
pub(super) fn hold(
    tx: &Tx<'_>,
    entry: &Entry,
    holder: &Holder,
    expires: Option<i64>,
) -> rusqlite::Result<()> {
    let id = entry.info.reference.id;
    let renewed = tx
        .prepare_cached(
            "UPDATE ref_holder SET expires_at = ?4 WHERE ns = ?1 AND holder = ?2 AND id = ?3",
        )?
        .execute((entry.ns, holder.as_str(), id.digest(), expires))?;
    if renewed > 0 {
        return Ok(());
    }
    tx.prepare_cached(
        "INSERT INTO ref_holder (ns, holder, id, entry, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((entry.ns, holder.as_str(), id.digest(), entry.entry, expires))?;
    count(tx, entry.entry, entry.ns, 1)
}

/// Removes a holder; answers whether it held.
pub(super) fn release(
    tx: &Tx<'_>,
    ns: i64,
    id: &ReferenceId,
    holder: &Holder,
) -> Result<bool, Failure> {
    let found: Option<(i64, Option<i64>)> = tx
        .prepare_cached(
            "DELETE FROM ref_holder WHERE ns = ?1 AND holder = ?2 AND id = ?3
             RETURNING entry, expires_at",
        )?
        .query_row((ns, holder.as_str(), id.digest()), |row| row.try_into())
        .optional()?;
    let Some((entry, expires)) = found else {
        return Ok(false);
    };
    count(tx, entry, ns, -1)?;
    let content = Entry::find(tx, ns, id, tx.now())?;
    let held = expires.is_none_or(|at| at > tx.now());
    Ok(held && content.is_some_and(|content| content.is_live(tx.now())))
}

/// Counts a holder that came or went. What nobody holds any more counts as used now.
fn count(tx: &Tx<'_>, entry: i64, ns: i64, change: i64) -> rusqlite::Result<()> {
    let holders: i64 = tx
        .prepare_cached(
            "UPDATE ref_content SET holders = holders + ?2,
                 used_at = iif(holders + ?2 = 0 AND cache = 0, ?3, used_at)
             WHERE entry = ?1 RETURNING holders",
        )?
        .query_row((entry, change, tx.now()), |row| row.get(0))?;
    match (change, holders) {
        (1, 1) => tx.add(Count::Held.of(ns), 1),
        (-1, 0) => tx.add(Count::Held.of(ns), -1),
        _ => {}
    }
    Ok(())
}

pub(super) const EXPIRED: &str = "SELECT ns, holder, id FROM ref_holder
    WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2";

/// Removes holders that have expired, at most `step`; answers how many.
pub(super) fn sweep(tx: &Tx<'_>, step: i64) -> Result<usize, Failure> {
    let expired: Vec<(i64, String, [u8; 32])> = tx
        .prepare_cached(EXPIRED)?
        .query_map((tx.now(), step), |row| row.try_into())?
        .collect::<rusqlite::Result<_>>()?;
    for (ns, holder, id) in &expired {
        release(
            tx,
            *ns,
            &ReferenceId::from_digest(*id),
            &Holder::new(holder)?,
        )?;
    }
    Ok(expired.len())
}

/// Adds a holder to content that is there.
pub(super) fn retain(
    tx: &Tx<'_>,
    ns: i64,
    id: &ReferenceId,
    holder: &Holder,
    expires: Option<i64>,
) -> Result<(), Failure> {
    let entry = entry::Entry::live(tx, ns, id, tx.now())?;
    Ok(hold(tx, &entry, holder, expires)?)
}
