//! What scripts answer: a word, or a list that begins with one.

use bytes::Bytes;
use fred::types::Value;
use statehouse_contracts::{Error, Result};

/// A list, read from its front.
#[derive(Debug)]
pub(super) struct Reply {
    values: std::vec::IntoIter<Value>,
}

impl Reply {
    /// A script's answer.
    pub(super) fn new(value: Value) -> Self {
        Self {
            values: value.into_array().into_iter(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.len() == 0
    }

    /// What is left of it, in values.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The next bytes; `None` for what is not there.
    pub(super) fn bytes(&mut self) -> Result<Option<Bytes>> {
        match self.values.next() {
            Some(Value::Null) => Ok(None),
            Some(value) => value.into_bytes().map(Some).ok_or_else(senseless),
            None => Err(senseless()),
        }
    }

    /// The next text.
    pub(super) fn text(&mut self) -> Result<String> {
        let bytes = self.bytes()?.ok_or_else(senseless)?;
        String::from_utf8(bytes.into()).map_err(|_| senseless())
    }

    /// The next number, written as text.
    pub(super) fn number<T: std::str::FromStr>(&mut self) -> Result<T> {
        self.text()?.parse().map_err(|_| senseless())
    }
}

/// A number as a script answers it.
pub(super) fn integer(value: &Value) -> Result<i64> {
    value.as_i64().ok_or_else(senseless)
}

/// The error of an answer that is not what the script says it is.
pub(super) fn senseless() -> Error {
    Error::internal("a script's answer makes no sense")
}
