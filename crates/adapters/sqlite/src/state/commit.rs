//! Writing versions: the key's row, the version's row, which is also the change, and the counts.

use statehouse_contracts::{ChangeOperation, ContentType, StateKey, Tombstone};

use super::{
    current::Current,
    place::{self, Range},
    row::{self, Life},
};
use crate::{changes, engine::Tx};

/// Who writes, when, and where: one commit of one namespace.
pub(crate) struct Commit<'t> {
    tx: &'t Tx<'t>,
    ns: i64,
    by: i64,
    at: i64,
    op_id: Option<&'t str>,
    id: i64,
    /// The place of the last change.
    head: i64,
    changes: i64,
}

/// The version to write.
#[derive(Debug)]
pub(crate) struct NewVersion<'d> {
    pub(crate) operation: ChangeOperation,
    pub(crate) tombstone: Option<Tombstone>,
    /// Its own part of the content.
    pub(crate) data: Option<&'d [u8]>,
    /// The version where its content begins, and the size up to the version before; `None` when
    /// `data` is all.
    pub(crate) continues: Option<(i64, i64)>,
    pub(crate) content_type: &'d ContentType,
    pub(crate) schema: Option<&'d str>,
    pub(crate) expires_at: Option<i64>,
}

/// Stamps of an imported version; others are stamped by their commit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamps {
    pub(crate) at: i64,
    pub(crate) by: i64,
    pub(crate) created_at: i64,
    pub(crate) created_by: i64,
}

/// Which key gets the version.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'k> {
    /// One that is not known, and the first version that it ever had.
    New(&'k StateKey, i64),
    /// One that is.
    Known(Current),
}

impl<'t> Commit<'t> {
    pub(crate) fn begin(
        tx: &'t Tx<'t>,
        ns: i64,
        by: i64,
        op_id: Option<&'t str>,
    ) -> rusqlite::Result<Self> {
        Ok(Self {
            tx,
            ns,
            by,
            at: at(tx),
            op_id,
            id: tx.counter(place::commits(ns))? + 1,
            head: tx.counter(place::head(ns))?,
            changes: 0,
        })
    }

    /// Its number.
    pub(crate) fn id(&self) -> i64 {
        self.id
    }

    /// When it happens, in nanoseconds.
    pub(crate) fn at(&self) -> i64 {
        self.at
    }

    /// The first version of a key that is not known.
    pub(crate) fn first_version(&self) -> rusqlite::Result<i64> {
        Ok(self.tx.counter(place::floor(self.ns))?.saturating_add(1))
    }

    /// Writes `version` as the key's current one.
    pub(crate) fn add(
        &mut self,
        target: Target<'_>,
        version: i64,
        new: &NewVersion<'_>,
    ) -> rusqlite::Result<Current> {
        let created = match target {
            Target::Known(current) if current.life == Life::Live || new.tombstone.is_some() => {
                (current.created_at, current.created_by)
            }
            _ => (self.at, self.by),
        };
        let stamps = Stamps {
            at: self.at,
            by: self.by,
            created_at: created.0,
            created_by: created.1,
        };
        self.add_stamped(target, version, new, stamps)
    }

    /// Writes the tombstone of a key that has expired, by whoever wrote what expired.
    pub(crate) fn expire(&mut self, current: Current) -> rusqlite::Result<Current> {
        let by = self
            .tx
            .prepare_cached("SELECT by FROM state_version WHERE pos = ?1")?
            .query_row((current.pos,), |row| row.get(0))?;
        let stamps = Stamps {
            at: self.at,
            by,
            created_at: current.created_at,
            created_by: current.created_by,
        };
        let tombstone = NewVersion::tombstone(ChangeOperation::Expire, Tombstone::Expired);
        self.add_stamped(
            Target::Known(current),
            current.version + 1,
            &tombstone,
            stamps,
        )
    }

