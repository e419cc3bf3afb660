//! Lease tokens of tasks: which task, and which claim of it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use statehouse_contracts::{Error, LeaseToken, Result};

/// What a token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) seq: i64,
    /// Drawn anew for each claim and extension.
    pub(super) nonce: i64,
}

/// The form of a token; those of messages are others.
const VERSION: u8 = 0x54;
const LENGTH: usize = 18;

impl Token {
    /// The token as it is handed out.
    pub(super) fn seal(self) -> Result<LeaseToken> {
        let mut bytes = [0; LENGTH];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&self.seq.to_le_bytes());
        bytes[9..17].copy_from_slice(&self.nonce.to_le_bytes());
        bytes[17] = check(&bytes[..17]);
        LeaseToken::new(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What a token says.
    ///
    /// # Errors
    /// `InvalidArgument` for one that was never handed out here.
    pub(super) fn open(token: &LeaseToken) -> Result<Self> {
        let unknown = || Error::invalid(format!("{token} is no lease token of a task"));
        let bytes = URL_SAFE_NO_PAD
            .decode(token.as_str())
            .map_err(|_| unknown())?;
        let (seq, nonce) = match bytes.as_slice() {
            [VERSION, numbers @ .., sum] if check(&bytes[..bytes.len() - 1]) == *sum => {
                numbers.split_first_chunk::<8>().ok_or_else(unknown)?
            }
            _ => return Err(unknown()),
        };
        Ok(Self {
            seq: i64::from_le_bytes(*seq),
            nonce: i64::from_le_bytes(nonce.try_into().map_err(|_| unknown())?),
        })
    }
}

/// Tells a mistyped token; the nonce is what fences.
fn check(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0x5a, |sum: u8, byte| sum.rotate_left(3) ^ byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use statehouse_contracts::ErrorKind;

    use super::*;

    proptest! {
        #[test]
        fn a_token_says_what_was_sealed(seq in any::<i64>(), nonce in any::<i64>()) {
            let token = Token { seq, nonce };
            prop_assert_eq!(Token::open(&token.seal().unwrap()).unwrap(), token);
        }

        #[test]
        fn other_text_is_refused(text in "[!-~]{1,60}") {
            let error = Token::open(&LeaseToken::new(text).unwrap()).unwrap_err();
            prop_assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
    }
}
