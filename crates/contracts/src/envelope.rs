//! The form of a message on a broker: the payload is the body, the rest are named properties.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::{ContentType, Error, Kind, Message, Payload, Priority, Reference, Result, Topic};

/// A message as body and properties, version 1. Property names are fixed, so that clients in other
/// languages can read them; an application header `x` becomes the property `h-x`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The inline payload; for a reference a JSON object `{id, size, content_type}`.
    pub body: Bytes,
    /// Everything else, by property name.
    pub properties: BTreeMap<String, String>,
}

/// The names of the properties.
mod property {
    pub(super) const VERSION: &str = "statehouse-version";
    pub(super) const ID: &str = "statehouse-id";
    pub(super) const TOPIC: &str = "statehouse-topic";
    pub(super) const KIND: &str = "statehouse-kind";
    pub(super) const SCHEMA: &str = "statehouse-schema";
    pub(super) const SENDER: &str = "statehouse-sender";
    pub(super) const RECIPIENT: &str = "statehouse-recipient";
    pub(super) const CONTENT_TYPE: &str = "statehouse-content-type";
    pub(super) const REFERENCE: &str = "statehouse-reference";
    pub(super) const CORRELATION: &str = "statehouse-correlation-id";
    pub(super) const REPLY_TO: &str = "statehouse-reply-to";
    pub(super) const PRIORITY: &str = "statehouse-priority";
    pub(super) const DELAY: &str = "statehouse-delay-ms";
    pub(super) const TTL: &str = "statehouse-ttl-ms";
    pub(super) const ORDERING_KEY: &str = "statehouse-ordering-key";
    pub(super) const IDEMPOTENCY_KEY: &str = "statehouse-idempotency-key";
    pub(super) const TRACEPARENT: &str = "traceparent";
    pub(super) const HEADER_PREFIX: &str = "h-";
}

impl Envelope {
    /// The version that [`Envelope::seal`] writes.
    pub const VERSION: u32 = 1;

    /// Puts `message` into its envelope.
    pub fn seal(message: &Message) -> Self {
        let mut properties = BTreeMap::new();
        let mut set = |name: &str, value: String| properties.insert(name.to_owned(), value);
        set(property::VERSION, Self::VERSION.to_string());
        set(property::ID, message.id.to_string());
        set(property::TOPIC, message.topic.to_string());
        set(property::PRIORITY, message.priority.level().to_string());
        let optional = [
            (property::KIND, message.kind.as_ref().map(Kind::to_string)),
            (property::SCHEMA, message.schema.clone()),
            (property::SENDER, message.sender.clone()),
            (property::RECIPIENT, message.recipient.clone()),
            (property::CORRELATION, message.correlation_id.clone()),
            (
                property::REPLY_TO,
                message.reply_to.as_ref().map(Topic::to_string),
            ),
            (
                property::TTL,
                message.ttl.map(|ttl| ttl.as_millis().to_string()),
            ),
            (property::ORDERING_KEY, message.ordering_key.clone()),
            (property::IDEMPOTENCY_KEY, message.idempotency_key.clone()),
            (property::TRACEPARENT, message.traceparent.clone()),
        ];
        for (name, value) in optional {
            value.map(|value| set(name, value));
        }
        if !message.delay.is_zero() {
            set(property::DELAY, message.delay.as_millis().to_string());
        }
        for (name, value) in &message.headers {
            set(&format!("{}{name}", property::HEADER_PREFIX), value.clone());
        }
        let body = match &message.payload {
            Payload::Inline {
                bytes,
                content_type,
            } => {
                set(property::CONTENT_TYPE, content_type.to_string());
                bytes.clone()
            }
            Payload::Reference(reference) => {
                set(property::REFERENCE, reference.id.to_string());
                reference_json(reference)
            }
        };
        Self { body, properties }
    }

