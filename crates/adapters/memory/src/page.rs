//! Page cursors: what was shown last, marked with the list that it belongs to.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use statehouse_contracts::{Error, PageCursor, Result};

/// The largest page of any list.
pub(crate) const MAX_PAGE: usize = 1_000;

/// How many entries one page looks at before it is cut short.
pub(crate) const MAX_SCAN: usize = 10_000;

/// The page size for a limit, where 0 leaves it to us.
pub(crate) fn size(limit: usize) -> usize {
    if limit == 0 {
        MAX_PAGE
    } else {
        limit.min(MAX_PAGE)
    }
}

/// The cursor after `last` of the list `list`.
pub(crate) fn cursor(list: &str, last: &str) -> PageCursor {
    PageCursor(format!("{list}.{}", URL_SAFE_NO_PAD.encode(last)))
}

/// What was shown last, from the list's own cursor.
pub(crate) fn last(list: &str, cursor: &PageCursor) -> Result<String> {
    let read = || {
        let (of, last) = cursor.0.split_once('.')?;
        let bytes = URL_SAFE_NO_PAD.decode(last).ok()?;
        (of == list).then(|| String::from_utf8(bytes).ok())?
    };
    read().ok_or_else(|| {
        Error::invalid(format!(
            "{:?} is no page cursor of this list; pass `next` of the page before",
            cursor.0
        ))
    })
}

/// The same for a list in the order of numbers.
pub(crate) fn last_number(list: &str, cursor: &PageCursor) -> Result<u64> {
    last(list, cursor)?
        .parse()
        .map_err(|_| Error::invalid(format!("{:?} is no page cursor of this list", cursor.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_good_for_its_list_only() {
        let made = cursor("list", "a/ü");
        assert_eq!(last("list", &made).unwrap(), "a/ü");
        for bad in ["", "list", "list.!", "other.YQ", "list._w"] {
            assert!(last("list", &PageCursor(bad.into())).is_err(), "{bad}");
        }
        assert!(last_number("list", &made).is_err());
    }
}
