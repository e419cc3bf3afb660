//! Messages: what is sent and what is received.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{ContentType, Error, Kind, Reference, Result, Topic};

/// The id of a message: a UUID, version 7 when we make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub Uuid);

impl MessageId {
    /// A new id; later ids sort later.
    pub fn random() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for MessageId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Uuid::parse_str(text)
            .map(Self)
            .map_err(|error| Error::invalid(format!("message id {text:?} is no UUID: {error}")))
    }
}

/// How urgent a message is: 0..=9, larger first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

impl Priority {
    /// 1
    pub const LOW: Self = Self(1);
    /// 2, the default.
    pub const NORMAL: Self = Self(2);
    /// 3
    pub const HIGH: Self = Self(3);
    /// 4
    pub const CRITICAL: Self = Self(4);
    /// 9
    pub const MAX: Self = Self(9);

    /// The priority `level`.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) above 9.
    pub fn new(level: u8) -> Result<Self> {
        if level <= Self::MAX.0 {
            return Ok(Self(level));
        }
        Err(Error::invalid(format!(
            "priority is {level}; it goes from 0 to 9, larger first"
        )))
    }

    /// The level, 0..=9.
    pub fn level(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::NORMAL
    }
}

impl TryFrom<u8> for Priority {
    type Error = Error;
    fn try_from(level: u8) -> Result<Self> {
        Self::new(level)
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> u8 {
        priority.0
    }
}

/// What a message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The bytes themselves.
    Inline {
        /// The content.
        bytes: Bytes,
        /// Its media type.
        content_type: ContentType,
    },
    /// The content's place in a reference store.
    Reference(Reference),
}

impl Payload {
    /// Bytes without a known type.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Payload::Inline {
            bytes: bytes.into(),
            content_type: ContentType::BYTES,
        }
    }

    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Payload::Inline {
            bytes: text.into().into(),
            content_type: ContentType::TEXT,
        }
    }

    /// JSON that is serialized already.
    pub fn json(bytes: impl Into<Bytes>) -> Self {
        Payload::Inline {
            bytes: bytes.into(),
            content_type: ContentType::JSON,
        }
    }

    /// The bytes carried inline; a reference carries none.
    pub fn inline_len(&self) -> usize {
        match self {
            Payload::Inline { bytes, .. } => bytes.len(),
            Payload::Reference(_) => 0,
        }
    }
}

/// One message. See [`Envelope`](crate::Envelope) for its form on a broker.
///
/// It maps onto CloudEvents 1.0: `id` = id, `source` = sender, `type` = kind, `subject` = topic,
/// `datacontenttype` = the payload's content type, `dataschema` = schema, `time` = sent_at,
/// `partitionkey` = ordering_key, `traceparent` = traceparent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its identity; also its idempotency key when that is not given.
    pub id: MessageId,
    /// Where it goes.
    pub topic: Topic,
    /// What sort of message it is, for policies and handlers.
    pub kind: Option<Kind>,
    /// The schema of the payload, a name or URI.
    pub schema: Option<String>,
    /// Who sent it.
    pub sender: Option<String>,
    /// Whom it is for.
    pub recipient: Option<String>,
    /// The content.
    pub payload: Payload,
    /// The application's own headers. Names of `A-Z a-z 0-9 - _ .`; values without control
    /// characters. The prefix `statehouse-` is ours.
    pub headers: BTreeMap<String, String>,
    /// What it answers or belongs to.
    pub correlation_id: Option<String>,
    /// Where answers go.
    pub reply_to: Option<Topic>,
    /// How urgent it is.
    pub priority: Priority,
    /// How long from sending until it is due.
    pub delay: Duration,
    /// How long from when it is due until it expires; `None`: never.
    pub ttl: Option<Duration>,
    /// Messages of one key come one at a time, in the order sent.
    pub ordering_key: Option<String>,
    /// Accepted once within the window; the id when not given.
    pub idempotency_key: Option<String>,
    /// The W3C trace context.
    pub traceparent: Option<String>,
}

impl Message {
    /// The longest sender, recipient, schema, correlation id, ordering key or idempotency key, in
    /// bytes.
    pub const MAX_ATTRIBUTE: usize = 1024;

    /// A message with a new id, normal priority and nothing else.
    pub fn new(topic: Topic, payload: Payload) -> Self {
        Self {
            id: MessageId::random(),
            topic,
            kind: None,
            schema: None,
            sender: None,
            recipient: None,
            payload,
            headers: BTreeMap::new(),
            correlation_id: None,
            reply_to: None,
            priority: Priority::NORMAL,
            delay: Duration::ZERO,
            ttl: None,
            ordering_key: None,
            idempotency_key: None,
            traceparent: None,
        }
    }

    /// The inline bytes; empty for a reference.
    pub fn bytes(&self) -> &[u8] {
        match &self.payload {
            Payload::Inline { bytes, .. } => bytes,
            Payload::Reference(_) => &[],
        }
    }

    /// Whether both say the same, but for id, trace context and what time does to them: the
    /// question that a repeated idempotency key asks. Topic, kind, payload and recipient count.
    pub fn same_content(&self, other: &Self) -> bool {
        self.topic == other.topic
            && self.kind == other.kind
            && self.recipient == other.recipient
            && self.payload == other.payload
    }
}

/// A message as it was received, with the backend's times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The message as sent.
    pub message: Message,
    /// When the backend accepted it.
    pub sent_at: Timestamp,
    /// When it became due: `sent_at` and its delay.
    pub due_at: Timestamp,
    /// When it expires: `due_at` and its ttl.
    pub expires_at: Option<Timestamp>,
}
