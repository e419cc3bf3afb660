//! Messages whose payload travels by value or by reference, as the policy says.

mod book;
mod budget;
mod dead;
mod hold;
mod incoming;
mod nowhere;
mod settle;
mod sweep;

use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{
    Backend, Bytes, Consumer, ConsumerExt, ContentType, Delivery, ErrorKind, GroupName, Message,
    MessageId, Payload, Producer, ProducerExt, Receive, ReferenceId, ReferenceStore, Result, Scope,
    SendOptions, Sent, Settle,
};

use crate::{Placement, Policy, PolicyManager};
pub use budget::Budget;
use hold::group_holder;
pub use incoming::{Incoming, json_payload};
pub use sweep::Swept;

/// How a messenger behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessengerOptions {
    /// How old a promoted message must be before [`Messenger::sweep`] looks after it: longer than
    /// any send takes. Default 10 min.
    pub grace: Duration,
    /// How long after a message's expiry its content is kept for who may still have it in hand,
    /// and for clocks that differ. Default 1 h.
    pub margin: Duration,
}

impl Default for MessengerOptions {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(600),
            margin: Duration::from_secs(3600),
        }
    }
}

/// Sends and receives messages of any size.
///
/// - `send` stores what the [`PolicyManager`] promotes in the reference store, and sends its
///   reference instead. `receive` resolves it, verified, and hands out the plain payload, so that
///   nobody sees the difference.
/// - Stored content lives as long as a delivery that needs it: for each group that the message
///   reaches it has a holder, `<message>:<group>`, which goes with the group's ack. A dead letter
///   keeps its content until it is [purged](Messenger::purge_dead_letters).
/// - A crash at any point loses no content. What it leaves behind is found by
///   [`Messenger::sweep`], in any process, as soon as the message has expired, or its group was
///   empty for once, or is gone.
///
/// Where a broker may forget an ack, content stays for [`MessengerOptions::margin`] after it.
/// Clones are the same messenger.
///
/// ```
/// use std::time::Duration;
///
/// use statehouse_contracts::{Endpoint, Factory, GroupName, Message, Payload, Result, Scope, Topic};
/// use statehouse_messaging::{Messenger, PolicyManager};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let backend = statehouse_memory::Memory.open(&Endpoint::parse("memory:")?).await?;
/// let scope = Scope::parse("default", "writer")?;
/// let messenger = Messenger::open(&*backend, &scope, PolicyManager::default().into()).await?;
///
/// let report = Payload::text("a long report ".repeat(100_000));
/// messenger.send(Message::new(Topic::mailbox("reader"), report.clone())).await?;
///
/// let mailbox = GroupName::mailbox("reader");
/// let got = messenger.receive_one(&mailbox, Duration::ZERO).await?.expect("it was sent");
/// assert!(got.reference().is_some(), "it travelled by reference");
/// assert_eq!(got.message().payload, report);
/// messenger.ack(&got).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Messenger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    producer: Arc<dyn Producer>,
    consumer: Arc<dyn Consumer>,
    references: Arc<dyn ReferenceStore>,
    policies: Arc<PolicyManager>,
    options: MessengerOptions,
}

impl Messenger {
    /// Over handles of one namespace.
    pub fn new(
        producer: Arc<dyn Producer>,
        consumer: Arc<dyn Consumer>,
        references: Arc<dyn ReferenceStore>,
        policies: Arc<PolicyManager>,
        options: MessengerOptions,
    ) -> Self {
        Self(Arc::new(Inner {
            producer,
            consumer,
            references,
            policies,
            options,
        }))
    }

    /// Over the handles that `backend` opens for `scope`.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) when it lacks a role; those of opening one.
    pub async fn open(
        backend: &dyn Backend,
        scope: &Scope,
        policies: Arc<PolicyManager>,
    ) -> Result<Self> {
        let producer = backend.producer(scope).await?;
        let consumer = backend.consumer(scope).await?;
        let references = backend.references(scope).await?;
        let options = MessengerOptions::default();
        Ok(Self::new(producer, consumer, references, policies, options))
    }

    /// Over handles of one namespace that has no reference store: every payload travels inline.
    pub fn inline(producer: Arc<dyn Producer>, consumer: Arc<dyn Consumer>) -> Self {
        let policies = Arc::new(PolicyManager::uniform(Policy::AlwaysValue));
        let references = Arc::new(nowhere::Nowhere);
        let options = MessengerOptions::default();
        Self::new(producer, consumer, references, policies, options)
    }

    /// The consumer beneath, for what needs no payload: declaring groups, counts, pausing.
    pub fn consumer(&self) -> &Arc<dyn Consumer> {
        &self.0.consumer
    }

