//! A message that was accepted, shared by all that hold it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};

use statehouse_contracts::{Message, Payload, Received};
use twox_hash::XxHash3_64;

use crate::time::Time;

/// An accepted message.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) received: Received,
    /// Its place in the order of sending.
    pub(crate) seq: u64,
    pub(crate) due: Time,
    pub(crate) expires: Option<Time>,
    cancelled: AtomicBool,
}

impl Accepted {
    pub(crate) fn new(message: Message, seq: u64, now: Time) -> Self {
        let due = now.after(message.delay);
        Self::due_at(message, seq, now, due)
    }

    fn due_at(message: Message, seq: u64, sent: Time, due: Time) -> Self {
        let expires = message.ttl.map(|ttl| due.after(ttl));
        Self {
            received: Received {
                message,
                sent_at: sent.timestamp(),
                due_at: due.timestamp(),
                expires_at: expires.map(Time::timestamp),
            },
            seq,
            due,
            expires,
            cancelled: AtomicBool::new(false),
        }
    }

    /// The same message, due now.
    pub(crate) fn again(received: Received, seq: u64, now: Time) -> Self {
        Self::due_at(received.message, seq, Time::of(received.sent_at), now)
    }

    pub(crate) fn message(&self) -> &Message {
        &self.received.message
    }

    pub(crate) fn has_expired(&self, now: Time) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// A digest of what [`Message::same_content`] compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest(u64, u64);

impl Digest {
    pub(crate) fn of(message: &Message) -> Self {
        let mut hash = DefaultHasher::new();
        (&message.topic, &message.kind, &message.recipient).hash(&mut hash);
        let content = match &message.payload {
            Payload::Inline {
                bytes,
                content_type,
            } => {
                (0, bytes.len(), content_type).hash(&mut hash);
                XxHash3_64::oneshot(bytes)
            }
            Payload::Reference(reference) => {
                (1, reference.size, &reference.content_type).hash(&mut hash);
                reference.id.hash(&mut hash);
                0
            }
        };
        Self(hash.finish(), content)
    }
}
