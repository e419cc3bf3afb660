//! The outbox: messages that were committed with a change of state, until a relay has sent them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use fred::types::{Key, Value};
use statehouse_contracts::{
    Envelope, Error, ErrorKind, Lease, LeaseToken, Outbox, OutboxEntry, OutboxOutcome,
    OutboxSettle, Page, PageCursor, Result,
};

use super::apply::text;
use super::read::page_size;
use super::version::{damaged, moment};
use super::{DragonflyState, MAX_PAGE_BYTES, scripts};
use crate::reply::{Reply, Row};
use crate::script::Script;
use crate::time::{deadline, micros};
use crate::wake::Woken;

/// How many entries one script looks at.
const LOOKS: usize = 5000;
/// The largest place that scripts count to exactly; there is none beyond it.
const LAST_PLACE: u64 = 1 << 53;

/// The number of a lease, out of its token.
fn fence<'t>(state: &DragonflyState, token: &'t LeaseToken) -> Result<&'t str> {
    token
        .as_str()
        .strip_prefix("outbox.")
        .and_then(|rest| rest.rsplit_once('.'))
        .filter(|(namespace, _)| *namespace == state.session.namespace.as_str())
        .map(|(_, fence)| fence)
        .filter(|fence| fence.parse::<u64>().is_ok())
        .ok_or_else(lost)
}

fn lost() -> Error {
    Error::new(
        ErrorKind::LeaseLost,
        "the lease of the outbox has ended or was taken over; take it again",
    )
}

fn check_length(lease: Duration) -> Result<()> {
    if lease.is_zero() {
        return Err(Error::invalid("a lease of zero ends before it begins"));
    }
    Ok(())
}

impl DragonflyState {
    async fn outbox(
        &self,
        operation: &'static str,
        script: &'static Script,
        arguments: Vec<Value>,
    ) -> Result<Value> {
        let names = &self.names;
        let mut keys: Vec<Key> = vec![names.lease.clone(), names.outbox.clone()];
        keys.extend(names.parked.iter().cloned());
        let answer = self.session.script(operation, script, keys, arguments);
        answer.await
    }

    /// Runs a script that answers whether the lease held.
    async fn under_lease(
        &self,
        operation: &'static str,
        script: &'static Script,
        arguments: Vec<Value>,
    ) -> Result<()> {
        let answer = self.outbox(operation, script, arguments).await?;
        match Reply::from(answer).is("1") {
            true => Ok(()),
            false => Err(lost().with_operation(operation)),
        }
    }

    async fn to_send(&self, fence: &str, after: u64, limit: usize) -> Result<Vec<OutboxEntry>> {
        let mut after = after.min(LAST_PLACE);
        loop {
            let arguments = [text(fence), text(after), text(page_size(limit))]
                .into_iter()
                .chain([text(MAX_PAGE_BYTES), text(LOOKS)]);
            let arguments = arguments.collect();
            let answer = self.outbox("outbox_read", &scripts::OUTBOX_READ, arguments);
            let mut answer = Reply::from(answer.await?).row()?;
            if answer.text()? == "lost" {
                return Err(lost().with_operation("outbox_read"));
            }
            let (last, more) = (answer.number()?, answer.next()?.is("1"));
            let mut found = answer.next()?.list()?.peekable();
            if found.peek().is_some() || !more {
                return found.map(|reply| entry(reply.row()?)).collect();
            }
            after = last;
        }
    }

    /// Frees a parked entry.
    async fn free(&self, operation: &'static str, position: u64, drop: bool) -> Result<()> {
        let arguments = vec![text(position), text(if drop { "1" } else { "" })];
        let answer = self.outbox(operation, &scripts::RELEASE, arguments).await?;
        if Reply::from(answer).is("1") {
            return Ok(());
        }
        let message = format!("the outbox has no parked message at position {position}");
        Err(Error::not_found(message).with_operation(operation))
    }
}

#[async_trait]
impl Outbox for DragonflyState {
    async fn outbox_lease(&self, owner: &str, lease: Duration) -> Result<Option<Lease>> {
        check_length(lease)?;
        let begun = Instant::now();
        let arguments = vec![text(owner), text(micros(lease))];
        let answer = self
            .outbox("outbox_lease", &scripts::TAKE, arguments)
            .await?;
        let answer = Reply::from(answer);
        if answer.is_none() {
            return Ok(None);
        }
        let (namespace, fence) = (&self.session.namespace, answer.number::<u64>()?);
        Ok(Some(Lease {
            token: LeaseToken::new(format!("outbox.{namespace}.{fence}"))?,
            deadline: begun.checked_add(lease).unwrap_or(begun),
        }))
    }

