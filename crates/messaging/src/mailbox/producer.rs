//! Sending to mailboxes that are made first.

use std::sync::Arc;

use async_trait::async_trait;
use statehouse_contracts::{
    Error, Message, MessageId, Producer, ProducerCapability, Result, SendOptions, Sent,
};

use super::Mailboxes;

/// A producer that makes each mailbox as [`Mailboxes`] do, before the first message to it would
/// make it with the promise of the backend: for who sends what others wrote, such as an outbox.
#[derive(Debug)]
pub struct MailboxProducer {
    mail: Mailboxes,
    producer: Arc<dyn Producer>,
}

impl MailboxProducer {
    /// Sends with `producer`.
    pub fn new(mail: Mailboxes, producer: Arc<dyn Producer>) -> Self {
        Self { mail, producer }
    }

    async fn make(&self, message: &Message) -> Result<()> {
        match message.topic.is_mailbox() {
            true => self.mail.make(&message.topic).await,
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Producer for MailboxProducer {
    fn capability(&self) -> ProducerCapability {
        self.producer.capability()
    }

    /// A message whose mailbox cannot be made has that error.
    async fn send(&self, batch: Vec<Message>, options: SendOptions) -> Result<Vec<Result<Sent>>> {
        let mut refused = Vec::with_capacity(batch.len());
        let mut rest = Vec::with_capacity(batch.len());
        for message in batch {
            let made = self.make(&message).await;
            if made.is_ok() {
                rest.push(message);
            }
            refused.push(made.err());
        }
        let sent = match rest.is_empty() {
            true => Vec::new(),
            false => self.producer.send(rest, options).await?,
        };
        let mut sent = sent.into_iter();
        let mut next = || {
            sent.next()
                .unwrap_or_else(|| Err(Error::internal("send answered too few messages")))
        };
        Ok(refused
            .into_iter()
            .map(|refused| refused.map_or_else(&mut next, Err))
            .collect())
    }

    async fn cancel(&self, id: MessageId) -> Result<bool> {
        self.producer.cancel(id).await
    }

    async fn close(&self) -> Result<()> {
        self.producer.close().await
    }
}
