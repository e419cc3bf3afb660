//! A message as it lies in the file: the payload in a column of its own, the rest as one compact
//! blob. It begins with a version, the id and the priority; fields follow, each with a tag and a
//! length, and only when the message has them. A field that is not known is passed over.

use std::time::Duration;

use bytes::Bytes;
use statehouse_contracts::{
    ContentType, Error, ErrorKind, Kind, Message, MessageId, Payload, Priority, Reference,
    ReferenceId, Result, Topic,
};

/// The version of the blob.
const VERSION: u8 = 1;

/// Where the id lies in the blob, counted from 1 as SQL does.
pub(super) const ID_IN_SQL: &str = "substr(meta, 2, 16)";

mod tag {
    pub(super) const TOPIC: u8 = 1;
    pub(super) const KIND: u8 = 2;
    pub(super) const SCHEMA: u8 = 3;
    pub(super) const SENDER: u8 = 4;
    pub(super) const RECIPIENT: u8 = 5;
    pub(super) const CONTENT_TYPE: u8 = 6;
    pub(super) const REFERENCE: u8 = 7;
    pub(super) const HEADER_NAME: u8 = 8;
    pub(super) const HEADER_VALUE: u8 = 9;
    pub(super) const CORRELATION: u8 = 10;
    pub(super) const REPLY_TO: u8 = 11;
    pub(super) const DELAY: u8 = 12;
    pub(super) const TTL: u8 = 13;
    pub(super) const ORDERING_KEY: u8 = 14;
    pub(super) const IDEMPOTENCY_KEY: u8 = 15;
    pub(super) const TRACEPARENT: u8 = 16;
}

/// The blob and the payload of a message.
pub(super) fn encode(message: &Message) -> (Vec<u8>, Bytes) {
    let mut blob = Vec::with_capacity(96);
    blob.push(VERSION);
    blob.extend_from_slice(message.id.0.as_bytes());
    blob.push(message.priority.level());
    let mut put = |tag, bytes: &[u8]| field(&mut blob, tag, bytes);
    put(tag::TOPIC, message.topic.as_str().as_bytes());
    let optional = [
        (tag::KIND, message.kind.as_ref().map(Kind::as_str)),
        (tag::SCHEMA, message.schema.as_deref()),
        (tag::SENDER, message.sender.as_deref()),
        (tag::RECIPIENT, message.recipient.as_deref()),
        (tag::CORRELATION, message.correlation_id.as_deref()),
        (tag::REPLY_TO, message.reply_to.as_ref().map(Topic::as_str)),
        (tag::ORDERING_KEY, message.ordering_key.as_deref()),
        (tag::IDEMPOTENCY_KEY, message.idempotency_key.as_deref()),
        (tag::TRACEPARENT, message.traceparent.as_deref()),
    ];
    for (tag, value) in optional {
        if let Some(value) = value {
            put(tag, value.as_bytes());
        }
    }
    if !message.delay.is_zero() {
        put(tag::DELAY, &nanos(message.delay));
    }
    if let Some(ttl) = message.ttl {
        put(tag::TTL, &nanos(ttl));
    }
    for (name, value) in &message.headers {
        put(tag::HEADER_NAME, name.as_bytes());
        put(tag::HEADER_VALUE, value.as_bytes());
    }
    let payload = match &message.payload {
        Payload::Inline {
            bytes,
            content_type,
        } => {
            if *content_type != ContentType::BYTES {
                put(tag::CONTENT_TYPE, content_type.as_str().as_bytes());
            }
            bytes.clone()
        }
        Payload::Reference(reference) => {
            put(tag::REFERENCE, &reference_bytes(reference));
            Bytes::new()
        }
    };
    (blob, payload)
}

/// The message that was encoded.
///
/// # Errors
/// `Corrupted` when the blob makes no sense.
pub(super) fn decode(blob: &[u8], payload: Bytes) -> Result<Message> {
    read(blob, payload).map_err(|problem| {
        Error::new(
            ErrorKind::Corrupted,
            format!("a stored message cannot be read: {problem}"),
        )
    })
}

