//! What a Redis server answers (RESP2).

use crate::Result;

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Bytes(Vec<u8>),
    Number(i64),
    List(Vec<Value>),
    Nil,
    Error(String),
}

impl Value {
    /// The first reply in `buffer` and its length; `None` while it is not whole.
    pub(super) fn parse(buffer: &[u8]) -> Result<Option<(Self, usize)>> {
        let mut at = 0;
        Ok(parse(buffer, &mut at)?.map(|value| (value, at)))
    }

    pub(super) fn into_bytes(self) -> Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(format!("a string was expected, the server said {other:?}").into()),
        }
    }

    /// The items of a list; none for nil.
    pub(super) fn into_items(self) -> Result<Vec<Self>> {
        match self {
            Self::List(items) => Ok(items),
            Self::Nil => Ok(Vec::new()),
            other => Err(format!("a list was expected, the server said {other:?}").into()),
        }
    }
}

fn parse(buffer: &[u8], at: &mut usize) -> Result<Option<Value>> {
    let Some(line) = line(buffer, at) else {
        return Ok(None);
    };
    let (sort, text) = line
        .split_first()
        .ok_or("the server answered an empty line")?;
    Ok(match sort {
        b'+' => Some(Value::Bytes(text.to_vec())),
        b'-' => Some(Value::Error(String::from_utf8_lossy(text).into_owned())),
        b':' => Some(Value::Number(number(text)?)),
        b'$' => match usize::try_from(number(text)?) {
            Ok(length) => bytes(buffer, at, length),
            Err(_) => Some(Value::Nil),
        },
        b'*' => match usize::try_from(number(text)?) {
            Ok(count) => list(buffer, at, count)?,
            Err(_) => Some(Value::Nil),
        },
        other => return Err(format!("a reply began with byte {other}").into()),
    })
}

fn line<'b>(buffer: &'b [u8], at: &mut usize) -> Option<&'b [u8]> {
    let rest = buffer.get(*at..)?;
    let length = rest.windows(2).position(|two| two == b"\r\n")?;
    *at += length + 2;
    rest.get(..length)
}

fn number(text: &[u8]) -> Result<i64> {
    Ok(std::str::from_utf8(text)?.parse()?)
}

fn bytes(buffer: &[u8], at: &mut usize, length: usize) -> Option<Value> {
    let whole = buffer.get(*at..*at + length + 2)?;
    *at += whole.len();
    Some(Value::Bytes(whole[..length].to_vec()))
}

fn list(buffer: &[u8], at: &mut usize, count: usize) -> Result<Option<Value>> {
    let mut items = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        match parse(buffer, at)? {
            Some(item) => items.push(item),
            None => return Ok(None),
        }
    }
    Ok(Some(Value::List(items)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_whole_or_not_at_all() {
        let text = b"*4\r\n$3\r\na\r\n\r\n:-7\r\n$-1\r\n*1\r\n+OK\r\n";
        let expected = Value::List(vec![
            Value::Bytes(b"a\r\n".to_vec()),
            Value::Number(-7),
            Value::Nil,
            Value::List(vec![Value::Bytes(b"OK".to_vec())]),
        ]);
        for end in 0..text.len() {
            assert_eq!(Value::parse(&text[..end]).unwrap(), None, "{end}");
        }
        assert_eq!(Value::parse(text).unwrap(), Some((expected, text.len())));
    }

    #[test]
    fn errors_and_nonsense_are_told() {
        let error = Value::Error("ERR no".to_owned());
        assert_eq!(Value::parse(b"-ERR no\r\n").unwrap(), Some((error, 9)));
        assert!(Value::parse(b"?\r\n").is_err());
        assert!(Value::parse(b":x\r\n").is_err());
    }
}
