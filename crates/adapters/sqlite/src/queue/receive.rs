//! Handing messages out.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rusqlite::Row;
use statehouse_contracts::{GroupName, Receive, Received, Result, Topic};

use super::{
    Count, groups,
    handover::{self, Slot},
    meta, next_batch,
    place::{Held, Mover},
    registry::{self, Group, Registry},
    rows, send,
    tidy::{self, Tidied},
};
use crate::{
    engine::Tx,
    error::Failure,
    time::{after, timestamp},
};

/// The most payload bytes of one receive, unless a single message has more.
pub(super) const MAX_BYTES: usize = 32 << 20;

const LOOK: &str = "SELECT r.seq, r.rank, r.due, r.attempts, r.key, r.expires, r.shared,
        m.sent_at, m.meta, m.payload
    FROM queue_ready r LEFT JOIN queue_message m ON m.seq = r.seq
    WHERE r.grp = ?1 ORDER BY r.rank, r.due, r.seq LIMIT ?2";
const LEASE: &str = "INSERT INTO queue_leased
        (grp, deadline, seq, batch, rank, due, attempts, key, expires, shared)
    SELECT grp, ?3, seq, ?4, rank, due, attempts + 1, key, expires, shared
    FROM queue_ready WHERE grp = ?1 ORDER BY rank, due, seq LIMIT ?2";
const REMOVE: &str = "DELETE FROM queue_ready
    WHERE grp = ?1 AND (rank, due, seq) <= (?2, ?3, ?4)";

/// What a look for messages finds.
#[derive(Debug)]
pub(super) enum Look {
    Leased(Batch),
    /// Nothing in this group until a time, unless something happens before.
    Nothing {
        group: i64,
        next: Option<i64>,
    },
}

/// Messages that were handed out together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) group: i64,
    pub(super) number: i64,
    pub(super) deadline: i64,
    pub(super) lease: Duration,
    pub(super) messages: Vec<Stored>,
}

/// A message as it was read, not decoded yet.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) held: Held,
    sent_at: Option<i64>,
    meta: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
}

impl Stored {
    /// From a row that begins with the columns of [`Held::of`], then sent_at, meta, payload.
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            held: Held::of(row)?,
            sent_at: row.get(7)?,
            meta: row.get(8)?,
            payload: row.get(9)?,
        })
    }

    pub(super) fn size(&self) -> usize {
        self.payload.as_ref().map_or(0, Vec::len)
    }

    /// The message and its times.
    pub(super) fn received(self) -> Result<Received> {
        let message = meta::decode(
            &self.meta.unwrap_or_default(),
            Bytes::from(self.payload.unwrap_or_default()),
        )?;
        Ok(Received {
            message,
            sent_at: timestamp(self.sent_at.unwrap_or_default()),
            due_at: timestamp(self.held.due),
            expires_at: self.held.expires.map(timestamp),
        })
    }
}

/// Leases what is ready; `None` when the group must be tidied by another job first. Where nothing
/// is ready, the slot is parked.
pub(super) fn look(
    tx: &Tx<'_>,
    ns: i64,
    name: &GroupName,
    wanted: Receive,
    slot: Option<&Arc<Slot>>,
) -> Result<Option<Look>, Failure> {
    let registry = registry::fresh(tx)?;
    let registry = &mut *registry.borrow_mut();
    let group = group(tx, registry, ns, name)?;
    if let Some(slot) = slot {
        registry.parking.leave(group.id, slot);
    }
    let look = lease(tx, registry, &group, wanted.max, wanted.lease)?;
    if let (Some(Look::Nothing { .. }), Some(slot)) = (&look, slot) {
        registry.parking.park(group.id, slot);
    }
    handover::wrap_up(tx, registry)?;
    Ok(look)
}

