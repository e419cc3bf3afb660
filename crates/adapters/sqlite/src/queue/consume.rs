//! The receiving side: waiting for messages, handing them over, and the jobs of administration.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use statehouse_contracts::{
    Broadcast, Counts, DeadLetter, Declared, Delivery, Error, ErrorKind, GroupName, GroupSpec,
    GroupStatus, Lease, MessageId, Page, PageCursor, Pattern, Receive, Received, Result, Settle,
    SettleAction, Settled,
};

use super::{
    MAX_RECEIVE, admin, dead, groups,
    place::Mover,
    ready_channel,
    receive::{self, Batch, Stored},
    registry,
    settle::{self, Outcome},
    slot::{Nothing, Slot, Waiting},
    subscription,
    token::Token,
};
use crate::{
    engine::{Tx, Woken},
    error::Failure,
    housekeeping::Progress,
    session::Session,
    time,
};

/// Makes the group, or checks that it is there with the same spec.
pub(crate) async fn declare(
    session: &Session,
    group: &GroupName,
    spec: &GroupSpec,
) -> Result<Declared> {
    let (ns, name, spec) = (session.ns, group.clone(), spec.clone());
    session
        .write("declare", move |tx| groups::declare(tx, ns, &name, &spec))
        .await
}

/// Takes up to `max` messages: at once what is there, else waits for the first.
pub(crate) async fn receive(
    session: &Session,
    name: &GroupName,
    receive: Receive,
) -> Result<Vec<Delivery>> {
    let wanted = Receive {
        max: receive.max.min(MAX_RECEIVE),
        ..receive
    };
    if wanted.max == 0 {
        // In line it would only hold up others.
        return Ok(Vec::new());
    }
    let until = time::deadline(wanted.wait);
    loop {
        let found = take(session, name, wanted, until).await?;
        let Some((batch, asked)) = found else {
            return Ok(Vec::new());
        };
        let (deliveries, unreadable) = deliveries(batch, name, asked)?;
        if !unreadable.is_empty() {
            tracing::error!(group = %name, messages = unreadable.len(), "stored messages cannot be read");
            settle(session, unreadable).await?;
        }
        if !deliveries.is_empty() {
            return Ok(deliveries);
        }
        // All of them were damaged: what lies behind them may be whole.
    }
}

/// Leases up to `max` messages: at once what is there, else waits for the first.
async fn take(
    session: &Session,
    name: &GroupName,
    wanted: Receive,
    until: tokio::time::Instant,
) -> Result<Option<(Batch, Instant)>> {
    let waits = !wanted.wait.is_zero();
    let mut listener = waits.then(|| session.listen(&[ready_channel(session.ns, name)]));
    let waiting = Waiting::new(&session.store.engine, wanted.max, wanted.lease, waits);
    loop {
        ask(session, name, waiting.slot()).await?;
        let found = waiting.take();
        if found.is_some() {
            return Ok(found);
        }
        let wake = match waiting.nothing() {
            Nothing::Known => continue,
            Nothing::Yet => until,
            Nothing::Until(at) => instant(at).min(until),
        };
        let Some(listener) = &mut listener else {
            return Ok(None);
        };
        let woken = tokio::select! {
            () = waiting.filled() => Ok(Woken::Notified),
            woken = session.wait(listener, wake) => woken,
        };
        let found = waiting.take();
        if found.is_some() {
            return Ok(found);
        }
        woken?;
        if tokio::time::Instant::now() >= until {
            return Ok(None);
        }
    }
}

/// When the backend's clock shows `at`.
fn instant(at: i64) -> tokio::time::Instant {
    let wait = at.saturating_sub(time::now()).try_into().unwrap_or(0);
    // Timers are exact to the millisecond and never early.
    time::deadline(Duration::from_micros(wait))
}

/// Asks for messages, once.
async fn ask(session: &Session, name: &GroupName, slot: &Arc<Slot>) -> Result<()> {
    session.check_open()?;
    let (ns, name, slot) = (session.ns, name.clone(), Arc::clone(slot));
    // An attempt must survive a kill of the process; after a loss of power nobody holds the lease
    // that was forgotten.
    let job = move |tx: &Tx<'_>| receive::ask(tx, ns, &name, &slot);
    let asked = session.store.engine.write_relaxed(job).await;
    asked.map_err(|failure: Failure| failure.of("receive"))
}

