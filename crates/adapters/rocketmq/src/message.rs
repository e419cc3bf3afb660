//! A message in the broker's form: its envelope as properties, and RocketMQ's own beside them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use cheetah_string::CheetahString;
use jiff::Timestamp;
use rocketmq_model::common::message::message_ext::MessageExt;
use statehouse_contracts::{
    Envelope, Error, ErrorKind, Message, MessageId, Received, Result, unescape_word,
};

use crate::naming::tag;

/// RocketMQ's own properties, and one of ours.
mod property {
    pub(super) const KEYS: &str = "KEYS";
    pub(super) const TAGS: &str = "TAGS";
    pub(super) const WAIT: &str = "WAIT";
    pub(super) const UNIQUE_KEY: &str = "UNIQ_KEY";
    pub(super) const SHARDING_KEY: &str = "__SHARDINGKEY";
    pub(super) const DELAY: &str = "TIMER_DELAY_MS";
    /// The body stands for an empty one, which the broker refuses.
    pub(super) const EMPTY: &str = "statehouse-empty";
    /// The names of properties whose value is empty, which the client library forgets.
    pub(super) const EMPTY_VALUES: &str = "statehouse-empty-values";
}

/// What ends a property's name, and what ends its value.
const NAME_END: char = '\u{1}';
const VALUE_END: char = '\u{2}';

/// The most bytes that all properties may have: the broker counts them in 16 bits with a sign, and
/// adds some of its own when it delivers again.
const MAX_PROPERTIES: usize = 31_000;

/// A message as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Native {
    pub(crate) id: MessageId,
    pub(crate) properties: CheetahString,
    pub(crate) body: Bytes,
}

/// The broker's form of `message`.
///
/// # Errors
/// [`InvalidArgument`](ErrorKind::InvalidArgument) when its properties are too long all together.
pub(crate) fn encode(message: &Message) -> Result<Native> {
    let envelope = Envelope::seal(message);
    let mut properties = envelope.properties;
    let mut set = |name: &str, value: String| properties.insert(name.to_owned(), value);
    set(property::UNIQUE_KEY, message.id.to_string());
    set(property::TAGS, tag(&message.topic).to_string());
    set(property::WAIT, "true".to_owned());
    if let Some(keys) = keys(message) {
        set(property::KEYS, keys);
    }
    if let Some(key) = &message.ordering_key {
        set(property::SHARDING_KEY, key.clone());
    }
    if !message.delay.is_zero() {
        set(property::DELAY, message.delay.as_millis().to_string());
    }
    let body = if envelope.body.is_empty() {
        set(property::EMPTY, "true".to_owned());
        Bytes::from_static(b"\0")
    } else {
        envelope.body
    };
    let nothing: Vec<&str> = properties
        .iter()
        .filter(|(_, value)| value.is_empty())
        .map(|(name, _)| name.as_str())
        .collect();
    if !nothing.is_empty() {
        let names = nothing.join(" ");
        properties.insert(property::EMPTY_VALUES.to_owned(), names);
    }
    let properties = written(&properties);
    if properties.len() > MAX_PROPERTIES {
        return Err(Error::invalid(format!(
            "the message's headers and attributes have {} bytes all together; RocketMQ takes at \
             most {MAX_PROPERTIES}",
            properties.len()
        )));
    }
    Ok(Native {
        id: message.id,
        properties: properties.into(),
        body,
    })
}

/// The keys by which the broker's index finds an event of a state: its id and its kind.
fn keys(message: &Message) -> Option<String> {
    let mut words = message.topic.words();
    if words.next() != Some("state") {
        return None;
    }
    let (kind, id) = (words.next()?, words.next()?);
    // Keys are separated by spaces: what has one of its own stays escaped.
    let plain = |word: &str| {
        unescape_word(word)
            .filter(|text| !text.contains(' ') && !text.is_empty())
            .unwrap_or_else(|| word.to_owned())
    };
    Some(format!("{} {}", plain(id), plain(kind)))
}

fn written(properties: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (name, value) in properties {
        text.push_str(name);
        text.push(NAME_END);
        text.push_str(value);
        text.push(VALUE_END);
    }
    text
}

/// Several messages as the body of one request.
pub(crate) fn batch(messages: &[Native]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(messages.iter().map(Native::size).sum());
    for message in messages {
        bytes.put_i32(message.size() as i32);
        // Magic number, checksum and flag: the broker sets its own.
        bytes.put_bytes(0, 12);
        bytes.put_i32(message.body.len() as i32);
        bytes.put_slice(&message.body);
        bytes.put_i16(message.properties.len() as i16);
        bytes.put_slice(message.properties.as_bytes());
    }
    bytes.freeze()
}

