//! The producer: offers messages, and waits where a group is full.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use statehouse_contracts::{
    Durability, Error, ErrorKind, Message, MessageId, Producer, ProducerCapability, Result,
    SendOptions, Sent,
};

use crate::gate::{Look, look};
use crate::queue::messages::Queue;
use crate::queue::sending::Offer;
use crate::queue::{MAX_BATCH, MAX_DELAY, MAX_PAYLOAD};
use crate::store::Handle;
use crate::time::{Time, deadline};

/// A handle that sends in one namespace.
#[derive(Debug)]
pub(crate) struct MemoryProducer(pub(crate) Handle);

impl Handle {
    /// Runs `act` on the queue, after what is due by now has happened.
    pub(crate) fn with_queue<T>(
        &self,
        act: impl FnOnce(&mut Queue, Time) -> Result<T>,
    ) -> Result<T> {
        self.gate.check()?;
        let mut queue = self.space.queue.lock();
        let now = self.store.clock.now();
        queue.advance(now);
        let answer = act(&mut queue, now);
        self.store.alarm.arm(queue.next_due());
        answer
    }
}

#[async_trait]
impl Producer for MemoryProducer {
    fn capability(&self) -> ProducerCapability {
        ProducerCapability {
            durability: Durability::NONE,
            max_payload: MAX_PAYLOAD,
            max_headers: 64,
            max_header_bytes: 8 * 1024,
            max_batch: MAX_BATCH,
            dedup_window: Some(self.0.store.config.message_window),
            max_delay: Some(MAX_DELAY),
            delay_precision: Duration::from_millis(2),
            cancel: true,
            routed: true,
            require_route: true,
            ttl: true,
        }
    }

    async fn send(&self, batch: Vec<Message>, options: SendOptions) -> Result<Vec<Result<Sent>>> {
        self.0.gate.check()?;
        let end = deadline(Instant::now(), options.admission);
        let mut answers = Vec::with_capacity(batch.len());
        let mut failed_keys = HashSet::new();
        let mut batch = batch.into_iter();
        while let Some(full) =
            self.offer_all(&mut batch, options, &mut answers, &mut failed_keys)?
        {
            let key = full.ordering_key.clone();
            let answer = self.wait_for_room(full, options, end).await;
            note_failure(&answer, key, &mut failed_keys);
            answers.push(answer);
        }
        Ok(answers)
    }

    async fn cancel(&self, id: MessageId) -> Result<bool> {
        self.0.with_queue(|queue, now| Ok(queue.cancel(id, now)))
    }

    async fn close(&self) -> Result<()> {
        self.0.gate.close();
        Ok(())
    }
}

impl MemoryProducer {
    /// Sends what it can under one lock, up to a message for which there is no room.
    fn offer_all(
        &self,
        batch: &mut std::vec::IntoIter<Message>,
        options: SendOptions,
        answers: &mut Vec<Result<Sent>>,
        failed_keys: &mut HashSet<String>,
    ) -> Result<Option<Message>> {
        self.0.with_queue(|queue, now| {
            while let Some(message) = batch.next() {
                let key = &message.ordering_key;
                if !failed_keys.is_empty()
                    && let Some(key) = key.as_ref().filter(|key| failed_keys.contains(*key))
                {
                    answers.push(Err(not_sent(key)));
                    continue;
                }
                // Only what comes after it asks for its key.
                let key = key
                    .as_ref()
                    .filter(|_| !batch.as_slice().is_empty())
                    .cloned();
                match queue.offer(message, options.require_route, now) {
                    Offer::Full(message, _) => return Ok(Some(*message)),
                    Offer::Done(answer) => {
                        note_failure(&answer, key, failed_keys);
                        answers.push(answer);
                    }
                }
            }
            Ok(None)
        })
    }

    async fn wait_for_room(
        &self,
        message: Message,
        options: SendOptions,
        end: Instant,
    ) -> Result<Sent> {
        let topic = message.topic.clone();
        let mut waiting = Some(message);
        let offer = || {
            self.0.with_queue(|queue, now| {
                let message = waiting
                    .take()
                    .ok_or_else(|| Error::internal("offered twice"))?;
                match queue.offer(message, options.require_route, now) {
                    Offer::Done(answer) => Ok(Look::Found(answer?)),
                    Offer::Full(message, room) => {
                        waiting = Some(*message);
                        Ok(Look::Empty(room))
                    }
                }
            })
        };
        let left = end.saturating_duration_since(Instant::now());
        match look(&self.0.gate, left, offer).await? {
            Some(sent) => Ok(sent),
            None => Err(self.0.space.queue.lock().why_full(&topic)),
        }
    }
}

fn note_failure(answer: &Result<Sent>, key: Option<String>, failed_keys: &mut HashSet<String>) {
    if answer.is_err() {
        failed_keys.extend(key);
    }
}

fn not_sent(key: &str) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("an earlier message of the ordering key {key:?} in this batch failed"),
    )
}

/// A producer of one namespace.
pub(crate) fn producer(handle: Handle) -> Arc<dyn Producer> {
    Arc::new(MemoryProducer(handle))
}