/// The deliveries of a batch; and for each message that cannot be read, the settle that makes it
/// the group's dead letter, so that it holds up no other.
fn deliveries(
    batch: Batch,
    name: &GroupName,
    asked: Instant,
) -> Result<(Vec<Delivery>, Vec<Settle>)> {
    let deadline = asked.checked_add(batch.lease).unwrap_or(asked);
    let size = u32::try_from(batch.messages.len()).unwrap_or(u32::MAX);
    let mut deliveries = Vec::with_capacity(batch.messages.len());
    let mut unreadable = Vec::new();
    for (stored, place) in batch.messages.into_iter().zip(0..) {
        let token = Token {
            group: batch.group,
            deadline: batch.deadline,
            seq: stored.held.seq,
            batch: batch.number,
            place,
            size,
        };
        // The row was read before this attempt was counted.
        let attempt = stored.held.attempts + 1;
        let token = token.seal()?;
        match stored.received() {
            Ok(received) => deliveries.push(Delivery {
                received,
                group: name.clone(),
                attempt,
                lease: Lease { token, deadline },
            }),
            Err(problem) => unreadable.push(Settle {
                token,
                action: SettleAction::DeadLetter {
                    reason: format!("unreadable: {}", problem.message()),
                },
            }),
        }
    }
    Ok((deliveries, unreadable))
}

/// Settles each; one answer per item, in the same order.
pub(crate) async fn settle(session: &Session, batch: Vec<Settle>) -> Result<Vec<Result<Settled>>> {
    let asked = Instant::now();
    let mut answers = Vec::with_capacity(batch.len());
    let mut items = Vec::with_capacity(batch.len());
    for settle in batch {
        match Token::open(&settle.token) {
            Ok(token) => {
                items.push((token, settle.action));
                answers.push(None);
            }
            Err(error) => answers.push(Some(error.with_operation("settle"))),
        }
    }
    let leases: Vec<Option<Duration>> = items
        .iter()
        .map(|(_, action)| match action {
            SettleAction::Extend { lease } => Some(*lease),
            _ => None,
        })
        .collect();
    let ns = session.ns;
    let outcomes = session
        .write("settle", move |tx| settle::settle(tx, ns, &items))
        .await?;
    let mut outcomes = outcomes.into_iter().zip(leases);
    Ok(answers
        .into_iter()
        .map(|refused| match refused {
            Some(error) => Err(error),
            None => settled(outcomes.next(), asked),
        })
        .collect())
}

fn settled(outcome: Option<(Outcome, Option<Duration>)>, asked: Instant) -> Result<Settled> {
    match outcome {
        Some((Outcome::Done, _)) => Ok(Settled { lease: None }),
        Some((Outcome::Extended(token), lease)) => Ok(Settled {
            lease: Some(Lease {
                token: token.seal()?,
                deadline: asked
                    .checked_add(lease.unwrap_or_default())
                    .unwrap_or(asked),
            }),
        }),
        Some((Outcome::Lost, _)) => Err(Error::new(
            ErrorKind::LeaseLost,
            "the lease has ended, was replaced, or was settled otherwise",
        )
        .with_operation("settle")),
        None => Err(Error::internal("a settle was not answered")),
    }
}

/// Listens without a group.
pub(crate) async fn broadcast(session: &Session, pattern: &Pattern) -> Result<Box<dyn Broadcast>> {
    subscription::listen(session, pattern).await
}

/// The groups, by name.
pub(crate) async fn groups(session: &Session) -> Result<Vec<GroupStatus>> {
    let ns = session.ns;
    let groups = session
        .read("groups", move |connection| registry::all(connection, ns))
        .await?;
    let status = |group: registry::Group| GroupStatus {
        group: group.name,
        spec: group.spec,
        paused: group.paused,
    };
    Ok(groups.into_iter().map(status).collect())
}

/// Pauses or resumes.
pub(crate) async fn set_paused(
    session: &Session,
    operation: &'static str,
    group: &GroupName,
    paused: bool,
) -> Result<()> {
    let (ns, name) = (session.ns, group.clone());
    session
        .write(operation, move |tx| {
            groups::set_paused(tx, ns, &name, paused)
        })
        .await
}

/// Deletes the group and what it holds; answers whether it was there.
pub(crate) async fn delete(session: &Session, group: &GroupName) -> Result<bool> {
    let (ns, name) = (session.ns, group.clone());
    let deleted = session
        .write("delete_group", move |tx| groups::delete(tx, ns, &name))
        .await?;
    if deleted.is_none() {
        return Ok(false);
    }
    // What it held goes in pieces, so that others are not held up.
    while session.write("delete_group", groups::clear_doomed).await? == Progress::More {}
    Ok(true)
}

