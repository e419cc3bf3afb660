//! Durations and sizes as people write them: `500ms`, `1h30m`, `16MiB`.

use std::fmt;
use std::str::FromStr;

use statehouse_wire::number_and_unit;
pub use statehouse_wire::{duration_text, parse_duration};

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
    use std::time::Duration;

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