impl Native {
    /// Its bytes in a batch.
    pub(crate) fn size(&self) -> usize {
        4 + 12 + 4 + self.body.len() + 2 + self.properties.len()
    }
}

/// The message that was received as `native`.
///
/// Times are those of the sender's broker-side record: sent when it was born, due after its delay.
///
/// # Errors
/// [`Corrupted`](ErrorKind::Corrupted) when it is no message of ours.
pub(crate) fn decode(native: &MessageExt) -> Result<Received> {
    let body = native.body().unwrap_or_default();
    decode_parts(
        native.message_inner().properties().as_map(),
        body,
        native.born_timestamp(),
    )
}

/// The message of these properties and this body, born so many milliseconds after 1970.
pub(crate) fn decode_parts(
    native: &HashMap<CheetahString, CheetahString>,
    body: Bytes,
    born: i64,
) -> Result<Received> {
    let empty = native.contains_key(property::EMPTY);
    let nothing = native
        .get(property::EMPTY_VALUES)
        .map_or("", CheetahString::as_str);
    let nothing = nothing
        .split_ascii_whitespace()
        .map(|name| (name.to_owned(), String::new()));
    let properties = native
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .chain(nothing)
        .collect();
    let message = Envelope {
        body: if empty { Bytes::new() } else { body },
        properties,
    }
    .open()?;
    let sent_at = Timestamp::from_millisecond(born).map_err(|error| {
        Error::new(
            ErrorKind::Corrupted,
            format!("the message was sent at a time that makes no sense: {error}"),
        )
    })?;
    let due_at = later(sent_at, message.delay);
    Ok(Received {
        expires_at: message.ttl.map(|ttl| later(due_at, ttl)),
        message,
        sent_at,
        due_at,
    })
}

/// `wait` after `time`, or the end of time.
pub(crate) fn later(time: Timestamp, wait: Duration) -> Timestamp {
    time.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use statehouse_contracts::{Id, Kind, Payload, Topic};

    use super::*;

    fn read(properties: &str) -> HashMap<CheetahString, CheetahString> {
        properties
            .split_terminator(VALUE_END)
            .filter_map(|pair| pair.split_once(NAME_END))
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    fn state() -> Message {
        let topic = Topic::state(&Kind::new("task").unwrap(), &Id::new("a/7").unwrap());
        let mut message = Message::new(topic, Payload::text("hello"));
        message.ordering_key = Some("task/a/7".to_owned());
        message.headers.insert("x".to_owned(), "ü y".to_owned());
        message.ttl = Some(Duration::from_secs(5));
        message
    }

    #[test]
    fn a_message_is_read_back() {
        for payload in [Payload::text("hello"), Payload::bytes("")] {
            let message = Message {
                payload,
                delay: Duration::from_millis(1_500),
                ..state()
            };
            let native = encode(&message).unwrap();
            assert!(!native.body.is_empty(), "the broker refuses an empty body");
            let received = decode_parts(&read(&native.properties), native.body, 1_000).unwrap();
            assert_eq!(received.message, message);
            let at = |ms| Timestamp::from_millisecond(ms).unwrap();
            assert_eq!((received.sent_at, received.due_at), (at(1_000), at(2_500)));
            assert_eq!(received.expires_at, Some(at(7_500)));
        }
    }

    #[test]
    fn the_brokers_own_properties_are_set() {
        let message = state();
        let properties = read(&encode(&message).unwrap().properties);
        let get = |name: &str| properties.get(name).map(CheetahString::to_string);
        assert_eq!(get("TAGS").as_deref(), Some("state.task.a_2F7"));
        assert_eq!(get("KEYS").as_deref(), Some("a/7 task"));
        assert_eq!(get("UNIQ_KEY"), Some(message.id.to_string()));
        assert_eq!(get("__SHARDINGKEY").as_deref(), Some("task/a/7"));
        assert_eq!(get("TIMER_DELAY_MS"), None);
    }

    #[test]
    fn a_foreign_message_is_corrupted() {
        let error = decode_parts(&HashMap::new(), Bytes::from_static(b"x"), 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted);
    }

    #[test]
    fn too_many_properties_are_refused() {
        let mut message = state();
        message.headers = (0..40)
            .map(|n| (format!("h{n}"), "x".repeat(1_000)))
            .collect();
        let error = encode(&message).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("31000"), "{error}");
    }
}
