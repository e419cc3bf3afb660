//! Durations and sizes as people write them: `500ms`, `1h30m`, `16MiB`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

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

/// The longest duration a configuration may ask for: a hundred years.
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

/// The leading digits, the letters after them, and the rest.
fn number_and_unit(text: &str) -> Result<(u64, &str, &str), String> {
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

/// A number of bytes, written `1048576`, `512KiB`, `16MiB` or `2GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(
    /// The number of bytes.
    pub u64,
);

const SIZES: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit, rest) = number_and_unit(text.trim())?;
        if !rest.is_empty() {
            return Err("write one number and one unit".to_owned());
        }
        let factor = match SIZES.iter().find(|(name, _)| *name == unit) {
            Some((_, factor)) => *factor,
            None if unit.is_empty() => 1,
            None => {
                return Err(format!(
                    "unknown unit {unit:?}; use B, KiB, MiB, GiB, TiB, KB, MB, GB or TB"
                ));
            }
        };
        let bytes = number.checked_mul(factor);
        bytes
            .filter(|bytes| i64::try_from(*bytes).is_ok())
            .map(ByteSize)
            .ok_or_else(|| "it is beyond 8 EiB".to_owned())
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = SIZES[..4]
            .iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        match exact {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_as_people_write_them() {
        let table = [
            ("30s", 30_000),
            ("500ms", 500),
            ("24h", 86_400_000),
            ("1h30m", 5_400_000),
            (" 2 m 1 s ", 121_000),
            ("0s", 0),
            ("7d", 604_800_000),
        ];
        for (text, millis) in table {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
    }

    #[test]
    fn wrong_durations_say_why() {
        let table = [
            ("", "empty"),
            ("30", "30 needs a unit"),
            ("-3s", "not negative"),
            ("1.5s", "whole numbers"),
            ("3 weeks", "unknown unit \"weeks\""),
            ("99999999999999999999s", "whole number"),
            ("36501d", "longest"),
            ("s", "start with"),
        ];
        for (text, says) in table {
            let error = parse_duration(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_as_people_write_them() {
        let table = [
            ("17MiB", 17 << 20),
            ("2GB", 2_000_000_000),
            ("10", 10),
            ("1 KiB", 1024),
            ("0", 0),
        ];
        for (text, bytes) in table {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in [
            "",
            "MiB",
            "1 XB",
            "1MiB2KiB",
            "9EiB",
            "99999999TiB",
            "1.5MiB",
        ] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(nanos in 0..u64::MAX / 8, bytes in 0..i64::MAX as u64) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&duration_text(duration)), Ok(duration));
            prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = parse_duration(&text);
            let _ = text.parse::<ByteSize>();
        }
    }
}
