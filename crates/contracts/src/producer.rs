//! Sending.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Error, Message, MessageId, ProducerCapability, Result};

/// How a batch is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendOptions {
    /// How long a full queue may make the call wait for admission. Default 5 s.
    pub admission: Duration,
    /// Whether a message that matches no group is an error (capability `require_route`).
    pub require_route: bool,
}

impl Default for SendOptions {
    fn default() -> Self {
        Self {
            admission: Duration::from_secs(5),
            require_route: false,
        }
    }
}

/// The answer to one accepted message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The id under which it is known; for a duplicate, that of the first send.
    pub id: MessageId,
    /// How many groups it reached (capability `routed`); for a duplicate, what the first send
    /// answered.
    pub routed: Option<u64>,
    /// The message that was accepted before under the same idempotency key.
    pub duplicate_of: Option<MessageId>,
}

/// Sends messages.
///
/// # Acceptance
/// - `Ok` for an item means accepted: each group that matches its topic and was declared before
///   the send has the message, durably as the capability claims.
/// - Matching no group is `Ok` with `routed: Some(0)` where the backend can tell; with
///   [`SendOptions::require_route`] it is [`NotFound`](crate::ErrorKind::NotFound) and nothing is
///   sent.
/// - Sending to a mailbox (see [`Topic::is_mailbox`](crate::Topic::is_mailbox)) declares the group
///   of that name first, with the default spec and the topic as its pattern, unless it is there:
///   an offline recipient loses nothing, within the backend's `max_retention`.
///
/// # Idempotency
/// - The idempotency key of a message is the field, or its id. Within the dedup window the same
///   key in the same namespace is accepted once: a repeat with
///   [the same content](Message::same_content) answers `Ok` with `duplicate_of`, also inside one
///   batch; with other content it is [`Conflict`](crate::ErrorKind::Conflict). A duplicate answers
///   with the id and the route of the first send, whatever its own id is.
/// - So a send whose outcome is unknown may be repeated where there is a window.
///
/// # Order and admission
/// - Messages of one ordering key are accepted in the order of the calls and of the batch. If an
///   item fails, later items with its ordering key in the same batch fail with
///   [`Conflict`](crate::ErrorKind::Conflict) and are not sent.
/// - A full group with [`Overflow::Reject`](crate::Overflow) makes the call wait up to
///   [`SendOptions::admission`] for room, then the item is
///   [`Overloaded`](crate::ErrorKind::Overloaded) and reached no group at all.
///
/// # Arguments
/// - A delay with an ordering key, a delay or ttl beyond the capability, a payload or headers
///   beyond the limits, an attribute beyond [`Message::MAX_ATTRIBUTE`], and a header named
///   `statehouse-…` are [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for that item; what
///   the capability denies is [`Unsupported`](crate::ErrorKind::Unsupported).
/// - An empty batch is `Ok`. An empty payload is allowed.
#[async_trait]
pub trait Producer: Debug + Send + Sync {
    /// What this producer can do.
    fn capability(&self) -> ProducerCapability;

    /// Sends each message; one answer per message, in the same order.
    ///
    /// # Errors
    /// The call as a whole fails only with [`Closed`](crate::ErrorKind::Closed) or when no item was
    /// tried; everything else is the error of an item.
    async fn send(&self, batch: Vec<Message>, options: SendOptions) -> Result<Vec<Result<Sent>>>;

    /// Takes back a message that is not due yet (capability `cancel`): no group will see it.
    /// Answers whether it was taken back; false when it is due, handed out or unknown. Of several
    /// messages that were scheduled under one id, with idempotency keys of their own, it is about
    /// the last.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where the capability denies it.
    async fn cancel(&self, id: MessageId) -> Result<bool>;

    /// Closes this handle. Idempotent; what was accepted is finished first.
    ///
    /// # Errors
    /// When what was accepted could not be finished.
    async fn close(&self) -> Result<()>;
}

/// Sugar over [`Producer`].
pub trait ProducerExt: Producer {
    /// Sends one message with the default options.
    ///
    /// # Errors
    /// Those of [`Producer::send`].
    fn send_one(&self, message: Message) -> impl Future<Output = Result<Sent>> + Send {
        self.send_with(message, SendOptions::default())
    }

    /// Sends one message.
    ///
    /// # Errors
    /// Those of [`Producer::send`].
    fn send_with(
        &self,
        message: Message,
        options: SendOptions,
    ) -> impl Future<Output = Result<Sent>> + Send {
        let sent = self.send(vec![message], options);
        async move {
            sent.await?
                .pop()
                .unwrap_or_else(|| Err(Error::internal("send answered nothing for one message")))
        }
    }
}

impl<P: Producer + ?Sized> ProducerExt for P {}