    /// Takes the message out. Properties that it does not know are left alone.
    ///
    /// # Errors
    /// [`Corrupted`](crate::ErrorKind::Corrupted) when a property that it needs is missing or makes
    /// no sense, or the version is a later one.
    pub fn open(self) -> Result<Message> {
        let version: u32 = self.parse(property::VERSION)?;
        if version > Self::VERSION {
            return Err(corrupted(format!(
                "the envelope has version {version}; this program reads up to {}",
                Self::VERSION
            )));
        }
        let headers = self.properties.iter().filter_map(|(name, value)| {
            Some((
                name.strip_prefix(property::HEADER_PREFIX)?.to_owned(),
                value.clone(),
            ))
        });
        let payload = if self.properties.contains_key(property::REFERENCE) {
            let reference: Reference = serde_json::from_slice(&self.body)
                .map_err(|error| corrupted(format!("the reference cannot be read: {error}")))?;
            Payload::Reference(reference)
        } else {
            let content_type = self.optional(property::CONTENT_TYPE, ContentType::new)?;
            Payload::Inline {
                bytes: self.body.clone(),
                content_type: content_type.unwrap_or_default(),
            }
        };
        Ok(Message {
            id: self.parse(property::ID)?,
            topic: self.required(property::TOPIC, Topic::new)?,
            kind: self.optional(property::KIND, Kind::new)?,
            schema: self.text(property::SCHEMA),
            sender: self.text(property::SENDER),
            recipient: self.text(property::RECIPIENT),
            payload,
            headers: headers.collect(),
            correlation_id: self.text(property::CORRELATION),
            reply_to: self.optional(property::REPLY_TO, Topic::new)?,
            priority: Priority::new(self.parse(property::PRIORITY)?)?,
            delay: self.milliseconds(property::DELAY)?.unwrap_or_default(),
            ttl: self.milliseconds(property::TTL)?,
            ordering_key: self.text(property::ORDERING_KEY),
            idempotency_key: self.text(property::IDEMPOTENCY_KEY),
            traceparent: self.text(property::TRACEPARENT),
        })
    }

    fn text(&self, name: &str) -> Option<String> {
        self.properties.get(name).cloned()
    }

    fn optional<T>(&self, name: &str, read: impl Fn(String) -> Result<T>) -> Result<Option<T>> {
        let wrong =
            |error: Error| corrupted(format!("the property {name} makes no sense: {error}"));
        self.text(name)
            .map(|value| read(value).map_err(wrong))
            .transpose()
    }

    fn required<T>(&self, name: &str, read: impl Fn(String) -> Result<T>) -> Result<T> {
        let missing = || corrupted(format!("the property {name} is missing"));
        self.optional(name, read)?.ok_or_else(missing)
    }

    fn parse<T: std::str::FromStr>(&self, name: &str) -> Result<T> {
        let read = |text: String| {
            text.parse()
                .map_err(|_| Error::invalid(format!("{text:?} cannot be read")))
        };
        self.required(name, read)
    }

    fn milliseconds(&self, name: &str) -> Result<Option<Duration>> {
        let present = self.properties.contains_key(name);
        if present {
            self.parse(name).map(|ms| Some(Duration::from_millis(ms)))
        } else {
            Ok(None)
        }
    }
}

fn reference_json(reference: &Reference) -> Bytes {
    serde_json::json!({
        "id": reference.id.to_string(),
        "size": reference.size,
        "content_type": reference.content_type.as_str(),
    })
    .to_string()
    .into()
}

fn corrupted(message: String) -> Error {
    Error::new(crate::ErrorKind::Corrupted, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, ReferenceId};

    fn full() -> Message {
        Message {
            kind: Some(Kind::new("tool_result").unwrap()),
            schema: Some("urn:x".into()),
            sender: Some("a".into()),
            recipient: Some("b".into()),
            headers: [("x".to_owned(), "1".to_owned())].into(),
            correlation_id: Some("c".into()),
            reply_to: Some(Topic::mailbox("a")),
            priority: Priority::HIGH,
            delay: Duration::from_millis(1500),
            ttl: Some(Duration::from_secs(9)),
            ordering_key: Some("k".into()),
            idempotency_key: Some("i".into()),
            traceparent: Some("00-1-2-01".into()),
            ..Message::new(Topic::new("a.b").unwrap(), Payload::text("hello"))
        }
    }

    #[test]
    fn what_is_sealed_is_opened() {
        let reference = Reference {
            id: ReferenceId::of(b"x"),
            size: 1,
            content_type: ContentType::JSON,
        };
        let by_reference = Message {
            payload: Payload::Reference(reference),
            ..full()
        };
        let plain = Message::new(Topic::new("t").unwrap(), Payload::bytes(&b""[..]));
        for message in [full(), by_reference, plain] {
            assert_eq!(Envelope::seal(&message).open().unwrap(), message);
        }
    }

    #[test]
    fn a_broken_envelope_says_what_is_wrong() {
        let broken = |name: &str, value: Option<&str>| {
            let mut envelope = Envelope::seal(&full());
            match value {
                Some(value) => envelope
                    .properties
                    .insert(name.to_owned(), value.to_owned()),
                None => envelope.properties.remove(name),
            };
            envelope.open().unwrap_err()
        };
        let table = [
            ("statehouse-id", None, "statehouse-id is missing"),
            ("statehouse-id", Some("x"), "statehouse-id makes no sense"),
            ("statehouse-version", Some("2"), "reads up to 1"),
            (
                "statehouse-ttl-ms",
                Some("-1"),
                "statehouse-ttl-ms makes no sense",
            ),
        ];
        for (name, value, says) in table {
            let error = broken(name, value);
            assert_eq!(error.kind(), ErrorKind::Corrupted);
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
