//! Settling deliveries by their tokens.

use std::{collections::HashMap, sync::Arc, time::Duration};

use rusqlite::OptionalExtension;
use statehouse_contracts::SettleAction;

use super::{
    Count, ack, handover, next_batch,
    place::{Held, Mover},
    registry::{self, Group, Registry},
    tidy,
    token::Token,
};
use crate::{engine::Tx, error::Failure, time::after};

/// The answer to one settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// The lease goes on under this token.
    Extended(Token),
    /// The lease has ended, or was replaced.
    Lost,
}

// Two statements, because RETURNING builds a table for its answer, which costs more than both.
const FIND: &str = "SELECT seq, rank, due, attempts, key, expires, shared FROM queue_leased
    WHERE grp = ?1 AND deadline = ?2 AND seq = ?3 AND batch = ?4";
const REMOVE: &str = "DELETE FROM queue_leased WHERE grp = ?1 AND deadline = ?2 AND seq = ?3";
const PUT: &str = "INSERT INTO queue_leased
    (grp, seq, rank, due, attempts, key, expires, shared, deadline, batch)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// Takes a message out of its lease; `None` when it is not in that lease any more.
pub(super) fn take(
    tx: &Tx<'_>,
    grp: i64,
    deadline: i64,
    seq: i64,
    batch: i64,
) -> rusqlite::Result<Option<Held>> {
    let held = tx
        .prepare_cached(FIND)?
        .query_row((grp, deadline, seq, batch), Held::of)
        .optional()?;
    if held.is_some() {
        tx.prepare_cached(REMOVE)?.execute((grp, deadline, seq))?;
    }
    Ok(held)
}

/// Settles each in turn.
pub(super) fn settle(
    tx: &Tx<'_>,
    ns: i64,
    items: &[(Token, SettleAction)],
) -> Result<Vec<Outcome>, Failure> {
    let registry = registry::fresh(tx)?;
    let registry = &mut *registry.borrow_mut();
    let mut settled = Settled::default();
    let mut outcomes = Vec::with_capacity(items.len());
    let mut group: Option<Arc<Group>> = None;
    let mut rest = items;
    while let Some((token, _)) = rest.first() {
        if group.as_ref().is_none_or(|group| group.id != token.group) {
            group = registry.group(token.group);
        }
        let Some(group) = group.as_deref().filter(|group| group.ns == ns) else {
            outcomes.push(Outcome::Lost);
            rest = &rest[1..];
            continue;
        };
        let (same, others) = rest.split_at(ack::run(rest).max(1));
        rest = others;
        if ack::together(tx, group, same)? {
            for (token, action) in same {
                settled.note(tx, *token, code(action))?;
                outcomes.push(Outcome::Done);
            }
            continue;
        }
        for (token, action) in same {
            let outcome = settle_one(tx, registry, group, &mut settled, *token, action)?;
            outcomes.push(outcome);
        }
    }
    settled.write(tx)?;
    handover::at_end(tx, registry);
    Ok(outcomes)
}

fn settle_one(
    tx: &Tx<'_>,
    registry: &mut Registry,
    group: &Group,
    settled: &mut Settled,
    token: Token,
    action: &SettleAction,
) -> Result<Outcome, Failure> {
    let held = if token.deadline > tx.now() {
        take(tx, token.group, token.deadline, token.seq, token.batch)?
    } else {
        None
    };
    let Some(held) = held else {
        let repeated = settled.action(tx, token)? == Some(code(action));
        return Ok(if repeated {
            Outcome::Done
        } else {
            Outcome::Lost
        });
    };
    let mut mover = Mover {
        tx,
        registry,
        group,
    };
    if let SettleAction::Extend { lease } = action {
        return Ok(extend(&mut mover, held, token, *lease)?);
    }
    tx.add(Count::Leased.of(group.id), -1);
    match action {
        SettleAction::Nack { delay, error } => nack(&mut mover, held, *delay, error.as_deref())?,
        SettleAction::DeadLetter { reason } => mover.bury(held, reason)?,
        SettleAction::Ack | SettleAction::Extend { .. } => mover.finish(held)?,
    }
    settled.note(tx, token, code(action))?;
    Ok(Outcome::Done)
}

