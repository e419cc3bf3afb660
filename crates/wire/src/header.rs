//! Headers of our own, and how they carry text.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use statehouse_contracts::{Error, Result};

/// The namespace of a request.
pub const NAMESPACE: &str = "statehouse-namespace";
/// Who acts, where no token says so.
pub const PRINCIPAL: &str = "statehouse-principal";
/// The op_id of a mutation.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// How long a record or content lives.
pub const TTL: &str = "statehouse-ttl";
/// The schema of a record.
pub const SCHEMA: &str = "statehouse-schema";
/// The version of a record.
pub const VERSION: &str = "statehouse-version";
/// When a record or content came to life.
pub const CREATED_AT: &str = "statehouse-created-at";
/// Who did that.
pub const CREATED_BY: &str = "statehouse-created-by";
/// When a version was written.
pub const UPDATED_AT: &str = "statehouse-updated-at";
/// Who wrote it.
pub const UPDATED_BY: &str = "statehouse-updated-by";
/// When a record or content expires.
pub const EXPIRES_AT: &str = "statehouse-expires-at";
/// Why a version holds nothing: `deleted` or `expired`.
pub const TOMBSTONE: &str = "statehouse-tombstone";
/// The SHA-256 of a shared value.
pub const CHECKSUM: &str = "statehouse-checksum";
/// Who holds content.
pub const HOLDER: &str = "statehouse-holder";
/// What content is for.
pub const REFERENCE_KIND: &str = "statehouse-reference-kind";
/// How content is stored.
pub const COMPRESSION: &str = "statehouse-compression";
/// Whether content may be evicted for lack of room: `true` or `false`.
pub const CACHE: &str = "statehouse-cache";
/// How many bytes content takes as it is stored.
pub const STORED_SIZE: &str = "statehouse-stored-size";
/// How many holders content has.
pub const HOLDERS: &str = "statehouse-holders";

/// What does not stand in a header as it is.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// `text` as the value of one of these headers: control characters, `%` and what is not ASCII are
/// percent-encoded; so are spaces at the ends.
pub fn encode(text: &str) -> Cow<'_, str> {
    let inner = text.trim_matches(' ');
    if inner.len() == text.len() {
        return utf8_percent_encode(text, ESCAPED).into();
    }
    let spaces = |count: usize| "%20".repeat(count);
    let leading = text.len() - text.trim_start_matches(' ').len();
    let trailing = text.len() - leading - inner.len();
    let middle = utf8_percent_encode(inner, ESCAPED);
    format!("{}{middle}{}", spaces(leading), spaces(trailing)).into()
}

/// The text of a header's value.
///
/// # Errors
/// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) when it is not UTF-8.
pub fn decode(name: &str, value: &[u8]) -> Result<String> {
    let wrong = || Error::invalid(format!("the header {name} is not UTF-8"));
    let text = std::str::from_utf8(value).map_err(|_| wrong())?;
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Cow::into_owned).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_fits_into_a_header() {
        for text in [
            "",
            "plain",
            " a b ",
            "100%",
            "naïve 🦀",
            "a\tb",
            "  ",
            "%20",
        ] {
            let value = encode(text);
            assert!(value.bytes().all(|b| (b' '..=b'~').contains(&b)), "{value}");
            assert_eq!(value.trim(), value);
            assert_eq!(decode("x", value.as_bytes()).unwrap(), text);
        }
        assert!(decode("x", b"%ff").is_err());
        assert!(decode("x", b"\xff").is_err());
    }
}