    async fn outbox_extend(&self, token: &LeaseToken, lease: Duration) -> Result<Lease> {
        check_length(lease)?;
        let begun = Instant::now();
        let arguments = vec![text(fence(self, token)?), text(micros(lease))];
        self.under_lease("outbox_extend", &scripts::EXTEND, arguments)
            .await?;
        Ok(Lease {
            token: token.clone(),
            deadline: begun.checked_add(lease).unwrap_or(begun),
        })
    }

    async fn outbox_release(&self, token: &LeaseToken) -> Result<()> {
        let Ok(fence) = fence(self, token) else {
            return Ok(());
        };
        let arguments = vec![text(fence), text(0)];
        self.outbox("outbox_release", &scripts::EXTEND, arguments)
            .await
            .map(|_| ())
    }

    async fn outbox_read(
        &self,
        token: &LeaseToken,
        after: u64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<OutboxEntry>> {
        let fence = fence(self, token)?;
        let entries = self.to_send(fence, after, limit).await?;
        if !entries.is_empty() || wait.is_zero() {
            return Ok(entries);
        }
        let deadline = deadline(wait);
        let channel = self.names.outbox.as_str_lossy().into_owned();
        let mut listener = self.posted.listener(&self.session, &channel).await?;
        loop {
            listener.mark();
            let entries = self.to_send(fence, after, limit).await?;
            if !entries.is_empty() {
                return Ok(entries);
            }
            if self.session.wait(&mut listener, deadline).await? == Woken::Late {
                return self.to_send(fence, after, limit).await;
            }
        }
    }

    async fn outbox_settle(&self, token: &LeaseToken, settles: Vec<OutboxSettle>) -> Result<()> {
        let mut arguments = vec![text(fence(self, token)?)];
        for OutboxSettle { position, outcome } in settles {
            let (parked, reason) = match outcome {
                OutboxOutcome::Sent => ("", String::new()),
                OutboxOutcome::Parked { reason } => ("1", reason),
            };
            arguments.extend([text(position), text(parked), text(reason)]);
        }
        self.under_lease("outbox_settle", &scripts::SETTLE, arguments)
            .await
    }

    async fn outbox_depth(&self) -> Result<u64> {
        let answer = self.outbox("outbox_depth", &scripts::DEPTH, Vec::new());
        Reply::from(answer.await?).number()
    }

    async fn outbox_parked(
        &self,
        limit: usize,
        after: Option<&PageCursor>,
    ) -> Result<Page<OutboxEntry>> {
        let after = after.map(parse).transpose()?.unwrap_or(0);
        let arguments = vec![text(after), text(page_size(limit)), text(MAX_PAGE_BYTES)];
        let answer = self.outbox("outbox_parked", &scripts::PARKED, arguments);
        let mut answer = Reply::from(answer.await?).row()?;
        let items: Vec<OutboxEntry> = answer
            .next()?
            .list()?
            .map(|reply| entry(reply.row()?))
            .collect::<Result<_>>()?;
        let more = answer.next()?.is("1");
        let last = items.last().filter(|_| more);
        let next = last.map(|last| PageCursor(last.position.to_string()));
        Ok(Page { items, next })
    }

    async fn outbox_unpark(&self, position: u64) -> Result<()> {
        self.free("outbox_unpark", position, false).await
    }

    async fn outbox_discard(&self, position: u64) -> Result<()> {
        self.free("outbox_discard", position, true).await
    }
}

/// Place, time, properties, body, and the reason of one that is parked.
fn entry(mut answer: Row) -> Result<OutboxEntry> {
    let (position, at) = (answer.number()?, moment(&answer.text()?)?);
    let properties: BTreeMap<String, String> = serde_json::from_slice(&answer.bytes()?)
        .map_err(|error| damaged(format!("a message of the outbox cannot be read: {error}")))?;
    let envelope = Envelope {
        body: answer.bytes()?,
        properties,
    };
    let parked = match answer.is_empty() {
        true => None,
        false => Some(answer.text()?),
    };
    Ok(OutboxEntry {
        position,
        message: envelope.open()?,
        at,
        parked,
    })
}

/// The place after which a page of parked messages begins.
fn parse(cursor: &PageCursor) -> Result<u64> {
    let digits = cursor.0.bytes().all(|byte| byte.is_ascii_digit());
    let place = cursor.0.parse().ok().filter(|_| digits);
    place.ok_or_else(|| {
        Error::invalid("the page cursor is none that a page gave; begin without a cursor")
    })
}
