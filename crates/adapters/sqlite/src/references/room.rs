//! Making room: collecting garbage, and evicting for the quota.

use std::time::Duration;

use rusqlite::Connection;
use statehouse_contracts::{Collected, Error, ErrorKind};

use super::{
    count::Count,
    entry::{COLUMNS, Entry, size},
    holder,
};
use crate::{
    config::Config,
    engine::Tx,
    error::Failure,
    housekeeping::{Chore, Progress},
};

/// Entries, or holders, that one job handles at most.
const STEP: i64 = 200;

/// Collects garbage in all namespaces.
pub(super) const COLLECT: Chore = Chore {
    name: "collect content that nobody holds",
    every: |config| config.gc_interval,
    run: collect_all,
};

/// Drops holders that have expired.
pub(super) const HOLDERS: Chore = Chore {
    name: "drop expired holders",
    every: |_| Duration::from_secs(10),
    run: |tx, _| Ok(Progress::after(holder::sweep(tx, STEP)?, STEP)),
};

/// What has expired.
pub(super) const EXPIRED: &str = "FROM ref_content c
    WHERE c.ns = ?2 AND c.expires_at <= ?1 ORDER BY c.expires_at";
/// What nobody holds, and what was put as cache; the least recently used first.
pub(super) const UNHELD: &str = "FROM ref_content c
    WHERE c.ns = ?2 AND c.holders = 0 AND c.cache = 0 ORDER BY c.used_at";
pub(super) const CACHE: &str = "FROM ref_content c
    WHERE c.ns = ?2 AND c.holders = 0 AND c.cache = 1 ORDER BY c.used_at";

/// Entries of a namespace in one of these orders, as long as `more` wants them.
fn entries(
    connection: &Connection,
    ns: i64,
    now: i64,
    which: &str,
    mut more: impl FnMut(Entry) -> bool,
) -> Result<(), Failure> {
    let mut select = connection.prepare_cached(&format!("SELECT {COLUMNS} {which}"))?;
    let mut rows = select.query((now, ns))?;
    while let Some(row) = rows.next()? {
        if !more(Entry::of(row)?) {
            break;
        }
    }
    Ok(())
}

/// Whether content of so many bytes has room at all.
///
/// # Errors
/// `QuotaExceeded` when it has not.
pub(super) fn check(quota: u64, bytes: u64) -> Result<(), Error> {
    if bytes <= quota {
        return Ok(());
    }
    let message = format!("the content needs {bytes} bytes; the quota is {quota}");
    Err(Error::new(ErrorKind::QuotaExceeded, message))
}

/// Makes room for `bytes`: expired content goes first, then what nobody holds, then cache
/// content.
///
/// # Errors
/// `QuotaExceeded` when what may go is not enough; nothing has gone then.
pub(super) fn make(tx: &Tx<'_>, ns: i64, quota: u64, bytes: u64) -> Result<(), Failure> {
    let used = size(tx.counter(Count::Stored.of(ns))?);
    let mut missing = (used + bytes).saturating_sub(quota);
    if missing == 0 {
        return Ok(());
    }
    let mut victims: Vec<Entry> = Vec::new();
    for which in [EXPIRED, UNHELD, CACHE] {
        let now = tx.now();
        entries(tx, ns, now, which, |entry| {
            let again = which != EXPIRED && !entry.is_live(now);
            if missing > 0 && !again {
                missing = missing.saturating_sub(entry.info.stored_size);
                victims.push(entry);
            }
            missing > 0
        })?;
    }
    if missing > 0 {
        let message = format!(
            "the content needs {bytes} bytes; {used} of {quota} are used, and what is held stays: \
             release or delete something, or raise the quota"
        );
        return Err(Error::new(ErrorKind::QuotaExceeded, message).into());
    }
    for victim in victims {
        victim.evict(tx)?;
    }
    Ok(())
}

/// Collects some garbage of a namespace; answers whether there may be more.
pub(super) fn collect(tx: &Tx<'_>, ns: i64) -> Result<(Collected, Progress), Failure> {
    let swept = holder::sweep(tx, STEP)?;
    let mut garbage: Vec<Entry> = Vec::new();
    let full = |garbage: &Vec<Entry>| garbage.len() as i64 == STEP;
    for which in [EXPIRED, UNHELD] {
        if full(&garbage) {
            break;
        }
        let now = tx.now();
        entries(tx, ns, now, which, |entry| {
            if which == EXPIRED || entry.is_live(now) {
                garbage.push(entry);
            }
            !full(&garbage)
        })?;
    }
    let mut collected = Collected::default();
    for entry in &garbage {
        entry.evict(tx)?;
        collected.entries += 1;
        collected.bytes += entry.info.stored_size;
    }
    let progress = match Progress::after(swept, STEP) {
        Progress::Done => Progress::after(garbage.len(), STEP),
        more => more,
    };
    if progress == Progress::Done {
        tx.add(Count::Collections.of(ns), 1);
    }
    Ok((collected, progress))
}

fn collect_all(tx: &Tx<'_>, _: &Config) -> Result<Progress, Failure> {
    let namespaces: Vec<i64> = tx
        .prepare_cached("SELECT id FROM namespace")?
        .query_map((), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for ns in namespaces {
        if tx.counter(Count::Entries.of(ns))? > 0 && collect(tx, ns)?.1 == Progress::More {
            return Ok(Progress::More);
        }
    }
    Ok(Progress::Done)
}
