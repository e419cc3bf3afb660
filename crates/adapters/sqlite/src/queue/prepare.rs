//! What can be done with a message before the writer has it: encoding and hashing.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use statehouse_contracts::{Error, Message, Payload, Priority, Result};
use twox_hash::XxHash3_64;

use super::meta;
use crate::time::micros;

/// A message ready to be written, any number of times.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) original: Arc<Message>,
    pub(super) meta: Vec<u8>,
    pub(super) payload: Bytes,
    /// 0 for the highest priority.
    pub(super) rank: i64,
    pub(super) delay: i64,
    pub(super) ttl: Option<i64>,
    /// Stands for the ordering key.
    pub(super) key: Option<i64>,
    pub(super) idempotency: Idempotency,
}

/// What tells a repeat, and whether it is a faithful one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Idempotency {
    pub(super) key: [u8; 16],
    /// Stands for what [`Message::same_content`] compares.
    pub(super) fingerprint: i64,
}

impl Prepared {
    /// Prepares a message.
    ///
    /// # Errors
    /// `InvalidArgument` for a delay with an ordering key.
    pub(super) fn new(message: &Arc<Message>) -> Result<Self> {
        if !message.delay.is_zero() && message.ordering_key.is_some() {
            return Err(Error::invalid(
                "a message with an ordering key cannot be delayed: it would hold up its key",
            ));
        }
        let (meta, payload) = meta::encode(message);
        Ok(Self {
            original: Arc::clone(message),
            meta,
            payload,
            rank: i64::from(Priority::MAX.level() - message.priority.level()),
            delay: micros(message.delay),
            ttl: message.ttl.map(micros),
            key: message.ordering_key.as_deref().map(ordering_key),
            idempotency: Idempotency {
                key: idempotency_key(message),
                fingerprint: fingerprint(message),
            },
        })
    }
}

/// The id's bytes when the id is the key, also when it is spelled out; else a hash of the key.
fn idempotency_key(message: &Message) -> [u8; 16] {
    let Some(key) = &message.idempotency_key else {
        return *message.id.0.as_bytes();
    };
    match uuid::Uuid::try_parse(key) {
        Ok(id) if id.to_string() == *key => *id.as_bytes(),
        _ => first(Sha256::digest(key.as_bytes())),
    }
}

/// The number that stands for an ordering key. Two keys with the same number would wait for one another, and nothing worse.
pub(super) fn ordering_key(key: &str) -> i64 {
    i64::from_le_bytes(first(Sha256::digest(key.as_bytes())))
}

/// Stands for what [`Message::same_content`] compares. No cryptographic hash: who makes two contents
/// collide under one key of their own only hides a conflict from themselves.
fn fingerprint(message: &Message) -> i64 {
    let mut hash = 0;
    let mut part = |bytes: &[u8]| hash = XxHash3_64::oneshot_with_seed(hash, bytes);
    part(message.topic.as_str().as_bytes());
    part(
        message
            .kind
            .as_ref()
            .map_or(&[], |kind| kind.as_str().as_bytes()),
    );
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
    hash.cast_signed()
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

    use statehouse_contracts::Topic;

    use super::*;

    fn message(text: &str) -> Message {
        Message::new(Topic::new("t").unwrap(), Payload::text(text))
    }

    #[test]
    fn an_id_spelled_out_is_the_same_key() {
        let first = message("a");
        let second = Message {
            idempotency_key: Some(first.id.to_string()),
            ..message("a")
        };
        assert_eq!(idempotency_key(&first), idempotency_key(&second));
        let upper = Message {
            idempotency_key: Some(first.id.to_string().to_uppercase()),
            ..message("a")
        };
        assert_ne!(idempotency_key(&first), idempotency_key(&upper));
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
        let both = Message {
            delay: Duration::from_secs(1),
            ordering_key: Some("k".to_owned()),
            ..message("a")
        };
        assert!(Prepared::new(&Arc::new(both)).is_err());
    }
}
