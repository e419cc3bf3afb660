//! Where a message of a group lies, and how it moves from one place to another.

use rusqlite::{OptionalExtension, Row};
use statehouse_contracts::Expired;

use super::{
    Count, ready_channel,
    registry::{self, Group, Registry},
    room_channel,
};
use crate::engine::Tx;

/// A message of a group on its way between two places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) seq: i64,
    pub(super) rank: i64,
    /// When it was first due: its place in the order.
    pub(super) due: i64,
    /// How often it was handed out.
    pub(super) attempts: u32,
    /// Its ordering key.
    pub(super) key: Option<i64>,
    pub(super) expires: Option<i64>,
    /// Whether other groups have it as well.
    pub(super) shared: bool,
    /// Whether it waits behind the head of its key; otherwise it is the head.
    pub(super) waits: bool,
}

impl Held {
    /// From a row that begins with seq, rank, due, attempts, key, expires and shared.
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            rank: row.get(1)?,
            due: row.get(2)?,
            attempts: row.get(3)?,
            key: row.get(4)?,
            expires: row.get(5)?,
            shared: row.get(6)?,
            waits: false,
        })
    }

    /// The same of one that waits.
    pub(super) fn of_waiting(row: &Row<'_>) -> rusqlite::Result<Self> {
        let held = Self::of(row)?;
        Ok(Self {
            waits: true,
            ..held
        })
    }

    pub(super) fn is_expired(&self, now: i64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// Why a message is given up.
pub(super) const MAX_DELIVERIES: &str = "max_deliveries";
const EXPIRED: &str = "expired";

/// The errors that are kept of one message.
const KEPT_ERRORS: u32 = 10;

const PUT_READY: &str = "INSERT INTO queue_ready
    (grp, seq, rank, due, attempts, key, expires, shared) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const NOTE_EXPIRY: &str = "INSERT OR IGNORE INTO queue_expiry
    (grp, expires, seq, rank, due, key) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const PUT_WAITING: &str = "INSERT INTO queue_waiting
    (grp, seq, rank, due, key, expires, shared) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const PUT_DELAYED: &str = "INSERT INTO queue_delayed
    (grp, seq, rank, due, attempts, key, expires, shared, until)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
const NEXT_OF_KEY: &str = "DELETE FROM queue_waiting WHERE grp = ?1 AND key = ?2 AND seq =
    (SELECT min(seq) FROM queue_waiting WHERE grp = ?1 AND key = ?2)
    RETURNING seq, rank, due, 0, key, expires, shared";
const BURY: &str = "INSERT INTO queue_dead
    (grp, seq, rank, due, attempts, key, expires, shared, at, reason, id)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10,
        coalesce((SELECT substr(meta, 2, 16) FROM queue_message WHERE seq = ?2), zeroblob(16)))";

/// Moves messages of one group within a job.
#[derive(Debug)]
pub(super) struct Mover<'t> {
    pub(super) tx: &'t Tx<'t>,
    pub(super) registry: &'t mut Registry,
    pub(super) group: &'t Group,
}

