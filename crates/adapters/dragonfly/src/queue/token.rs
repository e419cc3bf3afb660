//! Lease tokens: which group, which receive and which place in it, and the leased word itself.

use statehouse_contracts::{Error, LeaseToken, Result};

use super::MAX_RECEIVE;

/// What a token says. The lease is good while the group has the word among its leased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// The id of the group.
    pub(super) group: String,
    /// The place among the messages of its receive, from 0.
    pub(super) place: usize,
    /// How many its receive handed out.
    pub(super) size: usize,
    /// The word of the message, `|`, and the nonce of the receive.
    pub(super) word: String,
}

/// The form of a token.
const FORM: &str = "q1";

impl Token {
    /// The token as it is handed out.
    pub(super) fn seal(&self) -> Result<LeaseToken> {
        let Self {
            group,
            place,
            size,
            word,
        } = self;
        let text = format!("{FORM}.{group}.{place}.{size}.{word}");
        LeaseToken::new(format!("{text}.{:08x}", checksum(text.as_bytes())))
    }

    /// What a token says.
    ///
    /// # Errors
    /// `InvalidArgument` for one that was never handed out here.
    pub(super) fn open(token: &LeaseToken) -> Result<Self> {
        Self::parse(token.as_str())
            .ok_or_else(|| Error::invalid(format!("{token} is no lease token of this backend")))
    }

    fn parse(text: &str) -> Option<Self> {
        let (text, sum) = text.rsplit_once('.')?;
        if format!("{:08x}", checksum(text.as_bytes())) != sum {
            return None;
        }
        let mut parts = text.split('.');
        let mut next = || parts.next();
        if next()? != FORM {
            return None;
        }
        let token = Self {
            group: next()?.to_owned(),
            place: next()?.parse().ok()?,
            size: next()?.parse().ok()?,
            word: next()?.to_owned(),
        };
        let whole = next().is_none();
        let (_, nonce) = token.word.split_once('|')?;
        let sensible = token.place < token.size && token.size <= MAX_RECEIVE && !nonce.is_empty();
        (whole && sensible).then_some(token)
    }

    /// What tells the receive from all others.
    pub(super) fn nonce(&self) -> &str {
        self.word.split_once('|').map_or("", |(_, nonce)| nonce)
    }
}

/// FNV-1a: tells a mistyped token; a token is no secret.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| {
        (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use statehouse_contracts::ErrorKind;

    use super::*;

    fn token() -> Token {
        Token {
            group: "0Gx_-".to_owned(),
            place: 2,
            size: 3,
            word: "1763729000123456:7:0:0:1042:1:0:00ff|n-_".to_owned(),
        }
    }

    #[test]
    fn a_token_says_what_was_sealed() {
        let opened = Token::open(&token().seal().unwrap()).unwrap();
        assert_eq!(opened, token());
        assert_eq!(opened.nonce(), "n-_");
    }

    #[test]
    fn other_text_is_refused() {
        let sealed = token().seal().unwrap();
        let beyond = Token {
            place: 3,
            ..token()
        };
        let table = [
            "x".to_owned(),
            "q1.a.0.1.w|n.00000000".to_owned(),
            sealed.as_str().replace("1042", "1043"),
            format!("{sealed}{sealed}"),
            beyond.seal().unwrap().as_str().to_owned(),
        ];
        for text in table {
            let error = Token::open(&LeaseToken::new(text).unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
    }
}
