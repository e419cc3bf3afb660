//! What scripts store packed: a MessagePack list of texts, and `false` for what is not there.

use bytes::Bytes;
use fred::types::Value;

/// The list, as a script would answer it; `None` for what is none.
pub(super) fn unpack(packed: &Bytes) -> Option<Value> {
    let mut rest = Rest { packed, at: 0 };
    let count = match rest.byte()? {
        head @ 0x90..=0x9f => usize::from(head & 0x0f),
        0xdc => rest.number(2)?,
        _ => return None,
    };
    let fields: Option<Vec<Value>> = (0..count).map(|_| rest.field()).collect();
    (rest.at == packed.len()).then_some(Value::Array(fields?))
}

struct Rest<'p> {
    packed: &'p Bytes,
    at: usize,
}

impl Rest<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = self.packed.get(self.at).copied();
        self.at += 1;
        byte
    }

    /// A number of so many bytes, the most significant first.
    fn number(&mut self, bytes: usize) -> Option<usize> {
        (0..bytes).try_fold(0, |sum, _| Some(sum << 8 | usize::from(self.byte()?)))
    }

    fn field(&mut self) -> Option<Value> {
        let length = match self.byte()? {
            0xc0 => return Some(Value::Null),
            0xc2 => return Some(Value::Boolean(false)),
            head @ 0xa0..=0xbf => usize::from(head & 0x1f),
            0xd9 => self.number(1)?,
            0xda => self.number(2)?,
            0xdb => self.number(4)?,
            _ => return None,
        };
        let end = self.at.checked_add(length)?;
        let text = (end <= self.packed.len()).then(|| self.packed.slice(self.at..end))?;
        self.at = end;
        Some(Value::Bytes(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_texts_is_unpacked() {
        let long = "x".repeat(40);
        let packed = [b"\x94\xa1l\xc2\xa0\xd9\x28", long.as_bytes()].concat();
        let text = |text: &str| Value::Bytes(Bytes::copy_from_slice(text.as_bytes()));
        let expected = vec![text("l"), Value::Boolean(false), text(""), text(&long)];
        assert_eq!(unpack(&packed.into()), Some(Value::Array(expected)));
    }

    #[test]
    fn what_is_no_list_of_texts_is_nothing() {
        let table: [&[u8]; 6] = [
            b"",
            b"\x81\xa1a\xa1b",
            b"\x91",
            b"\x91\xa5abc",
            b"\x91\x01",
            b"\x90\xc2",
        ];
        for packed in table {
            assert_eq!(unpack(&Bytes::copy_from_slice(packed)), None, "{packed:?}");
        }
    }
}
