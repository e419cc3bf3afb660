//! Forgetting versions, and keys that are tombstones.
//!
//! A version is first marked as pruned. Its data goes unless a version that stays is built on it;
//! its row goes too once the change log no longer names it.

use rusqlite::{Connection, OptionalExtension};
use statehouse_contracts::{Prune, Pruned, Result};

use super::{
    commit,
    op_id::before,
    place::{self, Range},
    row::{Life, number},
};
use crate::{changes, engine::Tx, error::Failure, session::Session};

/// Keys that one job looks at, at most.
const KEYS: i64 = 100;

/// Versions that one job prunes, at most.
const VERSIONS: i64 = 500;

/// Prunes in short jobs, until all is done.
pub(crate) async fn prune(session: &Session, prune: Prune) -> Result<Pruned> {
    let mut total = Pruned::default();
    let mut from = Some(Place::first(&prune));
    while let Some(place) = from {
        let (ns, prune) = (session.ns, prune.clone());
        let (pruned, next) = session
            .write("prune", move |tx| step(tx, ns, &prune, &place))
            .await?;
        total.versions += pruned.versions;
        total.keys += pruned.keys;
        from = next;
    }
    Ok(total)
}

/// Where a job begins: at this key or the next after it.
#[derive(Clone, Debug)]
struct Place {
    kind: String,
    id: String,
}

impl Place {
    fn first(prune: &Prune) -> Self {
        let kind = prune.kind.as_ref().map(|kind| kind.as_str());
        let key = prune.key.as_ref();
        Self {
            kind: key
                .map(|key| key.kind.as_str())
                .or(kind)
                .unwrap_or_default()
                .to_owned(),
            id: key
                .map(|key| key.id.as_str())
                .unwrap_or_default()
                .to_owned(),
        }
    }
}

/// A key as pruning sees it.
#[derive(Debug)]
struct Known {
    key: i64,
    kind: String,
    id: String,
    version: i64,
    pos: i64,
    life: Life,
}

impl Known {
    fn is_asked_for(&self, prune: &Prune) -> bool {
        let kind_fits = prune
            .kind
            .as_ref()
            .is_none_or(|kind| kind.as_str() == self.kind);
        kind_fits
            && prune
                .key
                .as_ref()
                .is_none_or(|key| key.kind.as_str() == self.kind && key.id.as_str() == self.id)
    }
}

fn step(
    tx: &Tx<'_>,
    ns: i64,
    prune: &Prune,
    from: &Place,
) -> Result<(Pruned, Option<Place>), Failure> {
    let mut work = Work {
        tx,
        ns,
        now: commit::at(tx),
        trimmed: Range::of(ns).row(changes::trimmed(tx, ns)?),
        pruned: Pruned::default(),
    };
    let keys = keys(tx, ns, from)?;
    let full = i64::try_from(keys.len()) == Ok(KEYS);
    let mut last = None;
    for key in keys {
        if !key.is_asked_for(prune) {
            return Ok((work.pruned, None));
        }
        let done = work.prune(&key, prune)?;
        if !done || work.pruned.versions >= VERSIONS.unsigned_abs() {
            let id = if done {
                format!("{}\0", key.id)
            } else {
                key.id
            };
            let next = Place { kind: key.kind, id };
            return Ok((work.pruned, Some(next)));
        }
        last = Some(key);
    }
    let next = last.filter(|_| full).map(|key| Place {
        kind: key.kind,
        id: format!("{}\0", key.id),
    });
    Ok((work.pruned, next))
}

fn keys(connection: &Connection, ns: i64, from: &Place) -> rusqlite::Result<Vec<Known>> {
    let mut select = connection.prepare_cached(
        "SELECT key, kind, id, version, pos, life FROM state_key
         WHERE ns = ?1 AND life < 3 AND (kind, id) >= (?2, ?3) ORDER BY kind, id LIMIT ?4",
    )?;
    let keys = select.query_map((ns, &from.kind, &from.id, KEYS), |row| {
        Ok(Known {
            key: row.get(0)?,
            kind: row.get(1)?,
            id: row.get(2)?,
            version: row.get(3)?,
            pos: row.get(4)?,
            life: Life::of(row.get(5)?),
        })
    })?;
    keys.collect()
}

struct Work<'t> {
    tx: &'t Tx<'t>,
    ns: i64,
    now: i64,
    /// The last row of the change log that is trimmed.
    trimmed: i64,
    pruned: Pruned,
}

