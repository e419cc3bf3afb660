//! What went wrong in the attempts at one message.
//!
//! It travels with the message: behind the payload of the copy that comes again, or of the dead
//! letter, as JSON, and a property says how long it is.

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use statehouse_contracts::{AttemptError, Error, ErrorKind, Result};

/// How many errors are kept, and how long each may be in bytes.
const KEPT: usize = 10;
const LONGEST: usize = 4096;

/// What is said of an attempt of which nobody said anything.
const SILENT: &str = "lease expired";

/// What is said of an attempt that was given back without a word.
const NACKED: &str = "nacked";

/// The errors of the last attempts, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History(Vec<AttemptError>);

#[derive(Serialize, Deserialize)]
struct Entry<'a> {
    attempt: u32,
    at: i64,
    #[serde(borrow)]
    error: std::borrow::Cow<'a, str>,
}

impl History {
    /// Adds that `attempt` ended now with `error`; attempts in between ended silently.
    pub(crate) fn failed(&mut self, attempt: u32, error: Option<&str>) {
        self.silent_before(attempt);
        self.push(attempt, error.unwrap_or(NACKED));
    }

    /// Adds that all attempts before `attempt` of which nothing is known ended silently.
    pub(crate) fn silent_before(&mut self, attempt: u32) {
        let known = self.0.last().map_or(0, |last| last.attempt);
        let first = (known + 1).max(attempt.saturating_sub(KEPT as u32));
        for attempt in first..attempt {
            self.push(attempt, SILENT);
        }
    }

    fn push(&mut self, attempt: u32, error: &str) {
        let last = self.0.last().map(|last| last.at);
        let at = last.map_or_else(Timestamp::now, |last| last.max(Timestamp::now()));
        self.0.push(AttemptError {
            attempt,
            at: whole(at),
            error: shortened(error).to_owned(),
        });
        let surplus = self.0.len().saturating_sub(KEPT);
        self.0.drain(..surplus);
    }

    /// Whether something is known of every attempt before this one, as far as it is kept.
    pub(crate) fn is_whole(&self, attempt: u32) -> bool {
        self.0.last().map_or(0, |last| last.attempt) + 1 >= attempt
    }

    /// The one that goes further.
    pub(crate) fn longer(self, other: Self) -> Self {
        let last = |history: &Self| history.0.last().map_or(0, |last| last.attempt);
        if last(&other) > last(&self) {
            other
        } else {
            self
        }
    }

    /// Knows these errors instead.
    pub(crate) fn replace(&mut self, errors: Vec<AttemptError>) {
        self.0 = errors;
    }

    pub(crate) fn errors(self) -> Vec<AttemptError> {
        self.0
    }

    /// The payload with the history behind it, and how long that is.
    pub(crate) fn behind(&self, payload: &Bytes) -> Result<(Bytes, usize)> {
        if self.0.is_empty() {
            return Ok((payload.clone(), 0));
        }
        let entries: Vec<Entry<'_>> = self.0.iter().map(Entry::of).collect();
        let json = serde_json::to_vec(&entries).map_err(|error| {
            Error::internal(format!(
                "the errors of a message cannot be written: {error}"
            ))
        })?;
        let mut body = BytesMut::with_capacity(payload.len() + json.len());
        body.extend_from_slice(payload);
        body.extend_from_slice(&json);
        Ok((body.freeze(), json.len()))
    }

    /// Takes the history of this length from behind the payload.
    pub(crate) fn split(body: Bytes, length: usize) -> Result<(Bytes, Self)> {
        if length == 0 {
            return Ok((body, Self::default()));
        }
        let odd = |what: &dyn std::fmt::Display| {
            Error::new(
                ErrorKind::Corrupted,
                format!("the errors of a message cannot be read: {what}"),
            )
        };
        let payload = body
            .len()
            .checked_sub(length)
            .ok_or_else(|| odd(&"they are longer than the body"))?;
        let entries: Vec<Entry<'_>> =
            serde_json::from_slice(&body[payload..]).map_err(|error| odd(&error))?;
        let errors: Result<Vec<AttemptError>> = entries.into_iter().map(Entry::read).collect();
        Ok((body.slice(..payload), Self(errors?)))
    }
}

impl<'a> Entry<'a> {
    fn of(error: &'a AttemptError) -> Self {
        Self {
            attempt: error.attempt,
            at: error.at.as_millisecond(),
            error: error.error.as_str().into(),
        }
    }

    fn read(self) -> Result<AttemptError> {
        Ok(AttemptError {
            attempt: self.attempt,
            at: time(self.at)?,
            error: self.error.into_owned(),
        })
    }
}

/// A time of so many milliseconds after 1970.
pub(crate) fn time(milliseconds: i64) -> Result<Timestamp> {
    Timestamp::from_millisecond(milliseconds).map_err(|error| {
        Error::new(
            ErrorKind::Corrupted,
            format!("a message has a time that makes no sense: {error}"),
        )
    })
}

/// The time in whole milliseconds, as it is kept.
pub(crate) fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

/// As much of `text` as is kept.
pub(crate) fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_travels_behind_the_payload() {
        let payload = Bytes::from_static(b"hello");
        let mut history = History::default();
        assert_eq!(history.behind(&payload).unwrap(), (payload.clone(), 0));
        history.failed(3, Some("a \"quoted\" error"));
        let (body, length) = history.behind(&payload).unwrap();
        assert_eq!(
            History::split(body.clone(), length).unwrap(),
            (payload, history)
        );
        for wrong in [length - 1, body.len() + 1] {
            let error = History::split(body.clone(), wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupted);
        }
    }

    #[test]
    fn the_last_ten_are_kept_and_silence_is_told() {
        let mut history = History::default();
        history.failed(2, Some("x"));
        history.silent_before(14);
        let errors = history.errors();
        let attempts: Vec<u32> = errors.iter().map(|error| error.attempt).collect();
        assert_eq!(attempts, (4..=13).collect::<Vec<u32>>());
        assert!(errors.iter().all(|error| error.error == SILENT));
        assert!(errors.is_sorted_by_key(|error| error.at));
    }

    #[test]
    fn a_long_error_ends_at_a_character() {
        assert_eq!(shortened(&"ä".repeat(3_000)).len(), LONGEST);
        assert_eq!(shortened(&"€".repeat(3_000)).len(), LONGEST - 1);
    }
}
