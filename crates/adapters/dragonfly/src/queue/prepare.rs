//! What can be done with a message before the server has it: encoding and hashing.

use bytes::Bytes;
use fred::types::Key;
use sha2::{Digest, Sha256};
use statehouse_contracts::{Error, Message, MessageId, Payload, Priority, Result, Topic};

use super::stored;
use crate::keys::Keys;
use crate::time::micros;

/// A message ready to be sent, any number of times.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) id: MessageId,
    pub(super) topic: Topic,
    /// Stands for the ordering key; empty without one.
    pub(super) key: String,
    /// What the script is told of it, but for its route.
    pub(super) head: String,
    /// 0 for the highest priority, 9 for the lowest.
    pub(super) rank: u8,
    /// Whether it is due at once and for ever, and has no ordering key.
    pub(super) is_plain: bool,
    /// The key of its schedule, when it is delayed.
    pub(super) schedule: Option<Key>,
    /// Its idempotency key, and what is remembered under it: its id and what stands for its content.
    known_by: Bytes,
    pub(super) stored: Bytes,
}

impl Prepared {
    /// Prepares a message of the namespace that has `keys`.
    ///
    /// # Errors
    /// `InvalidArgument` for a delay with an ordering key.
    pub(super) fn new(keys: &Keys, message: &Message) -> Result<Self> {
        if !message.delay.is_zero() && message.ordering_key.is_some() {
            return Err(Error::invalid(
                "a message with an ordering key cannot be delayed: it would hold up its key",
            ));
        }
        let key = message
            .ordering_key
            .as_deref()
            .map_or_else(String::new, word);
        let rank = Priority::MAX.level() - message.priority.level();
        let delay = micros(message.delay);
        // Zero is said for never.
        let ttl = message.ttl.map_or(0, |ttl| micros(ttl).max(1));
        let id = message.id.0.as_bytes();
        let known_by = [&idempotency_key(message)[..], id, &fingerprint(message)].concat();
        Ok(Self {
            id: message.id,
            topic: message.topic.clone(),
            head: format!("{rank}:{delay}:{ttl}:{key}:"),
            is_plain: delay == 0 && ttl == 0 && key.is_empty(),
            rank,
            schedule: (delay > 0).then(|| schedule(keys, message.id)),
            key,
            known_by: known_by.into(),
            stored: stored::encode(message)?,
        })
    }
}

/// Bytes of an idempotency key.
const KEY: usize = 16;

impl Prepared {
    /// Its idempotency key.
    pub(super) fn idempotency_key(&self) -> Bytes {
        self.known_by.slice(..KEY)
    }

    /// What is remembered of it.
    pub(super) fn remembered(&self) -> Bytes {
        self.known_by.slice(KEY..)
    }

    /// Both, one after the other.
    pub(super) fn known_by(&self) -> Bytes {
        self.known_by.clone()
    }
}

/// The key of the schedule of a delayed message.
pub(super) fn schedule(keys: &Keys, id: MessageId) -> Key {
    keys.of("scheduled", &id.0.simple().to_string()).into()
}

/// The id's bytes when the id is the key, also when it is spelled out; else a hash of the key.
fn idempotency_key(message: &Message) -> [u8; KEY] {
    let Some(key) = &message.idempotency_key else {
        return *message.id.0.as_bytes();
    };
    match uuid::Uuid::try_parse(key) {
        Ok(id) if id.to_string() == *key => *id.as_bytes(),
        _ => first(Sha256::digest(key.as_bytes())),
    }
}

/// The word that stands for an ordering key. Two keys with the same word would wait for one
/// another, and nothing worse.
pub(super) fn word(key: &str) -> String {
    hex(&first::<8>(Sha256::digest(key.as_bytes())))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What stands for what [`Message::same_content`] compares.
fn fingerprint(message: &Message) -> [u8; 8] {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    let kind = message.kind.as_ref().map_or("", |kind| kind.as_str());
    part(message.topic.as_str().as_bytes());
    part(kind.as_bytes());
    part(&[u8::from(message.recipient.is_some())]);
    part(message.recipient.as_deref().unwrap_or_default().as_bytes());
    match &message.payload {
        Payload::Inline {
            bytes,
            content_type,
        } => {
            part(b"inline");
            part(content_type.as_str().as_bytes());
            part(bytes);
        }
        Payload::Reference(reference) => {
            part(b"reference");
            part(reference.content_type.as_str().as_bytes());
            part(&reference.size.to_le_bytes());
            part(reference.id.digest());
        }
    }
    first(hash.finalize())
}

/// The first bytes of a digest.
fn first<const N: usize>(digest: impl AsRef<[u8]>) -> [u8; N] {
    let mut bytes = [0; N];
    for (byte, from) in bytes.iter_mut().zip(digest.as_ref()) {
        *byte = *from;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use statehouse_contracts::Namespace;

    use super::*;
    use crate::keys::Role;

    fn message(text: &str) -> Message {
        Message::new(Topic::new("t").unwrap(), Payload::text(text))
    }

    #[test]
    fn an_id_spelled_out_is_the_same_key() {
        let first = message("a");
        let spelled = |key: String| Message {
            idempotency_key: Some(key),
            ..message("a")
        };
        let id = first.id.to_string();
        let same = idempotency_key(&spelled(id.clone()));
        assert_eq!(same, idempotency_key(&first));
        assert_ne!(same, idempotency_key(&spelled(id.to_uppercase())));
    }

    #[test]
    fn the_fingerprint_follows_the_content() {
        let plain = message("a");
        let others = [
            message("b"),
            Message {
                payload: Payload::bytes("a"),
                ..plain.clone()
            },
            Message {
                recipient: Some(String::new()),
                ..plain.clone()
            },
            Message {
                topic: Topic::new("u").unwrap(),
                ..plain.clone()
            },
        ];
        for other in others {
            assert!(!plain.same_content(&other));
            assert_ne!(fingerprint(&plain), fingerprint(&other), "{other:?}");
        }
        let same = Message {
            priority: Priority::HIGH,
            ..message("a")
        };
        assert_eq!(fingerprint(&plain), fingerprint(&same));
    }

    #[test]
    fn a_delay_with_an_ordering_key_is_refused() {
        let keys = Keys::new("sh", &Namespace::new("n").unwrap(), Role::Queue);
        let both = Message {
            delay: Duration::from_secs(1),
            ordering_key: Some("k".to_owned()),
            ..message("a")
        };
        assert!(Prepared::new(&keys, &both).is_err());
    }
}
