//! Bytes in JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use statehouse_contracts::{Bytes, ContentType, Error, Result};
use utoipa::ToSchema;

/// Bytes and their media type. Exactly one of `text`, `json` and `base64` is given.
///
/// JSON keeps its exact form: spaces, order of keys, digits of numbers.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContentDoc {
    /// The bytes as text, where they are UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The bytes as JSON, where they are.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    #[schema(value_type = Option<serde_json::Value>)]
    pub json: Option<Box<RawValue>>,
    /// The bytes in base64 (RFC 4648, section 4), with padding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// The media type; not given: `text/plain; charset=utf-8` of text, `application/json` of
    /// JSON, `application/octet-stream` of base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub content_type: Option<ContentType>,
}

impl ContentDoc {
    /// The document of `bytes`: JSON where the type says so and it keeps the bytes as they are,
    /// else text where they are UTF-8, else base64.
    pub fn new(bytes: &[u8], content_type: ContentType) -> Self {
        let mut doc = Self::of_bytes(bytes, is_json(&content_type));
        doc.content_type = Some(content_type);
        doc
    }

    /// The document of `bytes` without a media type.
    pub fn untyped(bytes: &[u8]) -> Self {
        Self::of_bytes(bytes, false)
    }

    fn of_bytes(bytes: &[u8], json: bool) -> Self {
        let mut doc = Self::default();
        match std::str::from_utf8(bytes) {
            Ok(text) => match json.then(|| verbatim(text)).flatten() {
                Some(json) => doc.json = Some(json),
                None => doc.text = Some(text.to_owned()),
            },
            Err(_) => doc.base64 = Some(STANDARD.encode(bytes)),
        }
        doc
    }

    /// The bytes and their media type.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) when not exactly one
    /// form is given, or the base64 is none.
    pub fn into_parts(self) -> Result<(Bytes, ContentType)> {
        let (bytes, implied) = match (self.text, self.json, self.base64) {
            (Some(text), None, None) => (Bytes::from(text), ContentType::TEXT),
            (None, Some(json), None) => {
                let text: Box<str> = json.into();
                (Bytes::from(String::from(text)), ContentType::JSON)
            }
            (None, None, Some(base64)) => (decode(&base64)?, ContentType::BYTES),
            _ => {
                return Err(Error::invalid(
                    "content is given as exactly one of text, json and base64",
                ));
            }
        };
        Ok((bytes, self.content_type.unwrap_or(implied)))
    }

    /// The bytes alone, where a media type makes no sense.
    ///
    /// # Errors
    /// As [`ContentDoc::into_parts`], and when a media type is given.
    pub fn into_bytes(self) -> Result<Bytes> {
        if self.content_type.is_some() {
            return Err(Error::invalid(
                "content_type cannot be given here: what is there keeps its own",
            ));
        }
        Ok(self.into_parts()?.0)
    }
}

/// Any JSON, `null` as well.
pub(crate) fn given<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

fn decode(text: &str) -> Result<Bytes> {
    let bytes = STANDARD.decode(text);
    bytes
        .map(Bytes::from)
        .map_err(|error| Error::invalid(format!("base64 cannot be read: {error}")))
}

fn is_json(content_type: &ContentType) -> bool {
    let essence = content_type.as_str().split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

/// `text` as JSON that is written exactly as it stands; `None` when it is no JSON, has space
/// around it, or a carriage return, which would end a line of an event stream.
fn verbatim(text: &str) -> Option<Box<RawValue>> {
    if text.contains('\r') {
        return None;
    }
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    (raw.get().len() == text.len()).then(|| raw.to_owned())
}

impl PartialEq for ContentDoc {
    fn eq(&self, other: &Self) -> bool {
        let json = |doc: &Self| doc.json.as_ref().map(|json| json.get().to_owned());
        self.text == other.text
            && json(self) == json(other)
            && self.base64 == other.base64
            && self.content_type == other.content_type
    }
}

impl Eq for ContentDoc {}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(bytes: &[u8], content_type: &ContentType) -> (String, Bytes, ContentType) {
        let text = serde_json::to_string(&ContentDoc::new(bytes, content_type.clone())).unwrap();
        let doc: ContentDoc = serde_json::from_str(&text).unwrap();
        let (back, back_type) = doc.into_parts().unwrap();
        (text, back, back_type)
    }

    #[test]
    fn every_content_comes_back_as_it_was() {
        let table: [(&[u8], ContentType, &str); 9] = [
            (b"null", ContentType::JSON, "json"),
            (b"", ContentType::BYTES, "text"),
            (b"plain \0 \r\n", ContentType::TEXT, "text"),
            (b"\xff\xfe", ContentType::TEXT, "base64"),
            (
                br#"{"b": 1.0, "a":[1e400, "\u00e9"],"a":2}"#,
                ContentType::JSON,
                "json",
            ),
            (b" {}", ContentType::JSON, "text"),
            (b"{\r\n}", ContentType::JSON, "text"),
            (b"{\n}", ContentType::JSON, "json"),
            (b"{", ContentType::JSON, "text"),
        ];
        for (bytes, content_type, form) in table {
            let (text, back, back_type) = through(bytes, &content_type);
            assert!(text.contains(&format!("\"{form}\":")), "{text}");
            assert_eq!(back, bytes, "{text}");
            assert_eq!(back_type, content_type);
        }
    }

    #[test]
    fn one_form_is_needed() {
        for wrong in ["{}", r#"{"text":"a","json":1}"#, r#"{"base64":"a"}"#] {
            let doc: ContentDoc = serde_json::from_str(wrong).unwrap();
            assert!(doc.into_parts().is_err(), "{wrong}");
        }
        assert!(serde_json::from_str::<ContentDoc>(r#"{"texts":"a"}"#).is_err());
    }
}
