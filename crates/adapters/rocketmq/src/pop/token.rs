//! Lease tokens: all that any process needs to settle a delivery.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cheetah_string::CheetahString;
use statehouse_contracts::{Error, LeaseToken, Result};

use crate::pop::source::{Place, now};

/// The form of a token.
const VERSION: &str = "1";

/// What stands between the parts; no name on the broker has it.
const SEPARATOR: char = '\n';

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// The consumer group.
    pub(super) group: CheetahString,
    /// Which of the groups that had this name.
    pub(super) incarnation: u64,
    pub(super) place: Place,
    pub(super) attempt: u32,
    /// When the lease ends, in milliseconds since 1970 by the clock of who handed it out.
    pub(super) end: i64,
}

impl Token {
    /// A token for a lease that ends at `deadline`.
    pub(super) fn new(
        group: &CheetahString,
        incarnation: u64,
        place: Place,
        attempt: u32,
        deadline: Instant,
    ) -> Self {
        let left = deadline.saturating_duration_since(Instant::now());
        Self {
            group: group.clone(),
            incarnation,
            place,
            attempt,
            end: now() + left.as_millis() as i64,
        }
    }

    /// When the lease ends, by this process's clocks.
    pub(super) fn deadline(&self) -> Instant {
        let left = u64::try_from(self.end - now()).unwrap_or_default();
        Instant::now() + Duration::from_millis(left)
    }

    /// The token as it is handed out.
    pub(super) fn seal(&self) -> Result<LeaseToken> {
        let place = &self.place;
        let text = [
            VERSION,
            &self.group,
            &self.incarnation.to_string(),
            &place.broker,
            &place.topic,
            &place.queue.to_string(),
            &place.offset.to_string(),
            &place.handle,
            if place.ordered { "1" } else { "0" },
            &self.attempt.to_string(),
            &self.end.to_string(),
        ]
        .join("\n");
        let mut bytes = text.into_bytes();
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        LeaseToken::new(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What a token says.
    ///
    /// # Errors
    /// `InvalidArgument` for one that was never handed out.
    pub(super) fn open(token: &LeaseToken) -> Result<Self> {
        let read = || {
            let bytes = URL_SAFE_NO_PAD.decode(token.as_str()).ok()?;
            let (text, sum) = bytes.split_last_chunk::<4>()?;
            (checksum(text) == *sum).then_some(())?;
            Self::of(std::str::from_utf8(text).ok()?)
        };
        read().ok_or_else(|| Error::invalid(format!("{token} is no lease token of RocketMQ")))
    }

    fn of(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(SEPARATOR).collect();
        let [
            VERSION,
            group,
            incarnation,
            broker,
            topic,
            queue,
            offset,
            handle,
            ordered,
            attempt,
            end,
        ] = parts[..]
        else {
            return None;
        };
        Some(Self {
            group: group.into(),
            incarnation: incarnation.parse().ok()?,
            place: Place {
                broker: broker.into(),
                topic: topic.into(),
                queue: queue.parse().ok()?,
                offset: offset.parse().ok()?,
                handle: handle.into(),
                ordered: ordered == "1",
            },
            attempt: attempt.parse().ok()?,
            end: end.parse().ok()?,
        })
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
    use statehouse_contracts::ErrorKind;

    use super::*;

    fn token() -> Token {
        Token {
            group: "statehouse_default_g".into(),
            incarnation: 7,
            place: Place {
                broker: "a".into(),
                topic: "statehouse%priority".into(),
                queue: 3,
                offset: 12_345,
                handle: "12345 1700000000000 30000 0 0 a 3 12345".into(),
                ordered: false,
            },
            attempt: 2,
            end: now() + 5_000,
        }
    }

    #[test]
    fn a_token_says_what_was_sealed() {
        let token = token();
        let sealed = token.seal().unwrap();
        assert_eq!(Token::open(&sealed).unwrap(), token);
        let left = token.deadline().saturating_duration_since(Instant::now());
        assert!(left <= Duration::from_secs(5) && left > Duration::from_secs(4));
    }

    #[test]
    fn other_text_is_refused() {
        let sealed = token().seal().unwrap();
        let sealed = sealed.as_str();
        for text in ["x", "0", "{}", &sealed[1..], &format!("{sealed}{sealed}")] {
            let error = Token::open(&LeaseToken::new(text).unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn the_longest_names_fit() {
        let mut token = token();
        token.group = "g".repeat(170).into();
        token.place.topic = "t".repeat(330).into();
        assert!(token.seal().is_ok());
    }
}