/// Runs a job on a group that has been caught up with the time.
async fn on_group<T, F>(
    session: &Session,
    operation: &'static str,
    group: &GroupName,
    work: F,
) -> Result<T>
where
    F: Fn(&mut Mover<'_>) -> Result<T, Failure> + Clone + Send + 'static,
    T: Send + 'static,
{
    loop {
        let (ns, name, work) = (session.ns, group.clone(), work.clone());
        let done = session
            .write(operation, move |tx| admin::on_group(tx, ns, &name, &work))
            .await?;
        if let Some(done) = done {
            return Ok(done);
        }
    }
}

/// How many messages it holds.
pub(crate) async fn counts(session: &Session, group: &GroupName) -> Result<Counts> {
    let count = |mover: &mut Mover<'_>| Ok(admin::counts(mover.tx, mover.group)?);
    on_group(session, "counts", group, count).await
}

/// For how long the oldest ready message has been due.
pub(crate) async fn oldest_ready_age(
    session: &Session,
    group: &GroupName,
) -> Result<Option<Duration>> {
    let age = |mover: &mut Mover<'_>| Ok(admin::oldest_ready_age(mover.tx, mover.group)?);
    on_group(session, "oldest_ready_age", group, age).await
}

/// The next ready messages, with the number of their last attempt.
pub(crate) async fn peek(
    session: &Session,
    group: &GroupName,
    max: usize,
) -> Result<Vec<(Received, u32)>> {
    let max = max.min(MAX_RECEIVE);
    let peek = move |mover: &mut Mover<'_>| Ok(admin::peek(mover.tx, mover.group, max)?);
    let messages = on_group(session, "peek", group, peek).await?;
    let shown = |stored: Stored| {
        let attempts = stored.held.attempts;
        Ok((stored.shown()?, attempts))
    };
    messages.into_iter().map(shown).collect()
}

/// A page of its dead letters, oldest first; a limit of 0 is the largest.
pub(crate) async fn dead_letters(
    session: &Session,
    group: &GroupName,
    limit: usize,
    after: Option<&PageCursor>,
) -> Result<Page<DeadLetter>> {
    let limit = match limit {
        0 => MAX_RECEIVE,
        limit => limit.min(MAX_RECEIVE),
    };
    let after = match after {
        None => 0,
        Some(cursor) => cursor.0.parse().map_err(|_| {
            Error::invalid(format!("{cursor:?} is no cursor of dead letters"))
                .with_operation("dead_letters")
        })?,
    };
    let read = move |mover: &mut Mover<'_>| dead::read_page(mover.tx, mover.group.id, limit, after);
    on_group(session, "dead_letters", group, read).await?.page()
}

/// Puts dead letters back: the one with this id, or all. Answers how many.
pub(crate) async fn redrive(
    session: &Session,
    group: &GroupName,
    id: Option<MessageId>,
) -> Result<u64> {
    let Some(id) = id else {
        return clear_dead(session, "redrive", group, false).await;
    };
    let one = move |mover: &mut Mover<'_>| dead::redrive_one(mover, id);
    if on_group(session, "redrive", group, one).await? {
        return Ok(1);
    }
    Err(Error::not_found("there is no such dead letter")
        .with_operation("redrive")
        .with_context("group", group)
        .with_context("id", id))
}

/// Redrives, or with `purge` deletes, all dead letters that are there now.
async fn clear_dead(
    session: &Session,
    operation: &'static str,
    group: &GroupName,
    purge: bool,
) -> Result<u64> {
    let newest = |mover: &mut Mover<'_>| Ok(dead::newest(mover.tx, mover.group.id)?);
    let up_to = on_group(session, operation, group, newest).await?;
    let mut cleared = 0;
    loop {
        let some = move |mover: &mut Mover<'_>| dead::clear_some(mover, up_to, purge);
        match on_group(session, operation, group, some).await? {
            0 => return Ok(cleared),
            some => cleared += some as u64,
        }
    }
}

/// Deletes what is ready and delayed, or with `dead` the dead letters. Answers how many.
pub(crate) async fn purge(session: &Session, group: &GroupName, dead: bool) -> Result<u64> {
    if dead {
        return clear_dead(session, "purge", group, true).await;
    }
    let held = counts(session, group)
        .await
        .map_err(|error| error.with_operation("purge"))?;
    // As many as there are now: what is sent meanwhile is not chased.
    let mut left = usize::try_from(held.ready + held.delayed).unwrap_or(usize::MAX);
    let mut purged = 0;
    while left > 0 {
        let some = move |mover: &mut Mover<'_>| admin::purge_some(mover, left);
        match on_group(session, "purge", group, some).await? {
            0 => break,
            some => {
                left -= some;
                purged += some as u64;
            }
        }
    }
    Ok(purged)
}
