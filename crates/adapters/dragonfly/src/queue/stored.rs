//! A message as it lies on the server: the 16 bytes of its id, the length of its properties as
//! four bytes (most significant first), its envelope's properties as a JSON object, its body.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use statehouse_contracts::{Envelope, Error, ErrorKind, Message, Result};

const ID: usize = 16;
const LENGTH: usize = 4;

/// The stored form of a message.
///
/// # Errors
/// None in practice: properties are text.
pub(super) fn encode(message: &Message) -> Result<Bytes> {
    let envelope = Envelope::seal(message);
    let properties = serde_json::to_vec(&envelope.properties)
        .map_err(|error| Error::internal("properties as JSON").with_source(error))?;
    let length = u32::try_from(properties.len())
        .map_err(|_| Error::invalid("the message has too many properties"))?;
    let size = ID + LENGTH + properties.len() + envelope.body.len();
    let mut stored = BytesMut::with_capacity(size);
    stored.put_slice(message.id.0.as_bytes());
    stored.put_u32(length);
    stored.put_slice(&properties);
    stored.put_slice(&envelope.body);
    Ok(stored.freeze())
}

/// The message of a stored form.
///
/// # Errors
/// `Corrupted` for what is none.
pub(super) fn decode(stored: Bytes) -> Result<Message> {
    let short = || corrupted("it is cut off");
    let length = stored.get(ID..ID + LENGTH).ok_or_else(short)?;
    let length = length
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let body_at = (ID + LENGTH).checked_add(length).ok_or_else(short)?;
    let properties = stored.get(ID + LENGTH..body_at).ok_or_else(short)?;
    let properties: BTreeMap<String, String> = serde_json::from_slice(properties)
        .map_err(|error| corrupted("its properties cannot be read").with_source(error))?;
    Envelope {
        body: stored.slice(body_at..),
        properties,
    }
    .open()
}

fn corrupted(why: &str) -> Error {
    Error::new(
        ErrorKind::Corrupted,
        format!("a stored message makes no sense: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use statehouse_contracts::{Payload, Topic};

    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for payload in [
            Payload::text("hello"),
            Payload::bytes(&[0_u8, 255, 254][..]),
            Payload::bytes(&b""[..]),
        ] {
            let message = Message {
                sender: Some("ünï \"cøde\"".to_owned()),
                ..Message::new(Topic::new("a.b").unwrap(), payload)
            };
            let stored = encode(&message).unwrap();
            assert_eq!(&stored[..16], message.id.0.as_bytes());
            assert_eq!(decode(stored).unwrap(), message);
        }
    }

    #[test]
    fn a_damaged_form_is_corrupted() {
        let message = Message::new(Topic::new("a.b").unwrap(), Payload::text("hello"));
        let stored = encode(&message).unwrap();
        for damaged in [
            Bytes::new(),
            stored.slice(..18),
            stored.slice(..40),
            Bytes::from(vec![b'x'; 100]),
        ] {
            assert_eq!(decode(damaged).unwrap_err().kind(), ErrorKind::Corrupted);
        }
    }
}
