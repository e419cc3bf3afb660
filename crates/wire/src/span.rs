//! Durations as people write them: `500ms`, `1h30m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Units of a duration and their length in nanoseconds, longest first.
const TIMES: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// The longest duration that can be asked for: a hundred years.
const LONGEST: u128 = 100 * 365 * 86_400_000_000_000;

/// Reads `30s`, `500ms`, `24h`, `1h30m`, `0s`: whole numbers with units d, h, m, s, ms, us, ns.
///
/// # Errors
/// The reason in words.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("it is empty".to_owned());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (number, unit, after) = number_and_unit(rest)?;
        if unit.is_empty() {
            return Err(format!("{number} needs a unit: d, h, m, s, ms, us or ns"));
        }
        let length = TIMES.iter().find(|(name, _)| *name == unit);
        let (_, length) =
            length.ok_or_else(|| format!("unknown unit {unit:?}; use d, h, m, s, ms, us or ns"))?;
        total = total.saturating_add(u128::from(number).saturating_mul(*length));
        rest = after;
    }
    if total > LONGEST {
        return Err("the longest is 36500d".to_owned());
    }
    let seconds = u64::try_from(total / 1_000_000_000).map_err(|error| error.to_string())?;
    let nanos = u32::try_from(total % 1_000_000_000).map_err(|error| error.to_string())?;
    Ok(Duration::new(seconds, nanos))
}

/// The leading digits, the letters after them, and the rest, of a number with a unit.
///
/// # Errors
/// The reason in words.
pub fn number_and_unit(text: &str) -> Result<(u64, &str, &str), String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let number = number
        .parse()
        .map_err(|_| "start with a whole number that is not negative".to_owned())?;
    let rest = rest.trim_start();
    let letters = rest
        .find(|c: char| !c.is_alphabetic())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    if unit.is_empty() && !rest.is_empty() {
        return Err("write whole numbers with units".to_owned());
    }
    Ok((number, unit, rest.trim_start()))
}

/// Writes a duration so that [`parse_duration`] reads the same back: `1h30m`, `0s`.
pub fn duration_text(duration: Duration) -> String {
    let mut left = duration.as_nanos();
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, length) in TIMES {
        if left >= length {
            text.push_str(&format!("{}{unit}", left / length));
            left %= length;
        }
    }
    text
}

/// A duration, written as text with units: `"30s"`, `"1h30m"`, `"500ms"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "30s")]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&duration_text(self.0))
    }
}

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        parse_duration(text).map(Self).map_err(|reason| {
            format!("{text:?} is no duration such as \"30s\" or \"500ms\": {reason}")
        })
    }
}

impl TryFrom<String> for Span {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        span.to_string()
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for nanos in [0, 1, 999, 1_000_000, 30_000_000_000, 90_061_001_002_003] {
            let span = Span(Duration::from_nanos(nanos));
            assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }
        let json: Span = serde_json::from_str("\"1h30m\"").unwrap();
        assert_eq!(json.0, Duration::from_secs(5400));
    }

    #[test]
    fn what_makes_no_sense_says_why() {
        let table = [
            ("", "it is empty"),
            ("30", "needs a unit"),
            ("-1s", "not negative"),
            ("1.5s", "whole numbers"),
            ("5 weeks", "unknown unit"),
            ("36501d", "the longest"),
            ("99999999999999999999999s", "not negative"),
        ];
        for (text, says) in table {
            let error = text.parse::<Span>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
