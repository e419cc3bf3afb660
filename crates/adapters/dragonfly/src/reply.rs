//! What scripts answer, read field by field.

use std::str::FromStr;

use bytes::Bytes;
use fred::types::Value;
use statehouse_contracts::{Error, Result, Timestamp};

use crate::time::timestamp;

/// One value of an answer.
#[derive(Debug)]
pub(crate) struct Reply(Value);

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

/// The error of an answer that is not what the script says it is.
pub(crate) fn senseless() -> Error {
    Error::internal("a script's answer makes no sense")
}

fn unexpected(wanted: &str, got: &Value) -> Error {
    let kind = got.kind();
    Error::internal(format!("a script answered {kind:?} where {wanted} belongs"))
}

impl Reply {
    /// A list of fields in a fixed order.
    pub(crate) fn row(self) -> Result<Row> {
        match self.0 {
            Value::Array(fields) => Ok(Row(fields.into_iter())),
            other => Err(unexpected("a row", &other)),
        }
    }

    /// A list of values of one sort.
    pub(crate) fn list(self) -> Result<impl ExactSizeIterator<Item = Reply>> {
        match self.0 {
            Value::Array(values) => Ok(values.into_iter().map(Reply)),
            other => Err(unexpected("a list", &other)),
        }
    }

    /// The first of a list that has at most one.
    pub(crate) fn single(self) -> Result<Option<Reply>> {
        Ok(self.list()?.next())
    }

    /// Text.
    pub(crate) fn text(self) -> Result<String> {
        let wrong = |value: &Value| unexpected("text", value);
        match self.0 {
            Value::String(text) => Ok(text.to_string()),
            Value::Bytes(bytes) => String::from_utf8(bytes.into())
                .map_err(|_| Error::internal("a script answered text that is not UTF-8")),
            other => Err(wrong(&other)),
        }
    }

    /// Text, where it lies.
    pub(crate) fn str(&self) -> Result<&str> {
        let text = match &self.0 {
            Value::String(text) => Some(&**text),
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        };
        text.ok_or_else(|| unexpected("text", &self.0))
    }

    /// Bytes, not copied.
    pub(crate) fn bytes(self) -> Result<Bytes> {
        match self.0 {
            Value::String(text) => Ok(text.into_inner()),
            Value::Bytes(bytes) => Ok(bytes),
            other => Err(unexpected("bytes", &other)),
        }
    }

    /// A number, or text of one.
    pub(crate) fn number<T: TryFrom<i64> + FromStr>(self) -> Result<T> {
        let number = match &self.0 {
            Value::Integer(number) => T::try_from(*number).ok(),
            other => other.as_str().and_then(|text| text.parse().ok()),
        };
        number.ok_or_else(|| unexpected("a number", &self.0))
    }

    /// A time in microseconds since 1970.
    pub(crate) fn time(self) -> Result<Timestamp> {
        self.number().map(timestamp)
    }

    /// Whether it is this text.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.0.as_bytes() == Some(text.as_bytes())
    }

    /// Whether it says that there is nothing.
    pub(crate) fn is_none(&self) -> bool {
        matches!(self.0, Value::Null | Value::Boolean(false))
    }
}

/// Fields in a fixed order, each read once.
#[derive(Debug)]
pub(crate) struct Row(std::vec::IntoIter<Value>);

impl From<Value> for Row {
    /// A row; what is no list is a row of one field.
    fn from(value: Value) -> Self {
        Self(value.into_array().into_iter())
    }
}

impl Row {
    /// How many fields are left.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no field is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// The next field.
    pub(crate) fn next(&mut self) -> Result<Reply> {
        let field = self.0.next().map(Reply);
        field.ok_or_else(|| Error::internal("a script answered a row that is too short"))
    }

    /// The next field, if it is not none.
    pub(crate) fn optional(&mut self) -> Result<Option<Reply>> {
        Ok(Some(self.next()?).filter(|field| !field.is_none()))
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        self.next()?.text()
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes> {
        self.next()?.bytes()
    }

    /// The next bytes, if they are not none.
    pub(crate) fn optional_bytes(&mut self) -> Result<Option<Bytes>> {
        self.optional()?.map(Reply::bytes).transpose()
    }

    pub(crate) fn number<T: TryFrom<i64> + FromStr>(&mut self) -> Result<T> {
        self.next()?.number()
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp> {
        self.next()?.time()
    }
}