fn nack(
    mover: &mut Mover<'_>,
    held: Held,
    delay: Option<Duration>,
    error: Option<&str>,
) -> rusqlite::Result<()> {
    let delay = delay.unwrap_or_else(|| mover.group.spec.backoff.wait(held.attempts, fraction()));
    let until = after(mover.tx.now(), delay);
    tidy::fail_attempt(mover, held, error.unwrap_or(NACKED), until)
}

/// What is said of an attempt that was given back without a word.
const NACKED: &str = "nacked";

/// A random number in 0.0..1.0.
fn fraction() -> f64 {
    let bits = registry::random().cast_unsigned() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

fn extend(
    mover: &mut Mover<'_>,
    held: Held,
    token: Token,
    lease: Duration,
) -> rusqlite::Result<Outcome> {
    let token = Token {
        deadline: after(mover.tx.now(), lease),
        batch: next_batch(mover.tx)?,
        place: 0,
        size: 1,
        ..token
    };
    mover.tx.prepare_cached(PUT)?.execute((
        token.group,
        held.seq,
        held.rank,
        held.due,
        held.attempts,
        held.key,
        held.expires,
        held.shared,
        token.deadline,
        token.batch,
    ))?;
    mover.set_alarm(token.deadline);
    Ok(Outcome::Extended(token))
}

/// How an action is remembered.
fn code(action: &SettleAction) -> u8 {
    match action {
        SettleAction::Ack => 1,
        SettleAction::Nack { .. } => 2,
        SettleAction::DeadLetter { .. } => 3,
        SettleAction::Extend { .. } => 4,
    }
}

/// How the deliveries of some batches were settled: a row per batch, so that remembering costs
/// little where many are settled together.
#[derive(Debug, Default)]
struct Settled {
    batches: HashMap<i64, Vec<u8>>,
    changed: Vec<i64>,
}

impl Settled {
    fn batch(&mut self, tx: &Tx<'_>, token: Token) -> rusqlite::Result<&mut Vec<u8>> {
        use std::collections::hash_map::Entry;
        match self.batches.entry(token.batch) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(new) => {
                let stored: Option<Vec<u8>> = tx
                    .prepare_cached("SELECT actions FROM queue_settled WHERE batch = ?1")?
                    .query_row((token.batch,), |row| row.get(0))
                    .optional()?;
                Ok(new.insert(stored.unwrap_or_default()))
            }
        }
    }

    /// How this delivery was settled, if it was.
    fn action(&mut self, tx: &Tx<'_>, token: Token) -> rusqlite::Result<Option<u8>> {
        let actions = self.batch(tx, token)?;
        Ok(actions.get(token.place as usize).copied())
    }

    fn note(&mut self, tx: &Tx<'_>, token: Token, action: u8) -> rusqlite::Result<()> {
        if token.size == 1 {
            // It held the lease until now, so nothing is remembered yet.
            self.batches.insert(token.batch, Vec::new());
        }
        let actions = self.batch(tx, token)?;
        let place = token.place as usize;
        if actions.len() <= place {
            actions.resize((token.size as usize).max(place + 1), 0);
        }
        actions[place] = action;
        if self.changed.last() != Some(&token.batch) {
            self.changed.push(token.batch);
        }
        Ok(())
    }

    fn write(&self, tx: &Tx<'_>) -> rusqlite::Result<()> {
        for batch in &self.changed {
            if let Some(actions) = self.batches.get(batch) {
                tx.prepare_cached(
                    "INSERT OR REPLACE INTO queue_settled (batch, at, actions)
                     VALUES (?1, ?2, ?3)",
                )?
                .execute((batch, tx.now(), actions))?;
            }
        }
        Ok(())
    }
}
