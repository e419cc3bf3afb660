//! Handing messages out.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rusqlite::Row;
use statehouse_contracts::{Error, GroupName, Message, Received, Result, Topic};

use super::{
    Count, groups, handover, meta, next_batch,
    place::{Held, Mover},
    registry::{self, Group, Registry},
    rows, send,
    slot::{Nothing, Slot},
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
const LEASE_SENT: &str = "INSERT INTO queue_leased
        (grp, deadline, seq, batch, rank, due, attempts, key, expires, shared)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, NULL, ?7, ?8)";
const REMOVE: &str = "DELETE FROM queue_ready
    WHERE grp = ?1 AND (rank, due, seq) <= (?2, ?3, ?4)";

/// What a look for messages finds.
#[derive(Debug)]
pub(super) enum Look {
    Leased(Batch),
    Nothing(Nothing),
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

/// A message on its way to a consumer.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) held: Held,
    sent_at: Option<i64>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// As it was read, not decoded yet.
    Encoded { meta: Vec<u8>, payload: Vec<u8> },
    /// As it was sent.
    Whole(Arc<Message>),
}

impl Stored {
    /// From a row that begins with the columns of [`Held::of`], then sent_at, meta, payload.
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            held: Held::of(row)?,
            sent_at: row.get(7)?,
            content: Content::Encoded {
                meta: row.get::<_, Option<_>>(8)?.unwrap_or_default(),
                payload: row.get::<_, Option<_>>(9)?.unwrap_or_default(),
            },
        })
    }

    /// As it was sent in this transaction.
    pub(super) fn sent(held: Held, at: i64, message: Arc<Message>) -> Self {
        Self {
            held,
            sent_at: Some(at),
            content: Content::Whole(message),
        }
    }

    pub(super) fn size(&self) -> usize {
        match &self.content {
            Content::Encoded { payload, .. } => payload.len(),
            Content::Whole(message) => message.bytes().len(),
        }
    }

    /// The message and its times.
    ///
    /// # Errors
    /// `Corrupted` when it cannot be read.
    pub(super) fn received(self) -> Result<Received> {
        self.read(|_, _, problem| Err(problem))
    }

    /// The message and its times, to be looked at; of one that cannot be read, what is left.
    pub(super) fn shown(self) -> Result<Received> {
        self.read(|meta, payload, problem| meta::salvage(meta, payload, &problem))
    }

    fn read(
        self,
        unreadable: impl FnOnce(&[u8], Bytes, Error) -> Result<Message>,
    ) -> Result<Received> {
        let message = match self.content {
            Content::Whole(message) => Arc::unwrap_or_clone(message),
            Content::Encoded { meta, payload } => {
                let payload = Bytes::from(payload);
                meta::decode(&meta, payload.clone())
                    .or_else(|problem| unreadable(&meta, payload, problem))?
            }
        };
        Ok(Received {
            message,
            sent_at: timestamp(self.sent_at.unwrap_or_default()),
            due_at: timestamp(self.held.due),
            expires_at: self.held.expires.map(timestamp),
        })
    }
}

/// Puts a call in line for messages of a group: its slot is filled once this is committed, or
/// knows why it is not.
pub(super) fn ask(tx: &Tx<'_>, ns: i64, name: &GroupName, slot: &Arc<Slot>) -> Result<(), Failure> {
    let registry = registry::fresh(tx)?;
    let registry = &mut *registry.borrow_mut();
    let group = group(tx, registry, ns, name)?;
    handover::ask(registry, &group, slot);
    handover::at_end(tx, registry);
    Ok(())
}

/// Leases what is ready of a group, at most `max`.
pub(super) fn lease(
    tx: &Tx<'_>,
    registry: &mut Registry,
    group: &Group,
    max: usize,
    lease: Option<Duration>,
) -> Result<Look, Failure> {
    if group.paused {
        return Ok(Look::Nothing(Nothing::Yet));
    }
    let mut mover = Mover {
        tx,
        registry,
        group,
    };
    if tidy::tidy(&mut mover)? == Tidied::Partly {
        return Ok(Look::Nothing(Nothing::Known));
    }
    let sent = handover::take_incoming(tx, mover.registry, group.id, max)?;
    let just_sent = sent.is_some();
    let messages = match sent {
        Some(messages) => messages,
        None => {
            handover::write_incoming(tx, mover.registry)?;
            ready(tx, group.id, max)?
        }
    };
    if messages.is_empty() {
        let next = tidy::next_event(tx, group.id)?;
        let alarm = next.unwrap_or(i64::MAX);
        mover.registry.alarms.insert(group.id, alarm);
        return Ok(Look::Nothing(next.map_or(Nothing::Yet, Nothing::Until)));
    }
    let lease = lease.unwrap_or(group.spec.lease);
    let terms = Terms {
        group: group.id,
        number: next_batch(tx)?,
        deadline: after(tx.now(), lease),
    };
    if just_sent {
        lease_sent(tx, terms, &messages)?;
    } else {
        lease_ready(tx, terms, &messages)?;
    }
    let count = rows(messages.len());
    tx.add(Count::Ready.of(group.id), -count);
    tx.add(Count::Leased.of(group.id), count);
    mover.set_alarm(terms.deadline);
    Ok(Look::Leased(Batch {
        group: group.id,
        number: terms.number,
        deadline: terms.deadline,
        lease,
        messages,
    }))
}

/// What the leases of a batch have in common.
#[derive(Clone, Copy, Debug)]
struct Terms {
    group: i64,
    number: i64,
    deadline: i64,
}

/// Leases messages that do not lie in their places yet.
fn lease_sent(tx: &Tx<'_>, terms: Terms, messages: &[Stored]) -> rusqlite::Result<()> {
    for Stored { held, .. } in messages {
        let row = (
            terms.group,
            terms.deadline,
            held.seq,
            terms.number,
            held.rank,
            held.due,
            held.expires,
            held.shared,
        );
        tx.run(LEASE_SENT, row)?;
    }
    Ok(())
}

/// Leases messages that are the first of the ready ones.
fn lease_ready(tx: &Tx<'_>, terms: Terms, messages: &[Stored]) -> rusqlite::Result<()> {
    if let Some(Stored { held: last, .. }) = messages.last() {
        let count = rows(messages.len());
        tx.run(LEASE, (terms.group, count, terms.deadline, terms.number))?;
        tx.run(REMOVE, (terms.group, last.rank, last.due, last.seq))?;
    }
    Ok(())
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
    handover::at_end(tx, registry);
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