    /// The rules by which payloads are promoted.
    pub fn policies(&self) -> &Arc<PolicyManager> {
        &self.0.policies
    }

    /// Sends a message, by value or by reference.
    ///
    /// # Errors
    /// Those of [`Producer::send`] and of [`ReferenceStore::put`].
    pub async fn send(&self, message: Message) -> Result<Sent> {
        self.send_with(message, SendOptions::default()).await
    }

    /// Sends a message, by value or by reference.
    ///
    /// # Errors
    /// Those of [`Producer::send`] and of [`ReferenceStore::put`].
    pub async fn send_with(&self, message: Message, options: SendOptions) -> Result<Sent> {
        match self.promoted(&message) {
            // A promoted send is rare and its future large: callers keep a small one.
            Some(promoted) => {
                let sent = Box::pin(self.send_promoted(message, promoted, options, None));
                sent.await.map(|(sent, _)| sent)
            }
            None => self.0.producer.send_with(message, options).await,
        }
    }

    /// Sends a message, and keeps its content for `keep` at least from when it is due, also when
    /// no group hears it: for those who listen without one. Answers the message as it travels, too.
    ///
    /// # Errors
    /// Those of [`Producer::send`] and of [`ReferenceStore::put`].
    pub async fn publish(
        &self,
        message: Message,
        options: SendOptions,
        keep: Duration,
    ) -> Result<(Sent, Message)> {
        match self.promoted(&message) {
            Some(promoted) => {
                Box::pin(self.send_promoted(message, promoted, options, Some(keep))).await
            }
            None => {
                let sent = self.0.producer.send_with(message.clone(), options).await;
                sent.map(|sent| (sent, message))
            }
        }
    }

    /// The content that is to travel by reference.
    fn promoted(&self, message: &Message) -> Option<Promoted> {
        let Payload::Inline {
            bytes,
            content_type,
        } = &message.payload
        else {
            return None;
        };
        let kind = message.kind.as_ref();
        let promoted = self.0.policies.place(kind, bytes.len()) == Placement::Reference;
        promoted.then(|| Promoted {
            bytes: bytes.clone(),
            content_type: content_type.clone(),
        })
    }

    /// Takes up to `receive.max` messages with their plain payloads. One whose content is gone or
    /// damaged becomes a dead letter instead; one whose content cannot be reached now is given back
    /// with the error.
    ///
    /// # Errors
    /// Those of [`Consumer::receive`].
    pub async fn receive(&self, group: &GroupName, receive: Receive) -> Result<Vec<Incoming>> {
        self.receive_within(group, receive, u64::MAX).await
    }

    /// Takes messages as [`receive`](Messenger::receive) does, with at most `budget` bytes of
    /// content at once, or that of one message: a message whose content would be more keeps its
    /// reference, to be [resolved](Messenger::resolve) when there is room.
    ///
    /// # Errors
    /// Those of [`Consumer::receive`].
    pub async fn receive_within(
        &self,
        group: &GroupName,
        receive: Receive,
        budget: u64,
    ) -> Result<Vec<Incoming>> {
        let deliveries = self.0.consumer.receive(group, receive).await?;
        let mut incoming = Vec::with_capacity(deliveries.len());
        let mut budget = Budget::new(budget);
        for delivery in deliveries {
            match &delivery.message().payload {
                Payload::Reference(reference) if !budget.fits(reference.size) => {
                    let reference = Some(reference.clone());
                    incoming.push(Incoming {
                        delivery,
                        reference,
                    });
                }
                Payload::Reference(_) => {
                    let resolved = self.resolve_delivery(delivery).await;
                    if let Some(resolved) = &resolved {
                        budget.spend(resolved.message().bytes().len());
                    }
                    incoming.extend(resolved);
                }
                Payload::Inline { .. } => incoming.push(Incoming {
                    delivery,
                    reference: None,
                }),
            }
        }
        Ok(incoming)
    }

    /// Takes one message, waiting up to `wait`.
    ///
    /// # Errors
    /// Those of [`Consumer::receive`].
    pub async fn receive_one(&self, group: &GroupName, wait: Duration) -> Result<Option<Incoming>> {
        Ok(self.receive(group, Receive::new(1, wait)).await?.pop())
    }

    /// Done with it; its content goes with the last group's ack.
    ///
    /// # Errors
    /// Those of [`Consumer::settle`].
    pub async fn ack(&self, incoming: &Incoming) -> Result<()> {
        self.0.consumer.ack(&incoming.delivery).await?;
        if let Some(reference) = &incoming.reference {
            let id = incoming.message().id;
            self.let_go(&reference.id, id, &incoming.delivery.group)
                .await;
        }
        Ok(())
    }