/// What can be told of a message that cannot be read: the bytes of its payload, its id and topic as
/// far as they are there, and in the header `unreadable` why the rest is not.
pub(super) fn salvage(blob: &[u8], payload: Bytes, problem: &Error) -> Result<Message> {
    let topic = topic(blob).and_then(|topic| Topic::new(topic).ok());
    let topic = topic.map_or_else(|| Topic::new("unreadable"), Ok)?;
    let mut message = Message::new(topic, Payload::bytes(payload));
    let id = blob
        .get(1..17)
        .and_then(|id| uuid::Uuid::from_slice(id).ok());
    message.id = MessageId(id.unwrap_or_default());
    let why = ("unreadable".to_owned(), problem.message().to_owned());
    message.headers.extend([why]);
    Ok(message)
}

/// The topic of an encoded message: its first field.
pub(super) fn topic(blob: &[u8]) -> Option<&str> {
    let mut rest = blob.get(HEAD..)?;
    let (tag, value) = next_field(&mut rest).ok()??;
    (tag == tag::TOPIC).then_some(std::str::from_utf8(value).ok()?)
}

/// Version, id, priority.
const HEAD: usize = 18;

/// Why a blob cannot be read.
type Problem = String;

fn read(blob: &[u8], payload: Bytes) -> std::result::Result<Message, Problem> {
    let head: &[u8; HEAD] = blob
        .get(..HEAD)
        .and_then(|head| head.try_into().ok())
        .ok_or("it is cut off")?;
    if head[0] != VERSION {
        return Err(format!(
            "it has version {}, this program reads {VERSION}",
            head[0]
        ));
    }
    let mut rest = &blob[HEAD..];
    let topic = match next_field(&mut rest)? {
        Some((tag::TOPIC, value)) => parse(value, Topic::new)?,
        _ => return Err("it has no topic".to_owned()),
    };
    let mut message = Message::new(topic, Payload::bytes(payload));
    let id = uuid::Uuid::from_slice(&head[1..17]).map_err(|error| error.to_string())?;
    message.id = MessageId(id);
    message.priority = Priority::new(head[17]).map_err(|error| error.to_string())?;
    let mut header = None;
    while let Some((tag, value)) = next_field(&mut rest)? {
        set(&mut message, &mut header, tag, value)?;
    }
    Ok(message)
}

fn set(
    message: &mut Message,
    header: &mut Option<String>,
    tag: u8,
    value: &[u8],
) -> std::result::Result<(), Problem> {
    match tag {
        tag::KIND => message.kind = Some(parse(value, Kind::new)?),
        tag::SCHEMA => message.schema = Some(text(value)?),
        tag::SENDER => message.sender = Some(text(value)?),
        tag::RECIPIENT => message.recipient = Some(text(value)?),
        tag::CORRELATION => message.correlation_id = Some(text(value)?),
        tag::REPLY_TO => message.reply_to = Some(parse(value, Topic::new)?),
        tag::ORDERING_KEY => message.ordering_key = Some(text(value)?),
        tag::IDEMPOTENCY_KEY => message.idempotency_key = Some(text(value)?),
        tag::TRACEPARENT => message.traceparent = Some(text(value)?),
        tag::DELAY => message.delay = span(value)?,
        tag::TTL => message.ttl = Some(span(value)?),
        tag::HEADER_NAME => *header = Some(text(value)?),
        tag::HEADER_VALUE => {
            let name = header.take().ok_or("a header has no name")?;
            message.headers.insert(name, text(value)?);
        }
        tag::CONTENT_TYPE => {
            let named = parse(value, ContentType::new)?;
            if let Payload::Inline { content_type, .. } = &mut message.payload {
                *content_type = named;
            }
        }
        tag::REFERENCE => message.payload = Payload::Reference(reference(value)?),
        _ => {}
    }
    Ok(())
}

