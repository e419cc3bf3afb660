//! Producer and consumer.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use statehouse_contracts::{
    Broadcast, Consumer, ConsumerCapability, Counts, DeadLetter, Declared, Delivery, Error,
    ErrorKind, Expired, GroupName, GroupSpec, GroupStatus, Message, MessageId, Overflow, Page,
    PageCursor, Pattern, Producer, ProducerCapability, QueueAdmin, Receive, Received, Result,
    SendOptions, Sent, Settle, SettleAction, Settled, Start,
};

use super::{Guard, limits};

impl Guard<dyn Producer> {
    fn check(&self, message: &Message, capability: &ProducerCapability) -> Result<()> {
        let headers = (capability.max_headers, capability.max_header_bytes);
        limits::message(message, capability.max_payload, headers)?;
        match capability.max_delay {
            None if !message.delay.is_zero() => {
                return Err(Error::unsupported(self.backend, "delay"));
            }
            Some(longest) if message.delay > longest => {
                return Err(Error::invalid(format!(
                    "delay is {:?}, longer than max_delay = {longest:?}",
                    message.delay
                )));
            }
            _ => {}
        }
        if message.ttl.is_some() && !capability.ttl {
            return Err(Error::unsupported(self.backend, "ttl"));
        }
        Ok(())
    }

    /// Checks each item. After a refused one, the later ones of its ordering key are refused too.
    fn check_all(&self, batch: Vec<Message>) -> Vec<Result<Message>> {
        let capability = self.inner.capability();
        let mut blocked: HashSet<String> = HashSet::new();
        let check = |message: Message| {
            let behind = message
                .ordering_key
                .as_ref()
                .is_some_and(|key| blocked.contains(key));
            let checked = if behind {
                Err(behind_a_failure())
            } else {
                self.check(&message, &capability)
            };
            match checked {
                Ok(()) => Ok(message),
                Err(error) => {
                    blocked.extend(message.ordering_key);
                    Err(error.with_operation("send"))
                }
            }
        };
        batch.into_iter().map(check).collect()
    }
}

fn behind_a_failure() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "an earlier message of its ordering key in this batch failed",
    )
}

#[async_trait]
impl Producer for Guard<dyn Producer> {
    fn capability(&self) -> ProducerCapability {
        self.inner.capability()
    }

    async fn send(&self, batch: Vec<Message>, options: SendOptions) -> Result<Vec<Result<Sent>>> {
        let capability = self.inner.capability();
        limits::at_most("batch", batch.len(), "max_batch", capability.max_batch)?;
        if options.require_route && !capability.require_route {
            return Err(Error::unsupported(self.backend, "require_route"));
        }
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        super::merge(self.check_all(batch), |good| self.inner.send(good, options)).await
    }

