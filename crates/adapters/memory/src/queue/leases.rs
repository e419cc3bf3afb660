//! Leases: their tokens, and how they ended.

use std::collections::VecDeque;

use statehouse_contracts::{Error, ErrorKind, LeaseToken, Result};

/// How many of the latest leases are remembered after their end.
const REMEMBERED: usize = 1 << 20;

/// How a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It has not, or it ran out, or it was replaced.
    None,
    Ack,
    Nack,
    DeadLetter,
}

/// The leases of a namespace's messages, numbered from 0.
#[derive(Debug)]
pub(crate) struct Leases {
    /// Tells the tokens of this namespace from others.
    nonce: u64,
    first: u64,
    ends: VecDeque<End>,
}

/// A lease, and the message that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseId {
    pub(crate) group: usize,
    pub(crate) item: usize,
    pub(crate) number: u64,
}

impl Leases {
    pub(crate) fn new() -> Self {
        Self {
            nonce: fastrand::u64(..),
            first: 0,
            ends: VecDeque::new(),
        }
    }

    /// The number of a new lease.
    pub(crate) fn issue(&mut self) -> u64 {
        if self.ends.len() == REMEMBERED {
            self.ends.pop_front();
            self.first += 1;
        }
        self.ends.push_back(End::None);
        self.first + self.ends.len() as u64 - 1
    }

    pub(crate) fn end(&mut self, number: u64, end: End) {
        if let Some(known) = self.index(number).and_then(|at| self.ends.get_mut(at)) {
            *known = end;
        }
    }

    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    /// A settle by a lease that is not current: `Ok` when it repeats what ended the lease.
    pub(crate) fn repeat(&self, number: u64, end: End) -> Result<()> {
        if number >= self.first + self.ends.len() as u64 {
            return Err(never_made());
        }
        let ended = self.index(number).and_then(|at| self.ends.get(at));
        if end != End::None && ended == Some(&end) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::LeaseLost,
            "the lease has ended or was replaced; the message may be with another consumer",
        ))
    }

    pub(crate) fn token(&self, lease: LeaseId) -> Result<LeaseToken> {
        let mut text = String::with_capacity(48);
        for number in [lease.group as u64, lease.item as u64, lease.number] {
            push_hex(&mut text, number);
            text.push('.');
        }
        push_hex(&mut text, self.nonce);
        LeaseToken::new(text)
    }

    pub(crate) fn parse(&self, token: &LeaseToken) -> Result<LeaseId> {
        let mut parts = token
            .as_str()
            .split('.')
            .map(|part| u64::from_str_radix(part, 16).ok());
        let mut next = || parts.next().flatten();
        let read = (next(), next(), next(), next(), parts.next());
        match read {
            (Some(group), Some(item), Some(number), Some(nonce), None) if nonce == self.nonce => {
                Ok(LeaseId {
                    group: usize::try_from(group).map_err(|_| never_made())?,
                    item: usize::try_from(item).map_err(|_| never_made())?,
                    number,
                })
            }
            _ => Err(never_made()),
        }
    }
}

fn never_made() -> Error {
    Error::invalid("this namespace never made the lease token; pass it as it was handed out")
}

/// As `{:x}`, several times faster: there is one token per delivery.
fn push_hex(text: &mut String, number: u64) {
    let digits = (64 - (number | 1).leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        let nibble = (number >> (digit * 4)) & 0xf;
        text.push(char::from(b"0123456789abcdef"[nibble as usize]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_where_it_was_made() {
        let mut leases = Leases::new();
        let lease = LeaseId {
            group: 0,
            item: 0x1f0,
            number: leases.issue(),
        };
        let token = leases.token(lease).unwrap();
        assert_eq!(leases.parse(&token).unwrap(), lease);
        assert!(Leases::new().parse(&token).is_err());
        for bad in ["x", "0.0.0", "0.0.0.0", "0.0.0.0.0"] {
            let bad = LeaseToken::new(bad).unwrap();
            assert_eq!(
                leases.parse(&bad).unwrap_err().kind(),
                ErrorKind::InvalidArgument
            );
        }
        for number in [0, 1, 15, 16, u64::MAX] {
            let mut text = String::new();
            push_hex(&mut text, number);
            assert_eq!(text, format!("{number:x}"));
        }
    }

    #[test]
    fn an_end_can_be_repeated_while_it_is_remembered() {
        let mut leases = Leases::new();
        let first = leases.issue();
        leases.end(first, End::Ack);
        assert!(leases.repeat(first, End::Ack).is_ok());
        assert_eq!(
            leases.repeat(first, End::Nack).unwrap_err().kind(),
            ErrorKind::LeaseLost
        );
        let next = leases.repeat(first + 1, End::Ack).unwrap_err();
        assert_eq!(next.kind(), ErrorKind::InvalidArgument);
        for _ in 0..REMEMBERED {
            leases.issue();
        }
        assert_eq!(
            leases.repeat(first, End::Ack).unwrap_err().kind(),
            ErrorKind::LeaseLost
        );
    }
}
