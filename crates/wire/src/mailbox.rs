//! Mailboxes, requests and what is heard of topics.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use statehouse_contracts::{ContentType, Kind, MessageId, Priority, Topic};
use utoipa::ToSchema;

use crate::{CountsDoc, MessageDoc, PayloadDoc, Span};

/// An agent for whom something is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MailboxDoc {
    /// Its name.
    pub agent: String,
    /// How many messages it could receive now.
    pub ready: u64,
}

/// How a mailbox stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MailboxStatusDoc {
    /// What it holds.
    pub counts: CountsDoc,
    /// For how long its oldest ready message has been due; `null` when there is none.
    pub oldest: Option<Span>,
}

/// A message that waits, without its payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PendingDoc {
    /// Which one.
    #[schema(value_type = String)]
    pub id: MessageId,
    /// Who sent it.
    pub sender: Option<String>,
    /// What sort of message it is.
    #[schema(value_type = Option<String>)]
    pub kind: Option<Kind>,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// How urgent it is.
    #[schema(value_type = u8, maximum = 9)]
    pub priority: Priority,
    /// The size of its payload in bytes, however it travels.
    pub size: u64,
    /// Its media type.
    #[schema(value_type = String)]
    pub content_type: ContentType,
    /// How many deliveries it has had.
    pub attempts: u32,
}

/// A request to another agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestDoc {
    /// Whom to ask.
    pub to: String,
    /// The question.
    pub payload: PayloadDoc,
    /// Who asks; the request's principal when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What sort of message it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub kind: Option<Kind>,
    /// The application's own headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// How urgent it is: 0 to 9, larger first. Default 2.
    #[serde(default)]
    #[schema(value_type = u8, maximum = 9)]
    pub priority: Priority,
    /// How long to wait for the reply: `requests.timeout` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

/// A reply to a request, as the message of the request tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplyDoc {
    /// Its `reply_to`.
    #[schema(value_type = String)]
    pub reply_to: Topic,
    /// Its `sender`: a reply that nobody waits for any more goes to that mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The answer.
    pub payload: PayloadDoc,
    /// Who answers; the request's principal when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The token of its delivery, which is acknowledged once the reply is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// The answer to a published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishedDoc {
    /// The id under which it is known.
    #[schema(value_type = String)]
    pub id: MessageId,
    /// How many groups it reached, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routed: Option<u64>,
    /// The message that was accepted before under the same idempotency key; then nobody hears this
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub duplicate_of: Option<MessageId>,
    /// How many of this service's subscriptions have it now.
    pub delivered: usize,
    /// How many messages those dropped for it.
    pub dropped: usize,
}

/// A message as a subscription heard it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HeardDoc {
    /// The message.
    pub message: MessageDoc,
}

/// The statistics of a topic in one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicStatsDoc {
    /// The topic.
    #[schema(value_type = String)]
    pub topic: Topic,
    /// Messages published.
    pub published: u64,
    /// Copies put into buffers of subscriptions.
    pub delivered: u64,
    /// Copies dropped because a buffer was full.
    pub dropped: u64,
    /// Subscriptions that hear it now, by whatever pattern.
    pub subscribers: usize,
    /// When its first message was published.
    pub created_at: Option<Timestamp>,
    /// When its latest message was made.
    pub last_published_at: Option<Timestamp>,
}