impl Mover<'_> {
    fn count(&self, what: Count, delta: i64) {
        self.tx.add(what.of(self.group.id), delta);
    }

    /// Takes in a message that was just sent, or redriven.
    pub(super) fn admit(&mut self, held: Held) -> rusqlite::Result<()> {
        if held.due > self.tx.now() {
            return self.put_delayed(held, held.due);
        }
        match held.key {
            Some(key) if !self.becomes_head(key)? => self.put_waiting(held),
            _ => self.put_ready(held),
        }
    }

    /// Makes this message the head of its key, unless there is one.
    fn becomes_head(&self, key: i64) -> rusqlite::Result<bool> {
        let inserted = self
            .tx
            .prepare_cached("INSERT OR IGNORE INTO queue_key (grp, key) VALUES (?1, ?2)")?
            .execute((self.group.id, key))?;
        Ok(inserted == 1)
    }

    fn put_waiting(&self, held: Held) -> rusqlite::Result<()> {
        note_expiry(self.tx, self.group.id, held)?;
        self.tx.prepare_cached(PUT_WAITING)?.execute((
            self.group.id,
            held.seq,
            held.rank,
            held.due,
            held.key,
            held.expires,
            held.shared,
        ))?;
        self.count(Count::Ready, 1);
        Ok(())
    }

    fn put_ready(&mut self, held: Held) -> rusqlite::Result<()> {
        self.write_ready(held)?;
        self.count(Count::Ready, 1);
        Ok(())
    }

    fn write_ready(&mut self, held: Held) -> rusqlite::Result<()> {
        write_ready(self.tx, self.group.id, held)?;
        self.registry.touched.note(self.group.id);
        Ok(())
    }

    fn put_delayed(&mut self, held: Held, until: i64) -> rusqlite::Result<()> {
        self.tx.prepare_cached(PUT_DELAYED)?.execute((
            self.group.id,
            held.seq,
            held.rank,
            held.due,
            held.attempts,
            held.key,
            held.expires,
            held.shared,
            until,
        ))?;
        self.count(Count::Delayed, 1);
        self.set_alarm(until);
        Ok(())
    }

    /// Wakes those who wait for the group and would sleep past `at`.
    pub(super) fn set_alarm(&mut self, at: i64) {
        let group = self.group.id;
        let Some(&alarm) = self.registry.alarms.get(&group) else {
            return;
        };
        if at <= alarm {
            let channel = ready_channel(self.group.ns, &self.group.name);
            self.tx.notify(channel);
        }
        if at < alarm {
            // Not before: a job that fails wakes nobody, and later ones would rely on it.
            self.tx
                .after_commit(move || registry::lower_alarm(group, at));
        }
    }

    /// Hands a message on that came out of a lease or a delay: it is ready at its old place, or
    /// not before `until`.
    pub(super) fn put_back(&mut self, held: Held, until: i64) -> rusqlite::Result<()> {
        if held.is_expired(self.tx.now()) {
            self.expire(held)
        } else if until > self.tx.now() {
            self.put_delayed(held, until)
        } else {
            self.put_ready(held)
        }
    }

    /// Deals with an expired message that lies nowhere any more.
    pub(super) fn expire(&mut self, held: Held) -> rusqlite::Result<()> {
        match self.group.spec.expired {
            Expired::Drop => {
                self.count(Count::Expired, 1);
                self.drop_unasked(held)
            }
            Expired::DeadLetter => self.bury(held, EXPIRED),
        }
    }

    /// Makes a message that lies nowhere any more a dead letter.
    pub(super) fn bury(&mut self, held: Held, reason: &str) -> rusqlite::Result<()> {
        self.tx.prepare_cached(BURY)?.execute((
            self.group.id,
            held.seq,
            held.rank,
            held.due,
            held.attempts,
            held.key,
            held.expires,
            held.shared,
            self.tx.now(),
            reason,
        ))?;
        self.count(Count::Dead, 1);
        self.leave(held)
    }

    /// Forgets a message that lies nowhere any more.
    pub(super) fn finish(&mut self, held: Held) -> rusqlite::Result<()> {
        if held.attempts > 1 {
            self.forget_errors(held.seq)?;
        }
        self.leave(held)?;
        drop_body(self.tx, held)
    }

    /// Forgets a message that nobody has in hand: its last attempt, if any, has failed.
    pub(super) fn drop_unasked(&mut self, held: Held) -> rusqlite::Result<()> {
        if held.attempts > 0 {
            self.forget_errors(held.seq)?;
        }
        self.finish(held)
    }

    /// Makes room, and lets the next of its key come.
    fn leave(&mut self, held: Held) -> rusqlite::Result<()> {
        if let Some(expires) = held.expires {
            self.tx
                .prepare_cached(
                    "DELETE FROM queue_expiry WHERE grp = ?1 AND expires = ?2 AND seq = ?3",
                )?
                .execute((self.group.id, expires, held.seq))?;
        }
        if self.group.spec.max_length.is_some() {
            self.tx.notify(room_channel(self.group.id));
        }
        match held.key {
            Some(key) if !held.waits => self.free_key(key),
            _ => Ok(()),
        }
    }

    /// The next message of the key becomes its head.
    fn free_key(&mut self, key: i64) -> rusqlite::Result<()> {
        let next = self
            .tx
            .prepare_cached(NEXT_OF_KEY)?
            .query_row((self.group.id, key), Held::of)
            .optional()?;
        match next {
            // It was counted as ready all along.
            Some(next) => self.write_ready(next),
            None => {
                self.tx
                    .prepare_cached("DELETE FROM queue_key WHERE grp = ?1 AND key = ?2")?
                    .execute((self.group.id, key))?;
                Ok(())
            }
        }
    }

    /// Remembers what went wrong in the last attempt of a message.
    pub(super) fn note_error(&self, held: Held, error: &str) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached(
                "INSERT OR REPLACE INTO queue_error (grp, seq, attempt, at, error)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute((self.group.id, held.seq, held.attempts, self.tx.now(), error))?;
        if held.attempts > KEPT_ERRORS {
            self.tx
                .prepare_cached(
                    "DELETE FROM queue_error WHERE grp = ?1 AND seq = ?2 AND attempt <= ?3",
                )?
                .execute((self.group.id, held.seq, held.attempts - KEPT_ERRORS))?;
        }
        Ok(())
    }

    /// Forgets what went wrong with a message.
    pub(super) fn forget_errors(&self, seq: i64) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached("DELETE FROM queue_error WHERE grp = ?1 AND seq = ?2")?
            .execute((self.group.id, seq))?;
        Ok(())
    }
}

/// Writes a message to its place among the ready ones.
pub(super) fn write_ready(tx: &Tx<'_>, group: i64, held: Held) -> rusqlite::Result<()> {
    note_expiry(tx, group, held)?;
    let row = (
        group,
        held.seq,
        held.rank,
        held.due,
        held.attempts,
        held.key,
        held.expires,
        held.shared,
    );
    tx.run(PUT_READY, row)?;
    Ok(())
}

/// Notes where a message lies that expires there.
fn note_expiry(tx: &Tx<'_>, group: i64, held: Held) -> rusqlite::Result<()> {
    if let Some(expires) = held.expires {
        let row = (group, expires, held.seq, held.rank, held.due, held.key);
        tx.run(NOTE_EXPIRY, row)?;
    }
    Ok(())
}

/// Drops the message itself, once no group has it any more.
pub(super) fn drop_body(tx: &Tx<'_>, held: Held) -> rusqlite::Result<()> {
    if held.shared {
        let holders: Option<i64> = tx
            .prepare_cached(
                "UPDATE queue_share SET holders = holders - 1 WHERE seq = ?1 RETURNING holders",
            )?
            .query_row((held.seq,), |row| row.get(0))
            .optional()?;
        if holders.is_some_and(|holders| holders > 0) {
            return Ok(());
        }
        tx.prepare_cached("DELETE FROM queue_share WHERE seq = ?1")?
            .execute((held.seq,))?;
    }
    tx.run("DELETE FROM queue_message WHERE seq = ?1", (held.seq,))?;
    Ok(())
}
