//! Reads what was typed.

use std::io::Read;
use std::ops::Range;

use bytes::Bytes;
use statehouse_contracts::{
    ContentType, Error, ErrorKind, LeaseToken, Precondition, Priority, Result, StateKey,
};

use super::args::When;

/// `KIND/ID`; all after the first slash is the id.
pub(super) fn key(text: &str) -> Result<StateKey, String> {
    let (kind, id) = text
        .split_once('/')
        .ok_or_else(|| format!("{text:?} has no slash; write KIND/ID, such as task/42"))?;
    StateKey::parse(kind, id).map_err(|error| error.message().to_owned())
}

/// `NAME=VALUE`
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} has no =; write NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `0..=9`
pub(super) fn priority(text: &str) -> Result<Priority, String> {
    let level: u8 = text
        .parse()
        .map_err(|_| format!("{text:?} is no number from 0 to 9"))?;
    Priority::new(level).map_err(|error| error.message().to_owned())
}

/// A version of a record.
pub(super) fn version(text: &str) -> Result<u64, String> {
    const LAST: u64 = i64::MAX as u64;
    match text.parse() {
        Ok(version) if version <= LAST => Ok(version),
        _ => Err(format!(
            "{text:?} is no version; versions are whole numbers from 1 to {LAST}"
        )),
    }
}

/// `FROM..TO`
pub(super) fn range(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("{text:?} is no range; write FROM..TO, such as 0..1024");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    Ok(number(from)?..number(to)?)
}

/// A factor above zero.
pub(super) fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(factor),
        _ => Err(format!("{text:?} is no factor above 0, such as 1 or 2.5")),
    }
}

/// The content of an argument: the text itself, `@FILE`, or `-` for standard input.
///
/// # Errors
/// [`NotFound`](ErrorKind::NotFound), [`PermissionDenied`](ErrorKind::PermissionDenied) or
/// [`InvalidArgument`](ErrorKind::InvalidArgument) when it cannot be read, naming the file.
pub(super) fn content(argument: &str) -> Result<Bytes> {
    let read = match argument.strip_prefix('@') {
        _ if argument == "-" => {
            let mut bytes = Vec::new();
            std::io::stdin()
                .lock()
                .read_to_end(&mut bytes)
                .map(|_| bytes)
                .map_err(|e| ("standard input", e))
        }
        Some(file) => std::fs::read(file).map_err(|error| (file, error)),
        None => Ok(argument.as_bytes().to_vec()),
    };
    read.map(Bytes::from)
        .map_err(|(what, error)| unreadable(what, &error))
}

/// `what` could not be read.
pub(super) fn unreadable(what: &str, error: &std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        std::io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        _ => ErrorKind::InvalidArgument,
    };
    Error::new(kind, format!("{what} cannot be read: {error}"))
}

/// The media type that was given, or JSON or text by the look of the content.
pub(super) fn content_type(given: Option<&str>, content: &[u8]) -> Result<ContentType> {
    match given {
        Some(name) => ContentType::new(name),
        None if serde_json::from_slice::<serde::de::IgnoredAny>(content).is_ok() => {
            Ok(ContentType::JSON)
        }
        None if std::str::from_utf8(content).is_ok() => Ok(ContentType::TEXT),
        None => Ok(ContentType::BYTES),
    }
}

/// What must hold for a write.
pub(super) fn precondition(when: When) -> Precondition {
    match when {
        When {
            if_absent: true, ..
        } => Precondition::Absent,
        When {
            if_version: Some(version),
            ..
        } => Precondition::Version(version),
        When { .. } => Precondition::None,
    }
}

/// A token, as it was printed.
pub(super) fn token(text: &str) -> Result<LeaseToken> {
    LeaseToken::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_may_have_slashes() {
        let parsed = key("task/a/b").unwrap();
        assert_eq!((parsed.kind.as_str(), parsed.id.as_str()), ("task", "a/b"));
        for bad in ["task", "task/", "/a", "ta sk/a", "task/a\0"] {
            assert!(key(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn bad_values_say_what_would_be_right() {
        assert!(range("1-2").unwrap_err().contains("FROM..TO"));
        assert!(version("-1").unwrap_err().contains("from 1"));
        assert!(version("9223372036854775808").is_err());
        assert!(speed("0").unwrap_err().contains("above 0"));
        assert!(speed("nan").is_err());
        assert!(priority("10").unwrap_err().contains("0 to 9"));
        assert!(pair("x").unwrap_err().contains("NAME=VALUE"));
        assert_eq!(
            content("@no/such/file").unwrap_err().kind(),
            ErrorKind::NotFound
        );
    }

    #[test]
    fn the_media_type_is_seen_from_the_content() {
        let of = |content: &[u8]| content_type(None, content).unwrap();
        assert_eq!(of(b"{\"a\":1}"), ContentType::JSON);
        assert_eq!(of(b"hello"), ContentType::TEXT);
        assert_eq!(of(b"\xff"), ContentType::BYTES);
    }
}
