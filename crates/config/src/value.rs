//! What a key can hold: how each type is read from text or TOML, named in errors and shown.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use statehouse_contracts::{Endpoint, Kind, Namespace, Principal};

use super::units::{ByteSize, duration_text, parse_duration};

/// A value before it has a type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw {
    /// From an environment variable or a flag: text that may mean a number or a bool.
    Word(String),
    /// Text in a TOML file.
    Text(String),
    /// A whole number in a TOML file, in decimal; `None` beyond 64 bits.
    Integer(Option<i64>),
    /// A bool in a TOML file.
    Bool(bool),
    /// A list in a TOML file.
    List(Vec<Raw>),
    /// Anything else in a TOML file, named for the error.
    Other(&'static str),
}

impl Raw {
    /// The text, where it is text.
    fn text(&self) -> Option<&str> {
        match self {
            Raw::Word(text) | Raw::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number, where it is one.
    fn integer(&self) -> Option<i128> {
        match self {
            Raw::Word(text) => text.trim().parse().ok(),
            Raw::Integer(number) => number.map(i128::from),
            _ => None,
        }
    }

    /// What an error says was found. The value of a key that may hold a secret is left out.
    fn describe(&self, secret: bool) -> String {
        match self {
            Raw::Word(_) | Raw::Text(_) if secret => "another text".to_owned(),
            Raw::Word(text) | Raw::Text(text) => format!("the text {:?}", shortened(text)),
            Raw::Integer(Some(number)) => format!("the number {number}"),
            Raw::Integer(None) => "a number beyond 64 bits".to_owned(),
            Raw::Bool(value) => format!("the bool {value}"),
            Raw::List(_) => "a list".to_owned(),
            Raw::Other(name) => (*name).to_owned(),
        }
    }
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A type that a key can have.
pub(super) trait Setting: Sized {
    /// Whether a value may hold a secret, so that errors do not repeat it.
    const SECRET: bool = false;

    /// What is right, for errors and `config show`: `a duration such as "30s"`.
    fn expected() -> String;

    /// Reads it; the error is a reason beyond [`Setting::expected`], or empty.
    fn read(raw: &Raw) -> Result<Self, String>;

    /// How it is shown, without secrets.
    fn show(&self) -> String;

    /// Reads it; the error is the whole sentence.
    fn parse(raw: &Raw) -> Result<Self, String> {
        Self::read(raw).map_err(|reason| {
            let found = raw.describe(Self::SECRET);
            let reason = if reason.is_empty() {
                reason
            } else {
                format!(" ({reason})")
            };
            format!("expected {}, found {found}{reason}", Self::expected())
        })
    }
}

/// The reason that adds nothing to what was expected.
fn no_reason() -> String {
    String::new()
}

impl Setting for bool {
    fn expected() -> String {
        "true or false".to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Bool(value) => Ok(*value),
            Raw::Word(text) => text.trim().parse().map_err(|_| no_reason()),
            _ => Err(no_reason()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for u64 {
    fn expected() -> String {
        format!("a whole number from 0 to {}", i64::MAX)
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        let number = raw.integer().and_then(|number| i64::try_from(number).ok());
        number
            .and_then(|number| u64::try_from(number).ok())
            .ok_or_else(no_reason)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! at_least_one {
    ($($type:ty, $most:expr;)+) => {$(
        impl Setting for $type {
            fn expected() -> String {
                format!("a whole number from 1 to {}", $most)
            }

            fn read(raw: &Raw) -> Result<Self, String> {
                let number = raw.integer().filter(|number| *number <= $most as i128);
                number
                    .and_then(|number| number.try_into().ok())
                    .and_then(Self::new)
                    .ok_or_else(no_reason)
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

at_least_one! {
    NonZeroU32, u32::MAX;
    NonZeroU64, i64::MAX;
    NonZeroUsize, isize::MAX;
}

impl Setting for String {
    fn expected() -> String {
        "text that is not empty".to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        let text = raw.text().filter(|text| !text.trim().is_empty());
        text.map(str::to_owned).ok_or_else(no_reason)
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Setting for PathBuf {
    fn expected() -> String {
        "a path".to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        String::read(raw).map(PathBuf::from)
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Setting for SocketAddr {
    fn expected() -> String {
        "an IP address and port such as \"127.0.0.1:7717\" or \"[::1]:7717\"".to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        let text = raw.text().ok_or_else(no_reason)?.trim();
        text.parse().map_err(|_| no_reason())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for Duration {
    fn expected() -> String {
        "a duration such as \"30s\", \"500ms\", \"5m\" or \"24h\"".to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Integer(_) => Err("write it as text with a unit".to_owned()),
            _ => parse_duration(raw.text().ok_or_else(no_reason)?),
        }
    }

    fn show(&self) -> String {
        duration_text(*self)
    }
}

impl Setting for ByteSize {
    fn expected() -> String {
        "a size such as 1048576, \"512KiB\", \"16MiB\" or \"2GB\"".to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Integer(Some(number)) => u64::try_from(*number)
                .map(ByteSize)
                .map_err(|_| "a size is not negative".to_owned()),
            _ => raw.text().ok_or_else(no_reason)?.parse(),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for Endpoint {
    const SECRET: bool = true;

    fn expected() -> String {
        "a backend URL such as \"sqlite:statehouse.db\" or \"memory:\"".to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        let text = raw.text().ok_or_else(no_reason)?;
        Endpoint::parse(text.trim()).map_err(|error| error.message().to_owned())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! name {
    ($($type:ty: $expected:literal;)+) => {$(
        impl Setting for $type {
            fn expected() -> String {
                $expected.to_owned()
            }

            fn read(raw: &Raw) -> Result<Self, String> {
                Self::new(raw.text().ok_or_else(no_reason)?)
                    .map_err(|error| error.message().to_owned())
            }

            fn show(&self) -> String {
                self.as_str().to_owned()
            }
        }
    )+};
}

name! {
    Namespace: "a namespace such as \"default\"";
    Principal: "the name of a principal such as \"planner\"";
}

impl<T: Setting> Setting for Option<T> {
    const SECRET: bool = T::SECRET;

    fn expected() -> String {
        T::expected()
    }

    /// An empty word is how an environment variable says "none".
    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Word(text) if text.is_empty() => Ok(None),
            _ => T::read(raw).map(Some),
        }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "(none)".to_owned(), T::show)
    }
}

impl Setting for Vec<String> {
    fn expected() -> String {
        "a list of texts (in an environment variable: joined by commas)".to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Word(text) => Ok(text
                .split(',')
                .map(|item| item.trim().to_owned())
                .filter(|item| !item.is_empty())
                .collect()),
            Raw::List(items) => items.iter().map(String::read).collect(),
            _ => Err(no_reason()),
        }
    }

    fn show(&self) -> String {
        if self.is_empty() {
            "(none)".to_owned()
        } else {
            self.join(", ")
        }
    }
}

impl Setting for Vec<Kind> {
    fn expected() -> String {
        "a list of kinds of messages (in an environment variable: joined by commas)".to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        let kind = |name: String| Kind::new(name).map_err(|error| error.message().to_owned());
        Vec::<String>::read(raw)?.into_iter().map(kind).collect()
    }

    fn show(&self) -> String {
        let names: Vec<String> = self.iter().map(Kind::to_string).collect();
        names.show()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word<T: Setting>(text: &str) -> Result<String, String> {
        T::parse(&Raw::Word(text.to_owned())).map(|value| value.show())
    }

    #[test]
    fn words_become_typed_values() {
        assert_eq!(word::<bool>("true").unwrap(), "true");
        assert_eq!(word::<NonZeroU32>("64").unwrap(), "64");
        assert_eq!(word::<Option<u64>>("").unwrap(), "(none)");
        assert_eq!(word::<Option<u64>>("9").unwrap(), "9");
        assert_eq!(word::<Vec<String>>("a, b,,").unwrap(), "a, b");
        assert_eq!(word::<Duration>("1h30m").unwrap(), "1h30m");
        assert_eq!(word::<ByteSize>("17MiB").unwrap(), "17MiB");
        assert_eq!(word::<SocketAddr>("[::1]:1").unwrap(), "[::1]:1");
    }

    #[test]
    fn what_is_wrong_says_what_is_right() {
        let table = [
            (
                word::<bool>("yes"),
                "expected true or false, found the text \"yes\"",
            ),
            (
                word::<NonZeroU32>("0"),
                "from 1 to 4294967295, found the text \"0\"",
            ),
            (word::<NonZeroU32>("4294967296"), "from 1 to"),
            (word::<u64>("-1"), "from 0 to"),
            (word::<Duration>("30"), "needs a unit"),
            (word::<ByteSize>("16 XB"), "unknown unit"),
            (word::<SocketAddr>("localhost"), "an IP address and port"),
            (word::<Namespace>("Has Space"), "a namespace such as"),
        ];
        for (result, says) in table {
            let error = result.unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn the_file_is_stricter_than_the_environment() {
        assert!(bool::parse(&Raw::Text("true".into())).is_err());
        assert!(u64::parse(&Raw::Text("3".into())).is_err());
        let error = Duration::parse(&Raw::Integer(Some(30))).unwrap_err();
        assert!(
            error.contains("found the number 30 (write it as text with a unit)"),
            "{error}"
        );
        let error = Vec::<String>::parse(&Raw::Text("a".into())).unwrap_err();
        assert!(error.contains("a list of texts"), "{error}");
    }

    #[test]
    fn a_wrong_url_is_not_repeated() {
        let error = word::<Endpoint>("hunter2").unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        assert_eq!(
            word::<Endpoint>("amqp://u:hunter2@h/v").unwrap(),
            "amqp://u:***@h/v"
        );
    }
}
