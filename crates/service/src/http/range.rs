//! Byte ranges of a request (RFC 9110, section 14).

use std::ops::Range;

/// What a `Range` header asks of content of `size` bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// All of it: there is no header, or one that is to be ignored.
    All,
    /// This part.
    Part(Range<u64>),
    /// A part beyond the end.
    Beyond,
}

/// Reads the header. Several ranges, other units and what makes no sense are ignored.
pub(super) fn asked(header: Option<&str>, size: u64) -> Asked {
    let range = header
        .and_then(|header| header.trim().strip_prefix("bytes="))
        .and_then(|range| range.trim().split_once('-'));
    let Some((first, last)) = range else {
        return Asked::All;
    };
    match (number(first), number(last)) {
        (Some(Some(first)), Some(last)) => {
            let end = last.map_or(size, |last| last.saturating_add(1).min(size));
            match last {
                Some(last) if last < first => Asked::All,
                _ if first >= size => Asked::Beyond,
                _ => Asked::Part(first..end),
            }
        }
        (Some(None), Some(Some(0))) => Asked::Beyond,
        (Some(None), Some(Some(suffix))) => Asked::Part(size.saturating_sub(suffix)..size),
        _ => Asked::All,
    }
}

/// `None` when it is no number, `Some(None)` when there is nothing.
fn number(text: &str) -> Option<Option<u64>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(None);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Some(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let table = [
            (None, Asked::All),
            (Some("bytes=0-4"), Asked::Part(0..5)),
            (Some("bytes=3-"), Asked::Part(3..10)),
            (Some("bytes=-4"), Asked::Part(6..10)),
            (Some("bytes=-99"), Asked::Part(0..10)),
            (Some("bytes=8-99"), Asked::Part(8..10)),
            (Some("bytes=8-99999999999999999999"), Asked::Part(8..10)),
            (Some("bytes=10-"), Asked::Beyond),
            (Some("bytes=-0"), Asked::Beyond),
            (Some("bytes=5-4"), Asked::All),
            (Some("bytes=0-1,3-4"), Asked::All),
            (Some("bytes=x-"), Asked::All),
            (Some("bytes=-"), Asked::All),
            (Some("lines=0-1"), Asked::All),
        ];
        for (header, expected) in table {
            assert_eq!(asked(header, 10), expected, "{header:?}");
        }
    }
}
