//! Lease tokens of tasks: which task, and which claim of it.

use statehouse_contracts::{Error, LeaseToken, Result};

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// The task's place, as the scripts name it.
    pub(super) place: String,
    /// Drawn anew for each claim and extension.
    pub(super) nonce: String,
}

/// The digits of a place.
pub(super) const PLACE_DIGITS: usize = 14;

/// The most digits of a nonce: 16 drawn for a call, and the number of the claim in it.
const NONCE_DIGITS: usize = 24;

impl Token {
    /// The token as it is handed out.
    pub(super) fn seal(&self) -> Result<LeaseToken> {
        LeaseToken::new(format!("task.{}.{}", self.place, self.nonce))
    }

    /// What a token says.
    ///
    /// # Errors
    /// `InvalidArgument` for one that was never handed out.
    pub(super) fn open(token: &LeaseToken) -> Result<Self> {
        let parts = token
            .as_str()
            .strip_prefix("task.")
            .and_then(|rest| rest.split_once('.'))
            .filter(|(place, nonce)| is_place(place) && is_hex(nonce, 1..=NONCE_DIGITS));
        let Some((place, nonce)) = parts else {
            let message = format!("{token} is no lease token of a task; pass it as it was given");
            return Err(Error::invalid(message));
        };
        Ok(Self {
            place: place.to_owned(),
            nonce: nonce.to_owned(),
        })
    }
}

/// Whether `text` names a place.
pub(super) fn is_place(text: &str) -> bool {
    is_hex(text, PLACE_DIGITS..=PLACE_DIGITS)
}

fn is_hex(text: &str, digits: std::ops::RangeInclusive<usize>) -> bool {
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    digits.contains(&text.len()) && text.bytes().all(hex)
}

/// The digits that the nonces of one call begin with.
pub(super) fn seed() -> String {
    format!("{:016x}", fastrand::u64(..))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use statehouse_contracts::ErrorKind;

    use super::*;

    proptest! {
        #[test]
        fn a_token_says_what_was_sealed(place in "[0-9a-f]{14}", nonce in "[0-9a-f]{1,24}") {
            let token = Token { place, nonce };
            prop_assert_eq!(Token::open(&token.seal().unwrap()).unwrap(), token);
        }

        #[test]
        fn other_text_is_refused(text in "(task[.])?[!-~]{1,60}") {
            let token = LeaseToken::new(&text).unwrap();
            match Token::open(&token) {
                Ok(read) => prop_assert_eq!(read.seal().unwrap(), token),
                Err(error) => prop_assert_eq!(error.kind(), ErrorKind::InvalidArgument),
            }
        }
    }
}
