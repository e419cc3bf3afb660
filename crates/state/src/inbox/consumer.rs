//! A consumer that hands out what is not known, for handlers whose effects lie elsewhere.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use statehouse_contracts::{
    Broadcast, Consumer, ConsumerCapability, Counts, DeadLetter, Declared, Delivery, GroupName,
    GroupSpec, GroupStatus, Lease, LeaseToken, MessageId, Page, PageCursor, Pattern, QueueAdmin,
    Receive, Received, Result, Settle, SettleAction, Settled, StateKey, Write,
};

use super::Inbox;

/// A consumer around a consumer, that records each message before it is acknowledged, and
/// acknowledges without handing it out what was recorded before.
///
/// What a broker redelivers after an ack is not handled again. A crash between a handler's effect
/// and its ack is not covered, nor are two consumers that have one message in hand at once: where
/// the effect is a write of state, use [`MessageProcessor`](crate::MessageProcessor).
///
/// While the inbox's store cannot be reached nothing is handed out, and nothing is acknowledged:
/// receives and acks fail, and what was leased comes back when its lease ends.
#[derive(Debug)]
pub struct Deduplicated {
    inner: Arc<dyn Consumer>,
    inbox: Inbox,
    in_hand: Mutex<HashMap<LeaseToken, InHand>>,
}

/// A delivery that was handed out and not settled.
#[derive(Clone, Debug)]
struct InHand {
    mark: Write,
    deadline: Instant,
}

impl Deduplicated {
    /// For how long after the end of its lease a delivery's ack is still recorded.
    const LATE: Duration = Duration::from_secs(60);

    /// `consumer` with what `inbox` remembers.
    pub fn new(consumer: Arc<dyn Consumer>, inbox: Inbox) -> Self {
        Self {
            inner: consumer,
            inbox,
            in_hand: Mutex::default(),
        }
    }

    /// Acknowledges what is known, and gives the rest, but for what this consumer has in hand
    /// already: that comes back when its lease ends, and is known by then.
    async fn sift(&self, got: Vec<Delivery>) -> Result<Vec<Delivery>> {
        let known = self.inbox.known(&got).await?;
        let (repeats, new): (Vec<_>, Vec<_>) =
            got.into_iter().zip(known).partition(|(_, known)| *known);
        if !repeats.is_empty() {
            metrics::counter!("statehouse_inbox_known_total").increment(repeats.len() as u64);
            let acks = repeats.iter().map(|(delivery, _)| delivery.ack()).collect();
            for answer in self.inner.settle(acks).await? {
                if let Err(error) = answer {
                    tracing::debug!(%error, "a known message comes once more");
                }
            }
        }
        self.take_in_hand(new.into_iter().map(|(delivery, _)| delivery))
    }

    fn take_in_hand(&self, new: impl Iterator<Item = Delivery>) -> Result<Vec<Delivery>> {
        let now = Instant::now();
        let mut in_hand = self.in_hand.lock();
        in_hand.retain(|_, held| held.deadline + Self::LATE > now);
        let running = in_hand.values().filter(|held| held.deadline > now);
        let mut busy: HashSet<StateKey> = running.map(|held| held.mark.key.clone()).collect();
        let mut taken = Vec::new();
        for delivery in new {
            let mark = self.inbox.mark(&delivery)?;
            if busy.insert(mark.key.clone()) {
                let Lease { token, deadline } = delivery.lease.clone();
                in_hand.insert(token, InHand { mark, deadline });
                taken.push(delivery);
            }
        }
        Ok(taken)
    }

    fn mark_of(&self, token: &LeaseToken) -> Option<Write> {
        self.in_hand.lock().get(token).map(|held| held.mark.clone())
    }

    /// Takes note of how a settle ended.
    fn settled(&self, token: &LeaseToken, answer: &Result<Settled>) {
        let Ok(settled) = answer else { return };
        let mut in_hand = self.in_hand.lock();
        let Some(held) = in_hand.remove(token) else {
            return;
        };
        if let Some(lease) = &settled.lease {
            let deadline = lease.deadline;
            in_hand.insert(lease.token.clone(), InHand { deadline, ..held });
        }
    }
}

#[async_trait]
impl Consumer for Deduplicated {
    fn capability(&self) -> ConsumerCapability {
        self.inner.capability()
    }

    async fn declare(&self, group: &GroupName, spec: &GroupSpec) -> Result<Declared> {
        self.inner.declare(group, spec).await
    }

    async fn receive(&self, group: &GroupName, receive: Receive) -> Result<Vec<Delivery>> {
        let begun = Instant::now();
        loop {
            let wait = receive.wait.saturating_sub(begun.elapsed());
            let got = self
                .inner
                .receive(group, Receive { wait, ..receive })
                .await?;
            if got.is_empty() {
                return Ok(got);
            }
            let fresh = self.sift(got).await?;
            if !fresh.is_empty() {
                return Ok(fresh);
            }
        }
    }

    async fn settle(&self, batch: Vec<Settle>) -> Result<Vec<Result<Settled>>> {
        let done = batch
            .iter()
            .filter(|settle| settle.action == SettleAction::Ack);
        let mut marks: Vec<Write> = done
            .filter_map(|settle| self.mark_of(&settle.token))
            .collect();
        marks.sort_by(|a, b| a.key.cmp(&b.key));
        marks.dedup_by(|a, b| a.key == b.key);
        self.inbox.record(marks).await?;
        let tokens: Vec<LeaseToken> = batch.iter().map(|settle| settle.token.clone()).collect();
        let answers = self.inner.settle(batch).await?;
        for (token, answer) in tokens.iter().zip(&answers) {
            self.settled(token, answer);
        }
        Ok(answers)
    }

    async fn broadcast(&self, pattern: &Pattern) -> Result<Box<dyn Broadcast>> {
        self.inner.broadcast(pattern).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

#[async_trait]
impl QueueAdmin for Deduplicated {
    async fn groups(&self) -> Result<Vec<GroupStatus>> {
        self.inner.groups().await
    }

    async fn pause(&self, group: &GroupName) -> Result<()> {
        self.inner.pause(group).await
    }

    async fn resume(&self, group: &GroupName) -> Result<()> {
        self.inner.resume(group).await
    }

    async fn delete_group(&self, group: &GroupName) -> Result<bool> {
        self.inner.delete_group(group).await
    }

    async fn counts(&self, group: &GroupName) -> Result<Counts> {
        self.inner.counts(group).await
    }

    async fn oldest_ready_age(&self, group: &GroupName) -> Result<Option<Duration>> {
        self.inner.oldest_ready_age(group).await
    }

    async fn peek(&self, group: &GroupName, max: usize) -> Result<Vec<(Received, u32)>> {
        self.inner.peek(group, max).await
    }

    async fn dead_letters(
        &self,
        group: &GroupName,
        limit: usize,
        after: Option<&PageCursor>,
    ) -> Result<Page<DeadLetter>> {
        self.inner.dead_letters(group, limit, after).await
    }

    async fn redrive(&self, group: &GroupName, id: Option<MessageId>) -> Result<u64> {
        self.inner.redrive(group, id).await
    }

    async fn purge(&self, group: &GroupName, dead: bool) -> Result<u64> {
        self.inner.purge(group, dead).await
    }
}
