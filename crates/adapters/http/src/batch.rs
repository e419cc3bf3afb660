//! Batches whose items need not hold together, in requests that are not too large.

use bytes::Bytes;
use serde::Serialize;
use statehouse_contracts::{Error, Result};

/// The most bytes of items in one request, but for one that is larger itself.
const REQUEST: usize = 8 << 20;

/// What a request may have besides its items.
const FRAME: u64 = 4 << 10;

/// The most bytes of items in one request to a service that takes bodies of `body_limit` bytes.
pub(crate) fn room(body_limit: u64) -> usize {
    let most = body_limit.saturating_sub(FRAME);
    usize::try_from(most).unwrap_or(usize::MAX).min(REQUEST)
}

/// Items as they are written, in requests of a bounded size.
#[derive(Debug)]
pub(crate) struct Part {
    /// How many items it has.
    pub(crate) len: usize,
    /// The items, joined by commas.
    items: Vec<u8>,
}

impl Part {
    /// The document `{"name": [items], rest…}`; `rest` is empty or begins with a comma.
    pub(crate) fn document(&self, name: &str, rest: &str) -> Bytes {
        let mut body = Vec::with_capacity(self.items.len() + name.len() + rest.len() + 8);
        body.extend_from_slice(format!("{{\"{name}\":[").as_bytes());
        body.extend_from_slice(&self.items);
        body.extend_from_slice(format!("]{rest}}}").as_bytes());
        body.into()
    }
}

/// The items in parts of at most `room` bytes, in their order. No items are one part, so that the
/// service is asked.
pub(crate) fn parts<T: Serialize>(
    items: impl IntoIterator<Item = T>,
    room: usize,
) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut part = Part {
        len: 0,
        items: Vec::new(),
    };
    for item in items {
        let before = part.items.len();
        if part.len > 0 {
            part.items.push(b',');
        }
        serde_json::to_writer(&mut part.items, &item)
            .map_err(|error| Error::internal("a document cannot be written").with_source(error))?;
        if part.len > 0 && part.items.len() > room {
            let items = part.items.split_off(before + 1);
            part.items.truncate(before);
            parts.push(std::mem::replace(&mut part, Part { len: 0, items }));
        }
        part.len += 1;
    }
    parts.push(part);
    Ok(parts)
}

/// Fits the answers of one part to its items: a failure of the request is each item's.
pub(crate) fn fitted<T>(len: usize, answers: Result<Vec<Result<T>>>) -> Vec<Result<T>> {
    match answers {
        Ok(answers) if answers.len() == len => answers,
        Ok(answers) => {
            let got = answers.len();
            let wrong = || {
                Err(crate::error::nonsense(format!(
                    "{got} answers for {len} items"
                )))
            };
            (0..len).map(|_| wrong()).collect()
        }
        Err(error) => (0..len).map(|_| Err(error.replicate())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lengths: &[usize]) -> Vec<String> {
        lengths.iter().map(|length| "x".repeat(*length)).collect()
    }

    #[test]
    fn parts_are_as_large_as_they_may_be() {
        assert_eq!(
            [room(0), room(5 << 10), room(1 << 40)],
            [0, 1 << 10, REQUEST]
        );
        let room = 1 << 16;
        let half = room / 2 - 10;
        let table: [(&[usize], &[usize]); 5] = [
            (&[], &[0]),
            (&[1, 2, 3], &[3]),
            (&[half, half, half], &[2, 1]),
            (&[2 * room, 1], &[1, 1]),
            (&[1, 2 * room], &[1, 1]),
        ];
        for (lengths, expected) in table {
            let parts = parts(texts(lengths), room).unwrap();
            let found: Vec<usize> = parts.iter().map(|part| part.len).collect();
            assert_eq!(found, expected, "{lengths:?}");
            let mut back: Vec<String> = Vec::new();
            for part in &parts {
                let body = part.document("items", ",\"rest\":1");
                let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(value["rest"], 1);
                let items: Vec<String> = serde_json::from_value(value["items"].clone()).unwrap();
                back.extend(items);
            }
            assert_eq!(back, texts(lengths));
        }
    }
}
