//! The word that stands for a message of a group. Its form is told in `lua/held.lua`.

use statehouse_contracts::{Error, ErrorKind, Received, Result};

use super::stored;
use crate::time::timestamp;

/// What a word says that this side wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// When it was accepted, in microseconds.
    pub(super) seq: i64,
    delay: i64,
    ttl: i64,
    pub(super) attempts: u32,
}

impl Held {
    /// Reads a word; that of a lease ends with its nonce.
    pub(super) fn read(word: &str) -> Result<Self> {
        let mut parts = word.split(':');
        let mut next = || parts.next().and_then(|part| part.parse::<i64>().ok());
        let read = || {
            let (seq, _rank, delay, ttl, _size) = (next()?, next()?, next()?, next()?, next()?);
            Some(Self {
                seq,
                delay,
                ttl,
                attempts: u32::try_from(next()?).ok()?,
            })
        };
        let mut read = read;
        read().ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupted,
                format!("the place {word:?} of a message cannot be read"),
            )
        })
    }

    /// The message in its stored form, with its times.
    pub(super) fn received(self, stored: Option<bytes::Bytes>) -> Result<Received> {
        let missing = || Error::new(ErrorKind::Corrupted, "a message lies without its content");
        let message = stored::decode(stored.ok_or_else(missing)?)?;
        let due = self.seq.saturating_add(self.delay);
        let expires = (self.ttl > 0).then(|| due.saturating_add(self.ttl));
        Ok(Received {
            message,
            sent_at: timestamp(self.seq),
            due_at: timestamp(due),
            expires_at: expires.map(timestamp),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_with_and_without_a_nonce() {
        let expected = Held {
            seq: 1_763_729_000_123_456,
            delay: 5,
            ttl: 7,
            attempts: 3,
        };
        for word in [
            "1763729000123456:7:5:7:1042:3:0:",
            "1763729000123456:7:5:7:1042:3:1:00ff00ff00ff00ff|nonce-_1",
        ] {
            assert_eq!(Held::read(word).unwrap(), expected);
        }
        for word in ["", "1:2:3", "x:7:5:7:1042:3:0:", "1:7:5:7:1:-3:0:"] {
            assert_eq!(Held::read(word).unwrap_err().kind(), ErrorKind::Corrupted);
        }
    }
}
