//! How a recorded step and message look in the store, and back.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use statehouse_contracts::{Bytes, Error, ErrorKind, ReferenceId, Result};

/// The record of one step: a version of `task/<run>`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredStep {
    /// Its number, from 0.
    pub(super) step: usize,
    /// The step as it was recorded, without its observation when that is stored by reference.
    pub(super) recorded: Value,
    /// The content that is the observation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) observation: Option<ReferenceId>,
}

impl StoredStep {
    /// The record of the step `raw`. An observation of more than `inline` bytes is taken out, to be
    /// stored by reference.
    pub(super) fn split(step: usize, raw: &[u8], inline: usize) -> Result<(Self, Option<Bytes>)> {
        let mut recorded: Value = serde_json::from_slice(raw).map_err(unreadable)?;
        let long = recorded["observation"]
            .as_str()
            .is_some_and(|text| text.len() > inline);
        let taken = if long {
            recorded
                .as_object_mut()
                .and_then(|fields| fields.remove("observation"))
        } else {
            None
        };
        let content = match taken {
            Some(Value::String(text)) => Some(Bytes::from(text)),
            _ => None,
        };
        let observation = content.as_deref().map(ReferenceId::of);
        Ok((
            Self {
                step,
                recorded,
                observation,
            },
            content,
        ))
    }

    /// The record as it is stored.
    pub(super) fn encode(&self) -> Result<Bytes> {
        serde_json::to_vec(self)
            .map(Bytes::from)
            .map_err(unreadable)
    }

    /// The record as it was stored.
    pub(super) fn decode(stored: &[u8]) -> Result<Self> {
        serde_json::from_slice(stored).map_err(unreadable)
    }

    /// The recorded step, with the observation back in its place.
    pub(super) fn join(mut self, observation: Option<&[u8]>) -> Result<Bytes> {
        if let Some(bytes) = observation {
            let text = String::from_utf8(bytes.to_vec()).map_err(unreadable)?;
            self.recorded["observation"] = Value::String(text);
        }
        serde_json::to_vec(&self.recorded)
            .map(Bytes::from)
            .map_err(unreadable)
    }
}

/// A JSON text on one line: without the white space outside of its strings, with a line end.
pub(super) fn line(json: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(json.len() + 1);
    let (mut in_string, mut escaped) = (false, false);
    for &byte in json {
        if !in_string && byte.is_ascii_whitespace() {
            continue;
        }
        line.push(byte);
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ => {}
        }
    }
    line.push(b'\n');
    line.into()
}

/// The lines of a conversation.
pub(super) fn lines(stored: &Bytes) -> Vec<Bytes> {
    let lines = stored
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines.map(|line| stored.slice_ref(line)).collect()
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Corrupted, "a stored step cannot be read").with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_observation_is_taken_out_and_put_back() {
        let raw = br#"{"action":"ls","observation":"a long one","n":1.50}"#;
        let (step, content) = StoredStep::split(3, raw, 4).unwrap();
        assert_eq!(content.as_deref(), Some(&b"a long one"[..]));
        let stored = StoredStep::decode(&step.encode().unwrap()).unwrap();
        assert_eq!(stored.observation, Some(ReferenceId::of(b"a long one")));
        let joined = stored.join(content.as_deref()).unwrap();
        let value = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        assert_eq!(value(&joined), value(raw));
        assert!(StoredStep::split(0, raw, 10).unwrap().1.is_none());
    }

    #[test]
    fn a_message_is_one_line() {
        let pretty = b"{\n  \"a b\": \"x \\\" \\n y\",\n  \"c\": [1, 2]\n}";
        assert_eq!(
            &line(pretty)[..],
            b"{\"a b\":\"x \\\" \\n y\",\"c\":[1,2]}\n"
        );
        let two = Bytes::from([line(b"1"), line(b"{ }")].concat());
        assert_eq!(lines(&two), [&b"1"[..], b"{}"]);
    }
}
