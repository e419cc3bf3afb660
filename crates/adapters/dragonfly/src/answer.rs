//! Reading what scripts answer: lists of texts, numbers, bytes and lists.

use std::str::FromStr;
use std::vec::IntoIter;

use bytes::Bytes;
use fred::types::Value;
use statehouse_contracts::{Error, Result};

/// A list that is read from its front.
#[derive(Debug)]
pub(crate) struct Answer(IntoIter<Value>);

impl Answer {
    /// Reads `value` as a list.
    pub(crate) fn of(value: Value) -> Result<Self> {
        match value {
            Value::Array(values) => Ok(Self(values.into_iter())),
            _ => Err(senseless("a list")),
        }
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_slice().is_empty()
    }

    /// What is left, value by value.
    pub(crate) fn rest(self) -> IntoIter<Value> {
        self.0
    }

    /// The next value, whatever it is.
    pub(crate) fn value(&mut self) -> Result<Value> {
        self.0.next().ok_or_else(|| senseless("one more value"))
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        text(self.value()?)
    }

    /// A text, or nothing.
    pub(crate) fn optional(&mut self) -> Result<Option<String>> {
        let value = self.value()?;
        (!value.is_null()).then(|| text(value)).transpose()
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes> {
        bytes(self.value()?)
    }

    pub(crate) fn number<T: FromStr>(&mut self) -> Result<T> {
        number(self.value()?)
    }

    /// `1` for yes, anything else for no.
    pub(crate) fn yes(&mut self) -> Result<bool> {
        Ok(yes(&self.value()?))
    }

    pub(crate) fn list(&mut self) -> Result<Self> {
        Self::of(self.value()?)
    }
}

/// A value as text.
pub(crate) fn text(value: Value) -> Result<String> {
    value.into_string().ok_or_else(|| senseless("a text"))
}

/// A value as bytes, which are not copied.
pub(crate) fn bytes(value: Value) -> Result<Bytes> {
    value.into_bytes().ok_or_else(|| senseless("bytes"))
}

/// A value as a number, which scripts give as text.
pub(crate) fn number<T: FromStr>(value: Value) -> Result<T> {
    text(value)?.parse().map_err(|_| senseless("a number"))
}

/// Whether a value says yes, which is `1`.
pub(crate) fn yes(value: &Value) -> bool {
    value.as_bytes() == Some(b"1")
}

fn senseless(wanted: &str) -> Error {
    Error::internal(format!(
        "the server's answer makes no sense: it has no {wanted} there"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_from_its_front() {
        let list = Value::Array(vec![Value::from("x"), Value::Null]);
        let value = Value::Array(vec![
            Value::from("9223372036854775807"),
            Value::Integer(7),
            Value::Bytes(Bytes::from_static(b"\xff")),
            Value::from("1"),
            list,
        ]);
        let mut answer = Answer::of(value).unwrap();
        assert_eq!(answer.number::<u64>().unwrap(), u64::MAX / 2);
        assert_eq!(answer.number::<u64>().unwrap(), 7);
        assert_eq!(answer.bytes().unwrap(), &b"\xff"[..]);
        assert!(answer.yes().unwrap());
        let mut inner = answer.list().unwrap();
        assert_eq!(inner.optional().unwrap().as_deref(), Some("x"));
        assert_eq!(inner.optional().unwrap(), None);
        assert!(inner.is_empty() && inner.text().is_err());
        assert!(Answer::of(Value::Null).is_err());
    }
}