    /// Writes `version` as the key's current one, as somebody wrote it elsewhere.
    pub(crate) fn add_stamped(
        &mut self,
        target: Target<'_>,
        version: i64,
        new: &NewVersion<'_>,
        stamps: Stamps,
    ) -> rusqlite::Result<Current> {
        self.changes += 1;
        let pos = Range::of(self.ns).row(self.head + self.changes);
        let next = Current {
            key: 0,
            first: version,
            version,
            pos,
            life: Life::after(new.tombstone),
            expires_at: new.expires_at,
            created_at: stamps.created_at,
            created_by: stamps.created_by,
        };
        let next = match target {
            Target::New(name, first) => self.insert_key(name, Current { first, ..next })?,
            Target::Known(before) => self.update_key(before, next)?,
        };
        self.insert_version(&next, new, stamps)?;
        Ok(next)
    }

    fn insert_key(&self, name: &StateKey, next: Current) -> rusqlite::Result<Current> {
        let key = self
            .tx
            .prepare_cached(
                "INSERT INTO state_key (ns, kind, id, first, version, pos, life, expires_at,
                                        created_at, created_by)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .insert((
                self.ns,
                name.kind.as_str(),
                name.id.as_str(),
                next.first,
                next.version,
                next.pos,
                next.life.code(),
                next.expires_at,
                next.created_at,
                next.created_by,
            ))?;
        Ok(Current { key, ..next })
    }

    /// The columns that stand in an index are left out when they stay: the usual case.
    fn update_key(&self, before: Current, next: Current) -> rusqlite::Result<Current> {
        let next = Current {
            key: before.key,
            first: before.first,
            ..next
        };
        if next.life == before.life && next.expires_at == before.expires_at {
            self.tx
                .prepare_cached("UPDATE state_key SET version = ?2, pos = ?3 WHERE key = ?1")?
                .execute((next.key, next.version, next.pos))?;
        } else {
            self.tx
                .prepare_cached(
                    "UPDATE state_key SET version = ?2, pos = ?3, life = ?4, expires_at = ?5,
                                          created_at = ?6, created_by = ?7
                     WHERE key = ?1",
                )?
                .execute((
                    next.key,
                    next.version,
                    next.pos,
                    next.life.code(),
                    next.expires_at,
                    next.created_at,
                    next.created_by,
                ))?;
        }
        Ok(next)
    }

    fn insert_version(
        &self,
        next: &Current,
        new: &NewVersion<'_>,
        stamps: Stamps,
    ) -> rusqlite::Result<()> {
        let own = new
            .data
            .map_or(0, |data| i64::try_from(data.len()).unwrap_or(i64::MAX));
        let (base, size) = match new.continues {
            Some((base, before)) => (base, before.saturating_add(own)),
            None => (next.version, own),
        };
        let mut insert = self.tx.prepare_cached(
            "INSERT INTO state_version (pos, key, version, operation, tombstone, commit_id, at, by,
                                        op_id, created_at, created_by, expires_at, base, size,
                                        content_type, schema, data)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        )?;
        insert.execute(rusqlite::params![
            next.pos,
            next.key,
            next.version,
            row::operation_code(new.operation),
            next.life.code(),
            self.id,
            stamps.at,
            stamps.by,
            self.op_id,
            stamps.created_at,
            stamps.created_by,
            next.expires_at,
            base,
            size,
            new.content_type.as_str(),
            new.schema,
            new.data,
        ])?;
        Ok(())
    }

    /// Counts the commit, and wakes those who wait for changes.
    pub(crate) fn finish(self) {
        self.tx.add(place::commits(self.ns), 1);
        if self.changes > 0 {
            self.tx.add(place::head(self.ns), self.changes);
            self.tx.notify(changes::channel(self.ns));
        }
    }
}

impl NewVersion<'_> {
    /// A version that holds nothing.
    pub(crate) fn tombstone(operation: ChangeOperation, tombstone: Tombstone) -> Self {
        Self {
            operation,
            tombstone: Some(tombstone),
            data: None,
            continues: None,
            content_type: &ContentType::BYTES,
            schema: None,
            expires_at: None,
        }
    }
}

/// The group's time, in nanoseconds.
pub(crate) fn at(tx: &Tx<'_>) -> i64 {
    tx.now().saturating_mul(1000)
}
