//! Sending.

use std::collections::HashSet;
use std::time::Instant;

use async_trait::async_trait;
use statehouse_contracts::{
    Error, ErrorKind, Message, MessageId, Producer, ProducerCapability, Result, SendOptions, Sent,
};
use statehouse_wire::{CancelledDoc, ItemsDoc, MessageDoc, OutcomeDoc, SentDoc, Span};

use crate::batch::{Part, fitted, parts};
use crate::client::Handle;
use crate::error::of_service;

/// Sends by way of the service.
#[derive(Debug)]
pub(crate) struct HttpProducer {
    handle: Handle,
    capability: ProducerCapability,
}

impl HttpProducer {
    pub(crate) fn new(handle: Handle, capability: ProducerCapability) -> Self {
        Self { handle, capability }
    }

    async fn send_part(&self, part: &Part, options: SendOptions) -> Result<Vec<Result<Sent>>> {
        let rest = format!(
            ",\"admission\":\"{}\",\"require_route\":{}",
            Span(options.admission),
            options.require_route
        );
        let request = self.handle.post("send", &["v1", "messages"]);
        let request = request.json_bytes(part.document("messages", &rest));
        let answer = request.admitted_within(options.admission).answer();
        let outcomes: ItemsDoc<OutcomeDoc<SentDoc>> = answer.await?;
        Ok(outcomes.items.into_iter().map(outcome).collect())
    }
}

/// The answer to one item of a batch.
pub(crate) fn outcome<D, T: From<D>>(outcome: OutcomeDoc<D>) -> Result<T> {
    match outcome {
        OutcomeDoc::Ok(document) => Ok(document.into()),
        OutcomeDoc::Error(document) => Err(of_service(*document)),
    }
}

/// A batch that goes in several parts: what the later ones must know of the earlier.
#[derive(Debug, Default)]
struct Progress {
    answers: Vec<Result<Sent>>,
    /// Ordering keys with an item that failed.
    failed: HashSet<String>,
}

impl Progress {
    /// Notes the answers of the next items, whose ordering keys these are.
    fn note(&mut self, keys: &[Option<String>], answers: Vec<Result<Sent>>) {
        for (key, answer) in keys.iter().zip(&answers) {
            if let (Some(key), Err(_)) = (key, answer) {
                self.failed.insert(key.clone());
            }
        }
        self.answers.extend(answers);
    }

    fn blocks(&self, key: Option<&String>) -> bool {
        key.is_some_and(|key| self.failed.contains(key))
    }
}

fn held_back(key: &str) -> Error {
    let message = format!("an earlier message of the ordering key {key:?} failed in this batch");
    Error::new(ErrorKind::Conflict, message).with_operation("send")
}

#[async_trait]
impl Producer for HttpProducer {
    fn capability(&self) -> ProducerCapability {
        self.capability
    }

    async fn send(&self, batch: Vec<Message>, options: SendOptions) -> Result<Vec<Result<Sent>>> {
        let begun = Instant::now();
        if batch.len() > self.capability.max_batch {
            let (got, most) = (batch.len() as u64, self.capability.max_batch as u64);
            let error = Error::beyond_limit("the number of messages", got, "max_batch", most);
            return Err(error.with_operation("send"));
        }
        let keys: Vec<_> = batch.iter().map(|m| m.ordering_key.clone()).collect();
        let whole = parts(
            batch.iter().cloned().map(MessageDoc::from),
            self.handle.room(),
        )?;
        if let [part] = whole.as_slice() {
            return self.send_part(part, options).await;
        }
        let mut progress = Progress::default();
        for part in whole {
            let first = progress.answers.len();
            let range = first..first + part.len;
            let left = options.admission.saturating_sub(begun.elapsed());
            let options = SendOptions {
                admission: left,
                ..options
            };
            let blocked = keys[range.clone()]
                .iter()
                .any(|key| progress.blocks(key.as_ref()));
            let answers = match blocked {
                false => self.send_part(&part, options).await,
                true => {
                    self.send_unblocked(&batch[range.clone()], &progress, options)
                        .await
                }
            };
            if first == 0
                && let Err(error) = answers
            {
                return Err(error);
            }
            progress.note(&keys[range], fitted(part.len, answers));
        }
        Ok(progress.answers)
    }

    async fn cancel(&self, id: MessageId) -> Result<bool> {
        let id = id.to_string();
        let request = self.handle.delete("cancel", &["v1", "messages", &id]);
        let answer: CancelledDoc = request.answer().await?;
        Ok(answer.cancelled)
    }

    async fn close(&self) -> Result<()> {
        self.handle.close();
        Ok(())
    }
}

impl HttpProducer {
    /// Sends those of `batch` whose ordering key has not failed before.
    async fn send_unblocked(
        &self,
        batch: &[Message],
        progress: &Progress,
        options: SendOptions,
    ) -> Result<Vec<Result<Sent>>> {
        let free = |message: &&Message| !progress.blocks(message.ordering_key.as_ref());
        let free = batch.iter().filter(free).cloned();
        let rest = parts(free.map(MessageDoc::from), self.handle.room())?;
        let mut sent = Vec::new();
        for part in rest.into_iter().filter(|part| part.len > 0) {
            let answers = self.send_part(&part, options).await;
            sent.extend(fitted(part.len, answers));
        }
        let mut sent = sent.into_iter();
        let answers = batch.iter().map(|message| match &message.ordering_key {
            Some(key) if progress.failed.contains(key) => Err(held_back(key)),
            _ => sent
                .next()
                .unwrap_or_else(|| Err(Error::internal("fewer answers than messages"))),
        });
        Ok(answers.collect())
    }
}