impl Work<'_> {
    /// Prunes one key; false when there is more to do.
    fn prune(&mut self, key: &Known, prune: &Prune) -> Result<bool, Failure> {
        if self.is_to_be_forgotten(key, prune)? {
            if !self.prune_up_to(key, key.version - 1, None)? {
                return Ok(false);
            }
            self.forget(key)?;
            return Ok(true);
        }
        match self.bound(key, prune)? {
            Some(bound) => {
                let latest_live = self.latest_live(key)?;
                Ok(self.prune_up_to(key, bound.min(key.version - 1), latest_live)?)
            }
            None => Ok(true),
        }
    }

    fn is_to_be_forgotten(&self, key: &Known, prune: &Prune) -> rusqlite::Result<bool> {
        let Some(age) = prune.tombstones.filter(|_| key.life != Life::Live) else {
            return Ok(false);
        };
        let at: i64 = self
            .tx
            .prepare_cached("SELECT at FROM state_version WHERE pos = ?1")?
            .query_row((key.pos,), |row| row.get(0))?;
        Ok(at <= before(self.now, age))
    }

    /// The newest version that goes.
    fn bound(&self, key: &Known, prune: &Prune) -> rusqlite::Result<Option<i64>> {
        let by_count = match prune.keep_last {
            Some(keep) => self.one(
                "SELECT version FROM state_version WHERE key = ?1 AND pruned = 0
                 ORDER BY version DESC LIMIT 1 OFFSET ?2",
                key,
                number(keep),
            )?,
            None => None,
        };
        let by_age = match prune.max_age {
            // The version before the newest that was there at that time.
            Some(age) => self.one(
                "SELECT version - 1 FROM state_version WHERE key = ?1 AND at <= ?2
                 ORDER BY version DESC LIMIT 1",
                key,
                before(self.now, age),
            )?,
            None => None,
        };
        Ok(by_count.max(by_age))
    }

    fn latest_live(&self, key: &Known) -> rusqlite::Result<Option<i64>> {
        self.one(
            "SELECT version FROM state_version
             WHERE key = ?1 AND version <= ?2 AND tombstone = 0 AND pruned = 0
             ORDER BY version DESC LIMIT 1",
            key,
            key.version,
        )
    }

    fn one(&self, sql: &str, key: &Known, with: i64) -> rusqlite::Result<Option<i64>> {
        self.tx
            .prepare_cached(sql)?
            .query_row((key.key, with), |row| row.get(0))
            .optional()
    }

    /// Prunes the versions up to `bound` but `spared`; false when there are more of them.
    fn prune_up_to(
        &mut self,
        key: &Known,
        bound: i64,
        spared: Option<i64>,
    ) -> rusqlite::Result<bool> {
        let spared = spared.unwrap_or(0);
        let marked = self
            .tx
            .prepare_cached(
                "UPDATE state_version SET pruned = 1 WHERE pos IN (
                     SELECT pos FROM state_version
                     WHERE key = ?1 AND version <= ?2 AND version <> ?3 AND pruned = 0
                     ORDER BY version LIMIT ?4)",
            )?
            .execute((key.key, bound, spared, VERSIONS))?;
        self.pruned.versions += marked as u64;
        if marked > 0 {
            self.free(key, bound)?;
        }
        Ok(i64::try_from(marked).is_ok_and(|marked| marked < VERSIONS))
    }

    /// Frees what no version that stays is built on. Of those that stay, only the lowest can be
    /// built on pruned ones: between it and a higher one nothing is pruned, or all are tombstones.
    fn free(&self, key: &Known, bound: i64) -> rusqlite::Result<()> {
        let (base, built): (i64, i64) = self
            .tx
            .prepare_cached(
                "SELECT base, version FROM state_version
                 WHERE key = ?1 AND pruned = 0 AND tombstone = 0 ORDER BY version LIMIT 1",
            )?
            .query_row((key.key,), |row| row.try_into())
            .optional()?
            .unwrap_or_default();
        let arguments = (key.key, bound, self.trimmed, base, built);
        self.tx
            .prepare_cached(
                "DELETE FROM state_version
                 WHERE key = ?1 AND version <= ?2 AND pruned = 1 AND pos <= ?3
                     AND version NOT BETWEEN ?4 AND ?5",
            )?
            .execute(arguments)?;
        self.tx
            .prepare_cached(
                "UPDATE state_version SET data = NULL
                 WHERE key = ?1 AND version <= ?2 AND pruned = 1 AND pos > ?3
                     AND version NOT BETWEEN ?4 AND ?5 AND data IS NOT NULL",
            )?
            .execute(arguments)?;
        Ok(())
    }

    /// Forgets a tombstone whose history is gone.
    fn forget(&mut self, key: &Known) -> rusqlite::Result<()> {
        self.pruned.keys += 1;
        self.pruned.versions += 1;
        let floor = place::floor(self.ns);
        let raise = key.version - self.tx.counter(floor)?;
        if raise > 0 {
            self.tx.add(floor, raise);
        }
        self.tx
            .prepare_cached("UPDATE state_version SET pruned = 1 WHERE pos = ?1")?
            .execute((key.pos,))?;
        self.tx
            .prepare_cached("DELETE FROM state_version WHERE key = ?1 AND pos <= ?2")?
            .execute((key.key, self.trimmed))?;
        let named = self
            .tx
            .prepare_cached("SELECT 1 FROM state_version WHERE key = ?1")?
            .exists((key.key,))?;
        let sql = if named {
            "UPDATE state_key SET life = 3 WHERE key = ?1"
        } else {
            "DELETE FROM state_key WHERE key = ?1"
        };
        self.tx.prepare_cached(sql)?.execute((key.key,))?;
        Ok(())
    }
}
