//! Lease tokens: where the lease lies, and which delivery of which receive it was.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use statehouse_contracts::{Error, LeaseToken, Result};

/// What a token says. The lease is good while its row lies at group, deadline and seq and is of
/// the same batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) group: i64,
    pub(super) deadline: i64,
    pub(super) seq: i64,
    /// The receive, or the extension, that made it.
    pub(super) batch: i64,
    /// Its place in the batch, from 0.
    pub(super) place: u32,
    /// The size of the batch.
    pub(super) size: u32,
}

/// The form of a token.
const VERSION: u8 = 1;
const BODY: usize = 41;
const LENGTH: usize = BODY + 4;

impl Token {
    /// The token as it is handed out.
    pub(super) fn seal(self) -> Result<LeaseToken> {
        let mut bytes = [0; LENGTH];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&self.group.to_le_bytes());
        bytes[9..17].copy_from_slice(&self.deadline.to_le_bytes());
        bytes[17..25].copy_from_slice(&self.seq.to_le_bytes());
        bytes[25..33].copy_from_slice(&self.batch.to_le_bytes());
        bytes[33..37].copy_from_slice(&self.place.to_le_bytes());
        bytes[37..41].copy_from_slice(&self.size.to_le_bytes());
        let sum = checksum(&bytes[..BODY]);
        bytes[BODY..].copy_from_slice(&sum);
        LeaseToken::new(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What a token says.
    ///
    /// # Errors
    /// `InvalidArgument` for one that was never handed out here.
    pub(super) fn open(token: &LeaseToken) -> Result<Self> {
        let unknown = || Error::invalid(format!("{token} is no lease token of a SQLite file"));
        let mut bytes = [0; LENGTH];
        let read = URL_SAFE_NO_PAD
            .decode_slice(token.as_str(), &mut bytes)
            .map_err(|_| unknown())?;
        let whole = read == LENGTH && bytes[0] == VERSION;
        if !whole || checksum(&bytes[..BODY]) != bytes[BODY..] {
            return Err(unknown());
        }
        let long = |at: usize| {
            bytes[at..at + 8]
                .iter()
                .rev()
                .fold(0, |value: i64, byte| value << 8 | i64::from(*byte))
        };
        let short = |at: usize| {
            bytes[at..at + 4]
                .iter()
                .rev()
                .fold(0, |value: u32, byte| value << 8 | u32::from(*byte))
        };
        let token = Self {
            group: long(1),
            deadline: long(9),
            seq: long(17),
            batch: long(25),
            place: short(33),
            size: short(37),
        };
        let sensible = token.place < token.size && token.size <= super::MAX_RECEIVE as u32;
        sensible.then_some(token).ok_or_else(unknown)
    }
}

/// FNV-1a: tells a mistyped token; a token is no secret.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    let sum = bytes.iter().fold(0x811c_9dc5_u32, |sum, byte| {
        (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    sum.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use statehouse_contracts::ErrorKind;

    use super::*;

    proptest! {
        #[test]
        fn a_token_says_what_was_sealed(
            group in any::<i64>(), deadline in any::<i64>(), seq in any::<i64>(),
            batch in any::<i64>(), place in 0..256_u32,
        ) {
            let token = Token { group, deadline, seq, batch, place, size: 256 };
            prop_assert_eq!(Token::open(&token.seal().unwrap()).unwrap(), token);
        }

        #[test]
        fn other_text_is_refused(text in "[!-~]{1,80}") {
            let error = Token::open(&LeaseToken::new(text).unwrap()).unwrap_err();
            prop_assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
    }
}
