//! Headers, read and written.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use statehouse_contracts::{
    ContentType, Error, OpId, Precondition, Record, Result, Timestamp, Version,
};
use statehouse_wire::{Span, header as ours};

/// One of our headers as text, decoded.
///
/// # Errors
/// `InvalidArgument` when it is not UTF-8 or given twice.
pub(super) fn text(headers: &HeaderMap, name: &'static str) -> Result<Option<String>> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Error::invalid(format!("the header {name} is given twice")));
    }
    ours::decode(name, value.as_bytes()).map(Some)
}

/// One of our headers, read.
///
/// # Errors
/// `InvalidArgument` when it cannot be read, naming the header.
pub(super) fn parsed<T>(
    headers: &HeaderMap,
    name: &'static str,
    read: impl FnOnce(&str) -> Result<T>,
) -> Result<Option<T>> {
    let wrong = |error: Error| Error::invalid(format!("the header {name}: {}", error.message()));
    let text = text(headers, name)?;
    text.map(|text| read(&text).map_err(wrong)).transpose()
}

/// The repeat's identity.
pub(super) fn op_id(headers: &HeaderMap) -> Result<Option<OpId>> {
    parsed(headers, ours::IDEMPOTENCY_KEY, |text| OpId::new(text))
}

/// How long something lives.
pub(super) fn ttl(headers: &HeaderMap) -> Result<Option<Duration>> {
    parsed(headers, ours::TTL, |text| {
        let span: std::result::Result<Span, String> = text.parse();
        span.map(Into::into).map_err(Error::invalid)
    })
}

/// The media type of the body; bytes when none is given.
pub(super) fn content_type(headers: &HeaderMap) -> Result<ContentType> {
    match headers.get(header::CONTENT_TYPE) {
        None => Ok(ContentType::BYTES),
        Some(value) => {
            let text = String::from_utf8_lossy(value.as_bytes());
            ContentType::new(text)
        }
    }
}

/// `If-Match` and `If-None-Match` of a write, as what must hold.
///
/// # Errors
/// `InvalidArgument` for anything but `If-Match: "n"` or `If-None-Match: *`.
pub(super) fn precondition(headers: &HeaderMap) -> Result<Precondition> {
    let given = |name: HeaderName| headers.get_all(name).iter().collect::<Vec<_>>();
    let matches = given(header::IF_MATCH);
    let none = given(header::IF_NONE_MATCH);
    match (matches.as_slice(), none.as_slice()) {
        ([], []) => Ok(Precondition::None),
        ([one], []) => {
            let version = one.to_str().ok().and_then(version_of_tag);
            version.map(Precondition::Version).ok_or_else(|| {
                Error::invalid("If-Match takes one version in quotes, such as \"3\"")
            })
        }
        ([], [one]) if one.as_bytes() == b"*" => Ok(Precondition::Absent),
        ([], _) => Err(Error::invalid("If-None-Match of a write takes * only")),
        _ => Err(Error::invalid(
            "give If-Match: \"n\" or If-None-Match: *, not both",
        )),
    }
}

/// Whether the client has this version already.
pub(super) fn has_already(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|candidate| candidate.trim().trim_start_matches("W/"))
        .any(|candidate| candidate == "*" || candidate == tag)
}

fn version_of_tag(tag: &str) -> Option<Version> {
    let digits = tag.trim().strip_prefix('"')?.strip_suffix('"')?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let version: Version = plain.then(|| digits.parse().ok()).flatten()?;
    (1..=i64::MAX as u64).contains(&version).then_some(version)
}

/// The entity tag of a version.
pub(super) fn tag(version: Version) -> String {
    format!("\"{version}\"")
}

/// Sets a header to text that stands in one as it is.
pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Sets one of our headers.
pub(super) fn set_ours(headers: &mut HeaderMap, name: &'static str, value: &str) {
    set(headers, HeaderName::from_static(name), &ours::encode(value));
}

/// Sets one of our headers, where there is a value.
pub(super) fn set_time(headers: &mut HeaderMap, name: &'static str, at: Option<Timestamp>) {
    if let Some(at) = at {
        set_ours(headers, name, &at.to_string());
    }
}

/// All that is known of a record, but its key and data.
pub(super) fn describe(headers: &mut HeaderMap, record: &Record) {
    set(headers, header::ETAG, &tag(record.version));
    set(headers, header::CONTENT_TYPE, record.content_type.as_str());
    set(headers, header::CACHE_CONTROL, "no-cache");
    set_ours(headers, ours::VERSION, &record.version.to_string());
    if let Some(schema) = &record.schema {
        set_ours(headers, ours::SCHEMA, schema);
    }
    set_time(headers, ours::CREATED_AT, Some(record.created_at));
    set_ours(headers, ours::CREATED_BY, record.created_by.as_str());
    set_time(headers, ours::UPDATED_AT, Some(record.updated_at));
    set_ours(headers, ours::UPDATED_BY, record.updated_by.as_str());
    set_time(headers, ours::EXPIRES_AT, record.expires_at);
    if let Some(tombstone) = record.tombstone {
        let word = match tombstone {
            statehouse_contracts::Tombstone::Deleted => "deleted",
            statehouse_contracts::Tombstone::Expired => "expired",
        };
        set_ours(headers, ours::TOMBSTONE, word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preconditions_of_a_write() {
        let read = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, HeaderValue::from_static(value));
            }
            precondition(&headers)
        };
        assert_eq!(read(&[]).unwrap(), Precondition::None);
        let version = read(&[("if-match", "\"3\"")]).unwrap();
        assert_eq!(version, Precondition::Version(3));
        let absent = read(&[("if-none-match", "*")]).unwrap();
        assert_eq!(absent, Precondition::Absent);
        for wrong in [
            "*",
            "3",
            "\"x\"",
            "\"-1\"",
            "\"0\"",
            "\"+1\"",
            "W/\"3\"",
            "\"1\", \"2\"",
            "\"9223372036854775808\"",
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("if-match", HeaderValue::from_str(wrong).unwrap());
            assert!(precondition(&headers).is_err(), "{wrong}");
        }
        assert!(read(&[("if-none-match", "\"3\"")]).is_err());
        assert!(read(&[("if-match", "\"3\""), ("if-none-match", "*")]).is_err());
        assert!(read(&[("if-match", "\"3\""), ("if-match", "\"4\"")]).is_err());
    }
}