/// Leases what is ready of a group, at most `max`; `None` when it must be tidied first.
pub(super) fn lease(
    tx: &Tx<'_>,
    registry: &mut Registry,
    group: &Group,
    max: usize,
    lease: Option<Duration>,
) -> Result<Option<Look>, Failure> {
    let nothing = |next| {
        Some(Look::Nothing {
            group: group.id,
            next,
        })
    };
    if group.paused {
        return Ok(nothing(None));
    }
    let mut mover = Mover {
        tx,
        registry,
        group,
    };
    if tidy::tidy(&mut mover)? == Tidied::Partly {
        return Ok(None);
    }
    let messages = ready(tx, group.id, max)?;
    let Some(last) = messages.last() else {
        let next = tidy::next_event(tx, group.id)?;
        registry.alarms.insert(group.id, next.unwrap_or(i64::MAX));
        return Ok(nothing(next));
    };
    let lease = lease.unwrap_or(group.spec.lease);
    let deadline = after(tx.now(), lease);
    let number = next_batch(tx)?;
    let (grp, last) = (group.id, last.held);
    tx.run(LEASE, (grp, rows(messages.len()), deadline, number))?;
    tx.run(REMOVE, (grp, last.rank, last.due, last.seq))?;
    let count = rows(messages.len());
    tx.add(Count::Ready.of(grp), -count);
    tx.add(Count::Leased.of(grp), count);
    mover.set_alarm(deadline);
    Ok(Some(Look::Leased(Batch {
        group: grp,
        number,
        deadline,
        lease,
        messages,
    })))
}

/// The group; a mailbox that is not there is declared.
fn group(
    tx: &Tx<'_>,
    registry: &mut Registry,
    ns: i64,
    name: &GroupName,
) -> Result<Arc<Group>, Failure> {
    if registry.named(ns, name).is_none() && name.is_mailbox() {
        send::declare_mailbox(tx, ns, &Topic::new(name.as_str())?)?;
        registry.catch_up(tx)?;
    }
    registry
        .named(ns, name)
        .ok_or_else(|| groups::unknown(name).into())
}

/// The next ready messages, in their order.
pub(super) fn ready(tx: &Tx<'_>, grp: i64, max: usize) -> rusqlite::Result<Vec<Stored>> {
    let mut statement = tx.prepare_cached(LOOK)?;
    let mut found = statement.query((grp, rows(max)))?;
    let (mut messages, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next()? {
        let stored = Stored::of(row)?;
        bytes += stored.size();
        if bytes > MAX_BYTES && !messages.is_empty() {
            break;
        }
        messages.push(stored);
    }
    Ok(messages)
}

/// Takes back a delivery that nobody got: it counts no attempt.
pub(super) fn unlease(tx: &Tx<'_>, batch: &Returned) -> Result<(), Failure> {
    let registry = registry::fresh(tx)?;
    let registry = &mut *registry.borrow_mut();
    let Some(group) = registry.group(batch.group) else {
        return Ok(());
    };
    for seq in &batch.seqs {
        let Some(held) = settle_take(tx, batch, *seq)? else {
            continue;
        };
        tx.add(Count::Leased.of(batch.group), -1);
        let mut mover = Mover {
            tx,
            registry,
            group: &group,
        };
        let untouched = Held {
            attempts: held.attempts.saturating_sub(1),
            ..held
        };
        mover.put_back(untouched, 0)?;
    }
    handover::wrap_up(tx, registry)?;
    Ok(())
}

fn settle_take(tx: &Tx<'_>, batch: &Returned, seq: i64) -> rusqlite::Result<Option<Held>> {
    super::settle::take(tx, batch.group, batch.deadline, seq, batch.number)
}

/// A batch that nobody got.
#[derive(Debug)]
pub(super) struct Returned {
    group: i64,
    number: i64,
    deadline: i64,
    seqs: Vec<i64>,
}

impl From<&Batch> for Returned {
    fn from(batch: &Batch) -> Self {
        Self {
            group: batch.group,
            number: batch.number,
            deadline: batch.deadline,
            seqs: batch.messages.iter().map(|m| m.held.seq).collect(),
        }
    }
}