    /// Done with all of them; one answer for each, in their order.
    ///
    /// # Errors
    /// Those of [`Consumer::settle`].
    pub async fn ack_all(&self, incoming: &[Incoming]) -> Result<Vec<Result<()>>> {
        if incoming.is_empty() {
            return Ok(Vec::new());
        }
        let batch = incoming.iter().map(|one| one.delivery.ack()).collect();
        let settled = self.0.consumer.settle(batch).await?;
        for (one, settled) in incoming.iter().zip(&settled) {
            if let (Some(reference), Ok(_)) = (&one.reference, settled) {
                let id = one.message().id;
                self.let_go(&reference.id, id, &one.delivery.group).await;
            }
        }
        Ok(settled.into_iter().map(|one| one.map(drop)).collect())
    }

    /// Gives it back, for after the group's backoff; used up, it becomes a dead letter.
    ///
    /// # Errors
    /// Those of [`Consumer::settle`].
    pub async fn nack(&self, incoming: &Incoming, error: impl Into<String> + Send) -> Result<()> {
        self.settle(incoming.delivery.nack(error)).await
    }

    /// Makes it a dead letter now; its content stays.
    ///
    /// # Errors
    /// Those of [`Consumer::settle`].
    pub async fn dead_letter(
        &self,
        incoming: &Incoming,
        reason: impl Into<String> + Send,
    ) -> Result<()> {
        self.settle(incoming.delivery.dead_letter(reason)).await
    }

    /// Makes the lease last `lease` from now.
    ///
    /// # Errors
    /// Those of [`Consumer::settle`].
    pub async fn extend(&self, incoming: &mut Incoming, lease: Duration) -> Result<()> {
        self.0.consumer.extend(&mut incoming.delivery, lease).await
    }

    /// The plain payload of any message, such as a peeked one or a dead letter.
    ///
    /// # Errors
    /// Those of [`ReferenceStore::resolve`].
    pub async fn resolve(&self, payload: &Payload) -> Result<Bytes> {
        match payload {
            Payload::Inline { bytes, .. } => Ok(bytes.clone()),
            Payload::Reference(reference) => {
                Ok(self.0.references.resolve(&reference.id).await?.bytes)
            }
        }
    }

    /// Resolves what a budget was too small for; settled instead when it has no content.
    pub(crate) async fn complete(&self, incoming: Incoming) -> Option<Incoming> {
        match &incoming.message().payload {
            Payload::Inline { .. } => Some(incoming),
            Payload::Reference(_) => self.resolve_delivery(incoming.delivery).await,
        }
    }

    async fn settle(&self, settle: Settle) -> Result<()> {
        self.0.consumer.settle_one(settle).await.map(drop)
    }

    /// The delivery with its plain payload; settled instead when it has none.
    async fn resolve_delivery(&self, mut delivery: Delivery) -> Option<Incoming> {
        let Payload::Reference(reference) = delivery.message().payload.clone() else {
            return Some(Incoming {
                delivery,
                reference: None,
            });
        };
        let settle = match self.0.references.resolve(&reference.id).await {
            Ok(content) => {
                delivery.received.message.payload = Payload::Inline {
                    bytes: content.bytes,
                    content_type: reference.content_type.clone(),
                };
                return Some(Incoming {
                    delivery,
                    reference: Some(reference),
                });
            }
            Err(error) if is_final(error.kind()) => delivery.dead_letter(error.to_string()),
            Err(error) => delivery.nack(error.to_string()),
        };
        tracing::warn!(message = %delivery.message().id, action = ?settle.action, "unresolved payload");
        if let Err(error) = self.settle(settle).await {
            tracing::warn!(message = %delivery.message().id, %error, "it comes back by itself");
        }
        None
    }

    /// Releases what a group's delivery held. When that fails, the sweep does it.
    async fn let_go(&self, content: &ReferenceId, message: MessageId, group: &GroupName) {
        let holder = group_holder(message, group);
        let references = &self.0.references;
        let let_go = if self.0.consumer.capability().ack_confirmed {
            references.release(content, &holder).await.map(drop)
        } else {
            let margin = Some(self.0.options.margin);
            references.retain(content, &holder, margin).await
        };
        if let Err(error) = let_go {
            tracing::warn!(reference = %content, %holder, %error, "content stays until a sweep");
        }
    }
}

fn is_final(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::Corrupted)
}

/// The content of a promoted payload.
struct Promoted {
    bytes: Bytes,
    content_type: ContentType,
}

#[cfg(test)]
mod tests;
