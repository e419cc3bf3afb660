//! Messages and sending.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use statehouse_contracts::{
    ContentType, Error, Kind, Message, MessageId, Payload, Priority, Received, Reference,
    ReferenceId, Result, SendOptions, Sent, Topic,
};
use utoipa::ToSchema;

use crate::{ContentDoc, Span};

/// The place of content in the reference store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReferenceDoc {
    /// The SHA-256 of the plain content, in 64 lowercase hex digits.
    #[schema(value_type = String)]
    pub id: ReferenceId,
    /// Its plain size in bytes.
    pub size: u64,
    /// Its media type.
    #[schema(value_type = String)]
    pub content_type: ContentType,
}

/// What a message carries. Exactly one of `text`, `json`, `base64` and `reference` is given.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PayloadDoc {
    /// The bytes as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The bytes as JSON, kept exactly.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::content::given"
    )]
    #[schema(value_type = Option<serde_json::Value>)]
    pub json: Option<Box<RawValue>>,
    /// The bytes in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// The media type; implied by the form when not given; not beside `reference`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub content_type: Option<ContentType>,
    /// The content's place in the reference store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<ReferenceDoc>,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageDoc {
    /// Its identity, a UUID; a new one is made when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub id: Option<MessageId>,
    /// Where it goes.
    #[schema(value_type = String)]
    pub topic: Topic,
    /// What sort of message it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub kind: Option<Kind>,
    /// The schema of the payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Who sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// Whom it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// The content.
    pub payload: PayloadDoc,
    /// The application's own headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// What it answers or belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Where answers go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub reply_to: Option<Topic>,
    /// How urgent it is: 0 to 9, larger first. Default 2.
    #[serde(default)]
    #[schema(value_type = u8, maximum = 9)]
    pub priority: Priority,
    /// How long from sending until it is due.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delay: Span,
    /// How long from when it is due until it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// Messages of one key come one at a time, in the order sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordering_key: Option<String>,
    /// Accepted once within the window; the id when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// The W3C trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// Messages to send, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendDoc {
    /// The messages, in order.
    pub messages: Vec<MessageDoc>,
    /// How long a full queue may make the call wait. Default 5 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admission: Option<Span>,
    /// Whether a message that matches no group is an error. Default false.
    #[serde(default)]
    pub require_route: bool,
}

/// A message whose topic the route names: for a mailbox or a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishDoc {
    /// Its identity, a UUID; a new one is made when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub id: Option<MessageId>,
    /// What sort of message it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub kind: Option<Kind>,
    /// The content.
    pub payload: PayloadDoc,
    /// Who sent it; the request's principal when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// The application's own headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What it answers or belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Where answers go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub reply_to: Option<Topic>,
    /// How urgent it is: 0 to 9, larger first. Default 2.
    #[serde(default)]
    #[schema(value_type = u8, maximum = 9)]
    pub priority: Priority,
    /// How long from sending until it is due.
    #[serde(default)]
    pub delay: Span,
    /// How long from when it is due until it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// Messages of one key come one at a time, in the order sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordering_key: Option<String>,
}

/// The answer to one accepted message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SentDoc {
    /// The id under which it is known.
    #[schema(value_type = String)]
    pub id: MessageId,
    /// How many groups it reached, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routed: Option<u64>,
    /// The message that was accepted before under the same idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub duplicate_of: Option<MessageId>,
}

/// The answer to a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelledDoc {
    /// Whether it was taken back; false when it is due, handed out or unknown.
    pub cancelled: bool,
}

/// A message as it was received, with the backend's times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceivedDoc {
    /// The message as sent.
    pub message: MessageDoc,
    /// When the backend accepted it.
    pub sent_at: Timestamp,
    /// When it became due.
    pub due_at: Timestamp,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

fn is_zero(span: &Span) -> bool {
    span.0.is_zero()
}

impl PartialEq for PayloadDoc {
    fn eq(&self, other: &Self) -> bool {
        let json = |doc: &Self| doc.json.as_ref().map(|json| json.get().to_owned());
        self.text == other.text
            && json(self) == json(other)
            && self.base64 == other.base64
            && self.content_type == other.content_type
            && self.reference == other.reference
    }
}

impl Eq for PayloadDoc {}

impl From<Reference> for ReferenceDoc {
    fn from(reference: Reference) -> Self {
        Self {
            id: reference.id,
            size: reference.size,
            content_type: reference.content_type,
        }
    }
}

impl From<ReferenceDoc> for Reference {
    fn from(doc: ReferenceDoc) -> Self {
        Self {
            id: doc.id,
            size: doc.size,
            content_type: doc.content_type,
        }
    }
}

