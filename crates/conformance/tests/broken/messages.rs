//! A producer and a consumer with faults.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use statehouse_contracts::{
    Broadcast, BroadcastEvent, Consumer, ConsumerCapability, Counts, DeadLetter, Declared,
    Delivery, Error, ErrorKind, GroupName, GroupSpec, GroupStatus, Message, MessageId, Page,
    PageCursor, Pattern, Priority, Producer, ProducerCapability, QueueAdmin, Receive, Received,
    Result, SendOptions, Sent, Settle, SettleAction, Settled,
};

use crate::Broken;
use crate::faults::Fault;

/// Counts the messages that pass, to lose every seventh.
static PASSED: AtomicU64 = AtomicU64::new(0);

impl Broken<dyn Producer> {
    /// The message as the fault lets it through.
    fn twisted(&self, mut message: Message) -> Message {
        match self.fault {
            Fault::IgnoresIdempotencyKeys => {
                message.idempotency_key = Some(MessageId::random().to_string());
            }
            Fault::IgnoresPriorities => message.priority = Priority::NORMAL,
            Fault::IgnoresOrderingKeys => message.ordering_key = None,
            Fault::IgnoresDelays => message.delay = Duration::ZERO,
            Fault::IgnoresExpiry => message.ttl = None,
            _ => {}
        }
        message
    }

    async fn lossy(&self, batch: Vec<Message>, options: SendOptions) -> Result<Vec<Result<Sent>>> {
        let mut answers = Vec::new();
        for message in batch {
            if PASSED.fetch_add(1, Ordering::Relaxed) % 7 == 6 {
                answers.push(Ok(Sent {
                    id: message.id,
                    routed: Some(1),
                    duplicate_of: None,
                }));
            } else {
                answers.extend(self.inner.send(vec![message], options).await?);
            }
        }
        Ok(answers)
    }
}

/// The same message under another name.
fn twin(message: &Message) -> Message {
    Message {
        id: MessageId::random(),
        idempotency_key: None,
        ..message.clone()
    }
}

#[async_trait]
impl Producer for Broken<dyn Producer> {
    fn capability(&self) -> ProducerCapability {
        let mut capability = self.inner.capability();
        capability.max_headers += usize::from(self.is(Fault::Overclaims));
        capability
    }

    async fn send(&self, batch: Vec<Message>, options: SendOptions) -> Result<Vec<Result<Sent>>> {
        if self.is(Fault::LosesMessages) {
            return self.lossy(batch, options).await;
        }
        if self.is(Fault::DoublesMessages) {
            self.inner
                .send(batch.iter().map(twin).collect(), options)
                .await?;
        }
        let batch = batch
            .into_iter()
            .map(|message| self.twisted(message))
            .collect();
        self.inner.send(batch, options).await
    }

    async fn cancel(&self, id: MessageId) -> Result<bool> {
        self.inner.cancel(id).await
    }

    async fn close(&self) -> Result<()> {
        if self.is(Fault::StaysOpen) {
            Ok(())
        } else {
            self.inner.close().await
        }
    }
}

impl Broken<dyn Consumer> {
    async fn settle_one(&self, settle: Settle) -> Result<Settled> {
        if self.is(Fault::DropsAcks) && settle.action == SettleAction::Ack {
            return Ok(Settled { lease: None });
        }
        let missing = || Err(Error::internal("settle answered nothing"));
        let settled = self
            .inner
            .settle(vec![settle])
            .await?
            .pop()
            .unwrap_or_else(missing);
        match settled {
            Err(error)
                if self.is(Fault::HidesLostLeases) && error.kind() == ErrorKind::LeaseLost =>
            {
                Ok(Settled { lease: None })
            }
            settled => settled,
        }
    }
}

#[async_trait]
impl Consumer for Broken<dyn Consumer> {
    fn capability(&self) -> ConsumerCapability {
        self.inner.capability()
    }

    async fn declare(&self, group: &GroupName, spec: &GroupSpec) -> Result<Declared> {
        let mut spec = spec.clone();
        if self.is(Fault::RetriesForEver) {
            spec.max_deliveries = u32::MAX;
        }
        if self.is(Fault::IgnoresMaxLength) {
            spec.max_length = None;
        }
        match self.inner.declare(group, &spec).await {
            Err(error) if self.is(Fault::AcceptsAnySpec) && error.kind() == ErrorKind::Conflict => {
                Ok(Declared { created: false })
            }
            declared => declared,
        }
    }

    async fn receive(&self, group: &GroupName, mut receive: Receive) -> Result<Vec<Delivery>> {
        if self.is(Fault::DoesNotWait) {
            receive.wait = Duration::ZERO;
        }
        let mut got = self.inner.receive(group, receive).await?;
        if self.is(Fault::ReversesBatches) {
            got.reverse();
        }
        if self.is(Fault::ForgetsAttempts) {
            got.iter_mut().for_each(|delivery| delivery.attempt = 1);
        }
        Ok(got)
    }

    async fn settle(&self, batch: Vec<Settle>) -> Result<Vec<Result<Settled>>> {
        let mut answers = Vec::new();
        for settle in batch {
            answers.push(self.settle_one(settle).await);
        }
        Ok(answers)
    }

    async fn broadcast(&self, pattern: &Pattern) -> Result<Box<dyn Broadcast>> {
        if self.is(Fault::IgnoresPatterns) {
            return self.inner.broadcast(&Pattern::ALL).await;
        }
        let inner = self.inner.broadcast(pattern).await?;
        let hides_gaps = self.is(Fault::HidesGaps);
        Ok(Box::new(Listener { inner, hides_gaps }))
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

/// A broadcast that may hide what it missed.
#[derive(Debug)]
struct Listener {
    inner: Box<dyn Broadcast>,
    hides_gaps: bool,
}

#[async_trait]
impl Broadcast for Listener {
    async fn next(&mut self, wait: Duration) -> Result<Option<BroadcastEvent>> {
        loop {
            let event = self.inner.next(wait).await?;
            if !(self.hides_gaps && matches!(event, Some(BroadcastEvent::Gap { .. }))) {
                return Ok(event);
            }
        }
    }
}

#[async_trait]
impl QueueAdmin for Broken<dyn Consumer> {
    async fn groups(&self) -> Result<Vec<GroupStatus>> {
        self.inner.groups().await
    }

    async fn pause(&self, group: &GroupName) -> Result<()> {
        if self.is(Fault::IgnoresPauses) {
            return Ok(());
        }
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
        let peeked = self.inner.peek(group, max).await?;
        if self.is(Fault::ConsumesWhenPeeking) {
            self.inner
                .receive(group, Receive::new(1, Duration::ZERO))
                .await?;
        }
        Ok(peeked)
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
