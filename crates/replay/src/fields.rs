//! Fields of recorded JSON objects, each error naming the field and what was expected.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use statehouse_contracts::Bytes;

use super::run::{ChatMessage, Content, Step};

/// A JSON object whose values are not read yet.
pub(super) type Object<'a> = BTreeMap<String, &'a RawValue>;

/// Reads one JSON object.
pub(super) fn object(text: &str) -> Result<Object<'_>, serde_json::Error> {
    serde_json::from_str(text)
}

/// What a JSON text is, for errors.
pub(super) fn kind(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "text",
        Some(b't' | b'f') => "a bool",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// The fields of one object, taken one by one; what is left is extra.
pub(super) struct Fields<'a> {
    object: Object<'a>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(object: Object<'a>) -> Self {
        Self { object }
    }

    /// The fields of a value that must be an object.
    pub(super) fn of(raw: &'a RawValue) -> Result<Self, String> {
        match object(raw.get()) {
            Ok(object) => Ok(Self::new(object)),
            Err(_) if kind(raw) == "an object" => Err("the object cannot be read".to_owned()),
            Err(_) => Err(format!("expected an object, found {}", kind(raw))),
        }
    }

    /// The field's JSON; `None` when it is absent or null. A null stays among the extra fields.
    pub(super) fn raw(&mut self, name: &str) -> Option<&'a RawValue> {
        match self.object.get(name) {
            Some(raw) if kind(raw) != "null" => self.object.remove(name),
            _ => None,
        }
    }

    /// A field of the type `T`, which `expected` describes.
    pub(super) fn get<T: DeserializeOwned>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, String> {
        let read = |raw: &RawValue| {
            serde_json::from_str(raw.get()).map_err(|error| wrong_type(name, expected, raw, &error))
        };
        self.raw(name).map(read).transpose()
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        self.get(name, "text")
    }

    /// A text that must be there and not be empty.
    pub(super) fn required(&mut self, name: &str) -> Result<String, String> {
        let text = self.text(name)?;
        text.filter(|text| !text.is_empty())
            .ok_or_else(|| format!("the field {name:?} is missing; expected text"))
    }

    /// The fields not taken, read.
    pub(super) fn rest(self) -> Result<BTreeMap<String, Value>, String> {
        let read = |(name, raw): (String, &RawValue)| {
            let value = serde_json::from_str(raw.get());
            let value = value.map_err(|error| wrong_type(&name, "JSON", raw, &error))?;
            Ok((name, value))
        };
        self.object.into_iter().map(read).collect()
    }

    /// The fields not taken, as slices of `content`.
    pub(super) fn rest_raw(self, content: &Bytes) -> BTreeMap<String, Bytes> {
        self.object
            .into_iter()
            .map(|(name, raw)| (name, slice(content, raw.get())))
            .collect()
    }
}

fn wrong_type(name: &str, expected: &str, raw: &RawValue, error: &serde_json::Error) -> String {
    let found = kind(raw);
    if found == expected || expected == "JSON" {
        // The type is right, and what is inside cannot be read: a lone surrogate, too deep a nest.
        return format!("the field {name:?} cannot be read: {error}");
    }
    format!("the field {name:?}: expected {expected}, found {found}")
}

/// `text`, which lies in `content`, as a slice that shares its memory.
pub(super) fn slice(content: &Bytes, text: &str) -> Bytes {
    content.slice_ref(text.as_bytes())
}

/// The fields of a step; what is left goes to `extra`.
pub(super) fn step(mut fields: Fields<'_>, raw: Bytes) -> Result<Step, String> {
    Ok(Step {
        thought: fields.text("thought")?,
        action: fields.text("action")?,
        observation: fields.text("observation")?,
        response: fields.text("response")?,
        state: fields
            .get("state", "an object, or text that holds one")?
            .map(state),
        execution_time: fields.get("execution_time", "a number")?,
        extra: fields.rest()?,
        raw,
    })
}

fn state(value: Value) -> Value {
    match &value {
        Value::String(text) => serde_json::from_str(text).unwrap_or(value),
        _ => value,
    }
}

/// The fields of a message; what is left goes to `extra`.
pub(super) fn message(mut fields: Fields<'_>, raw: Bytes) -> Result<ChatMessage, String> {
    let expected = "text or a list of parts";
    let content = match fields.get("content", expected)? {
        None => Content::None,
        Some(Value::String(text)) => Content::Text(text),
        Some(Value::Array(parts)) => Content::Parts(parts),
        Some(_) => return Err(format!("the field \"content\": expected {expected}")),
    };
    Ok(ChatMessage {
        role: fields.required("role")?,
        content,
        tool_calls: fields.get("tool_calls", "a list")?.unwrap_or_default(),
        extra: fields.rest()?,
        raw,
    })
}