impl From<Payload> for PayloadDoc {
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::Reference(reference) => Self {
                reference: Some(reference.into()),
                ..Self::default()
            },
            Payload::Inline {
                bytes,
                content_type,
            } => {
                let content = ContentDoc::new(&bytes, content_type);
                Self {
                    text: content.text,
                    json: content.json,
                    base64: content.base64,
                    content_type: content.content_type,
                    reference: None,
                }
            }
        }
    }
}

impl TryFrom<PayloadDoc> for Payload {
    type Error = Error;
    fn try_from(doc: PayloadDoc) -> Result<Self> {
        let inline = ContentDoc {
            text: doc.text,
            json: doc.json,
            base64: doc.base64,
            content_type: doc.content_type,
        };
        match doc.reference {
            None => {
                let (bytes, content_type) = inline.into_parts()?;
                Ok(Self::Inline {
                    bytes,
                    content_type,
                })
            }
            Some(reference) if inline == ContentDoc::default() => {
                Ok(Self::Reference(reference.into()))
            }
            Some(_) => Err(Error::invalid(
                "a payload is either given here or by reference, not both",
            )),
        }
    }
}

impl From<Message> for MessageDoc {
    fn from(message: Message) -> Self {
        Self {
            id: Some(message.id),
            topic: message.topic,
            kind: message.kind,
            schema: message.schema,
            sender: message.sender,
            recipient: message.recipient,
            payload: message.payload.into(),
            headers: message.headers,
            correlation_id: message.correlation_id,
            reply_to: message.reply_to,
            priority: message.priority,
            delay: Span(message.delay),
            ttl: message.ttl.map(Span),
            ordering_key: message.ordering_key,
            idempotency_key: message.idempotency_key,
            traceparent: message.traceparent,
        }
    }
}

impl TryFrom<MessageDoc> for Message {
    type Error = Error;
    fn try_from(doc: MessageDoc) -> Result<Self> {
        Ok(Self {
            id: doc.id.unwrap_or_else(MessageId::random),
            topic: doc.topic,
            kind: doc.kind,
            schema: doc.schema,
            sender: doc.sender,
            recipient: doc.recipient,
            payload: doc.payload.try_into()?,
            headers: doc.headers,
            correlation_id: doc.correlation_id,
            reply_to: doc.reply_to,
            priority: doc.priority,
            delay: doc.delay.into(),
            ttl: doc.ttl.map(Into::into),
            ordering_key: doc.ordering_key,
            idempotency_key: doc.idempotency_key,
            traceparent: doc.traceparent,
        })
    }
}

impl PublishDoc {
    /// The message for `topic`.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for a payload that is
    /// not given in exactly one form.
    pub fn message(self, topic: Topic) -> Result<Message> {
        let mut message = Message::new(topic, self.payload.try_into()?);
        message.id = self.id.unwrap_or(message.id);
        message.kind = self.kind;
        message.sender = self.sender;
        message.headers = self.headers;
        message.correlation_id = self.correlation_id;
        message.reply_to = self.reply_to;
        message.priority = self.priority;
        message.delay = self.delay.into();
        message.ttl = self.ttl.map(Into::into);
        message.ordering_key = self.ordering_key;
        Ok(message)
    }
}

impl SendDoc {
    /// The document of a batch.
    pub fn new(batch: Vec<Message>, options: SendOptions) -> Self {
        Self {
            messages: batch.into_iter().map(Into::into).collect(),
            admission: Some(Span(options.admission)),
            require_route: options.require_route,
        }
    }

    /// The batch and its options.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for a payload that is
    /// not given in exactly one form.
    pub fn into_parts(self) -> Result<(Vec<Message>, SendOptions)> {
        let default = SendOptions::default();
        let options = SendOptions {
            admission: self.admission.map_or(default.admission, Duration::from),
            require_route: self.require_route,
        };
        let batch: Result<_> = self.messages.into_iter().map(Message::try_from).collect();
        Ok((batch?, options))
    }
}

impl From<Sent> for SentDoc {
    fn from(sent: Sent) -> Self {
        Self {
            id: sent.id,
            routed: sent.routed,
            duplicate_of: sent.duplicate_of,
        }
    }
}

impl From<SentDoc> for Sent {
    fn from(doc: SentDoc) -> Self {
        Self {
            id: doc.id,
            routed: doc.routed,
            duplicate_of: doc.duplicate_of,
        }
    }
}

impl From<Received> for ReceivedDoc {
    fn from(received: Received) -> Self {
        Self {
            message: received.message.into(),
            sent_at: received.sent_at,
            due_at: received.due_at,
            expires_at: received.expires_at,
        }
    }
}

impl TryFrom<ReceivedDoc> for Received {
    type Error = Error;
    fn try_from(doc: ReceivedDoc) -> Result<Self> {
        Ok(Self {
            message: doc.message.try_into()?,
            sent_at: doc.sent_at,
            due_at: doc.due_at,
            expires_at: doc.expires_at,
        })
    }
}