    async fn cancel(&self, id: MessageId) -> Result<bool> {
        if !self.inner.capability().cancel {
            return Err(Error::unsupported(self.backend, "cancel"));
        }
        self.inner.cancel(id).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

impl Guard<dyn Consumer> {
    fn supported(&self, able: bool, operation: &'static str) -> Result<()> {
        if able {
            Ok(())
        } else {
            Err(Error::unsupported(self.backend, operation))
        }
    }

    fn check_spec(&self, spec: &GroupSpec) -> Result<()> {
        let can = self.inner.capability();
        limits::at_least_one("max_deliveries", spec.max_deliveries as usize)?;
        if spec.max_length == Some(0) {
            return Err(Error::invalid("max_length is 0; leave it out for no bound"));
        }
        limits::lease(spec.lease, can.min_lease, can.max_lease)?;
        limits::backoff(&spec.backoff)?;
        self.supported(
            spec.start == Start::Now || can.start_earliest,
            "start = earliest",
        )?;
        self.supported(!spec.ordering || can.ordering_keys, "ordering")?;
        self.supported(!spec.priorities || can.priorities > 1, "priorities")?;
        self.supported(
            spec.priorities || can.priorities <= 1 || can.equal_priorities,
            "priorities = false",
        )?;
        if spec.max_length.is_some() {
            match spec.overflow {
                Overflow::Reject => self.supported(can.overflow_reject, "overflow = reject")?,
                Overflow::DropOldest => {
                    self.supported(can.overflow_drop_oldest, "overflow = drop_oldest")?;
                }
            }
        }
        self.supported(
            spec.expired == Expired::Drop || can.expired_dead_letters,
            "expired = dead_letter",
        )
    }

    fn check_settle(&self, can: &ConsumerCapability, settle: Settle) -> Result<Settle> {
        let Settle { token, action } = settle;
        let action = match action {
            SettleAction::Ack => SettleAction::Ack,
            SettleAction::Nack { delay, error } => {
                self.supported(delay.is_none() || can.nack_delay, "nack with a delay")?;
                limits::duration("delay", delay.unwrap_or_default())?;
                SettleAction::Nack {
                    delay,
                    error: error.map(limits::error_text),
                }
            }
            SettleAction::DeadLetter { reason } => SettleAction::DeadLetter {
                reason: limits::error_text(reason),
            },
            SettleAction::Extend { lease } => {
                limits::lease(lease, can.min_lease, can.max_lease)?;
                SettleAction::Extend { lease }
            }
        };
        Ok(Settle { token, action })
    }
}

#[async_trait]
impl Consumer for Guard<dyn Consumer> {
    fn capability(&self) -> ConsumerCapability {
        self.inner.capability()
    }

    async fn declare(&self, group: &GroupName, spec: &GroupSpec) -> Result<Declared> {
        self.check_spec(spec)
            .map_err(|error| error.with_context("group", group))?;
        self.inner.declare(group, spec).await
    }

    async fn receive(&self, group: &GroupName, receive: Receive) -> Result<Vec<Delivery>> {
        let can = self.inner.capability();
        limits::at_least_one("max", receive.max)?;
        limits::at_most("max", receive.max, "max_receive", can.max_receive)?;
        limits::duration("wait", receive.wait)?;
        if let Some(lease) = receive.lease {
            limits::lease(lease, can.min_lease, can.max_lease)?;
        }
        self.inner.receive(group, receive).await
    }

    async fn settle(&self, batch: Vec<Settle>) -> Result<Vec<Result<Settled>>> {
        let can = self.inner.capability();
        let checked: Vec<Result<Settle>> = batch
            .into_iter()
            .map(|settle| self.check_settle(&can, settle))
            .collect();
        super::merge(checked, |good| self.inner.settle(good)).await
    }

    async fn broadcast(&self, pattern: &Pattern) -> Result<Box<dyn Broadcast>> {
        self.supported(self.inner.capability().broadcast, "broadcast")?;
        self.inner.broadcast(pattern).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

#[async_trait]
impl QueueAdmin for Guard<dyn Consumer> {
    async fn groups(&self) -> Result<Vec<GroupStatus>> {
        self.supported(self.inner.capability().admin.list, "groups")?;
        self.inner.groups().await
    }

    async fn pause(&self, group: &GroupName) -> Result<()> {
        self.supported(self.inner.capability().admin.pause, "pause")?;
        self.inner.pause(group).await
    }

    async fn resume(&self, group: &GroupName) -> Result<()> {
        self.supported(self.inner.capability().admin.pause, "resume")?;
        self.inner.resume(group).await
    }

    async fn delete_group(&self, group: &GroupName) -> Result<bool> {
        self.supported(self.inner.capability().admin.delete, "delete_group")?;
        self.inner.delete_group(group).await
    }

    async fn counts(&self, group: &GroupName) -> Result<Counts> {
        self.supported(self.inner.capability().admin.counts, "counts")?;
        self.inner.counts(group).await
    }

    async fn oldest_ready_age(&self, group: &GroupName) -> Result<Option<Duration>> {
        self.supported(self.inner.capability().admin.oldest_age, "oldest_ready_age")?;
        self.inner.oldest_ready_age(group).await
    }

    async fn peek(&self, group: &GroupName, max: usize) -> Result<Vec<(Received, u32)>> {
        let can = self.inner.capability();
        self.supported(can.admin.peek, "peek")?;
        limits::at_least_one("max", max)?;
        limits::at_most("max", max, "max_receive", can.max_receive)?;
        self.inner.peek(group, max).await
    }

    async fn dead_letters(
        &self,
        group: &GroupName,
        limit: usize,
        after: Option<&PageCursor>,
    ) -> Result<Page<DeadLetter>> {
        let can = self.inner.capability();
        self.supported(can.admin.dead_letters, "dead_letters")?;
        limits::at_most("limit", limit, "max_receive", can.max_receive)?;
        self.inner.dead_letters(group, limit, after).await
    }

    async fn redrive(&self, group: &GroupName, id: Option<MessageId>) -> Result<u64> {
        self.supported(self.inner.capability().admin.redrive, "redrive")?;
        self.inner.redrive(group, id).await
    }

    async fn purge(&self, group: &GroupName, dead: bool) -> Result<u64> {
        self.supported(self.inner.capability().admin.purge, "purge")?;
        self.inner.purge(group, dead).await
    }
}