fn field(blob: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    blob.push(tag);
    let mut length = bytes.len();
    while length >= 0x80 {
        blob.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    blob.push(length as u8);
    blob.extend_from_slice(bytes);
}

fn next_field<'b>(rest: &mut &'b [u8]) -> std::result::Result<Option<(u8, &'b [u8])>, Problem> {
    let Some((&tag, mut after)) = rest.split_first() else {
        return Ok(None);
    };
    let mut length = 0_usize;
    for shift in (0..35).step_by(7) {
        let (&byte, next) = after.split_first().ok_or("a field is cut off")?;
        after = next;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let (value, next) = after.split_at_checked(length).ok_or("a field is cut off")?;
            *rest = next;
            return Ok(Some((tag, value)));
        }
    }
    Err("a field is too long".to_owned())
}

fn text(value: &[u8]) -> std::result::Result<String, Problem> {
    String::from_utf8(value.to_vec()).map_err(|error| error.to_string())
}

fn parse<T>(value: &[u8], new: impl Fn(String) -> Result<T>) -> std::result::Result<T, Problem> {
    new(text(value)?).map_err(|error| error.to_string())
}

fn nanos(span: Duration) -> [u8; 8] {
    u64::try_from(span.as_nanos())
        .unwrap_or(u64::MAX)
        .to_le_bytes()
}

fn span(value: &[u8]) -> std::result::Result<Duration, Problem> {
    let bytes = value.try_into().map_err(|_| "a span has not 8 bytes")?;
    Ok(Duration::from_nanos(u64::from_le_bytes(bytes)))
}

fn reference_bytes(reference: &Reference) -> Vec<u8> {
    let mut bytes = reference.id.digest().to_vec();
    bytes.extend_from_slice(&reference.size.to_le_bytes());
    bytes.extend_from_slice(reference.content_type.as_str().as_bytes());
    bytes
}

fn reference(value: &[u8]) -> std::result::Result<Reference, Problem> {
    let cut = || "a reference is cut off".to_owned();
    let (digest, rest) = value.split_first_chunk::<32>().ok_or_else(cut)?;
    let (size, content_type) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
    Ok(Reference {
        id: ReferenceId::from_digest(*digest),
        size: u64::from_le_bytes(*size),
        content_type: parse(content_type, ContentType::new)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message() -> impl Strategy<Value = Message> {
        let optional = || prop::option::of("\\PC{0,200}");
        let payload = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Payload::bytes),
            "\\PC{0,40}".prop_map(Payload::text),
            any::<([u8; 32], u64)>().prop_map(|(digest, size)| Payload::Reference(Reference {
                id: ReferenceId::from_digest(digest),
                size,
                content_type: ContentType::JSON,
            })),
        ];
        let times = (any::<u64>(), prop::option::of(any::<u64>()));
        let texts = (optional(), optional(), optional(), optional(), optional());
        let headers = prop::collection::btree_map("[a-z]{1,9}", "\\PC{0,200}", 0..4);
        (payload, times, texts, headers, 0..10_u8).prop_map(
            |(payload, (delay, ttl), texts, headers, priority)| Message {
                delay: Duration::from_nanos(delay),
                ttl: ttl.map(Duration::from_nanos),
                schema: texts.0,
                sender: texts.1,
                recipient: texts.2,
                ordering_key: texts.3,
                idempotency_key: texts.4.clone(),
                correlation_id: texts.4.clone(),
                traceparent: texts.4,
                headers,
                kind: Some(Kind::new("k").unwrap()),
                reply_to: Some(Topic::mailbox("me")),
                priority: Priority::new(priority).unwrap(),
                ..Message::new(Topic::new("a.b").unwrap(), payload)
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(message in message()) {
            let (blob, payload) = encode(&message);
            prop_assert_eq!(topic(&blob), Some("a.b"));
            prop_assert_eq!(decode(&blob, payload).unwrap(), message);
        }

        #[test]
        fn a_damaged_blob_is_an_error_or_a_message(
            message in message(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
            end in any::<prop::sample::Index>(),
        ) {
            let (mut blob, payload) = encode(&message);
            let at = at.index(blob.len());
            blob[at] = byte;
            blob.truncate(end.index(blob.len()) + 1);
            if let Err(error) = decode(&blob, payload) {
                prop_assert_eq!(error.kind(), ErrorKind::Corrupted);
            }
        }
    }
}
