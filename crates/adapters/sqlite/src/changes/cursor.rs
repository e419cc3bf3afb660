//! Cursors: which log, which namespace, which place.

use rusqlite::{Connection, OptionalExtension};
use statehouse_contracts::{Cursor, Error};

use crate::{
    engine::Tx,
    error::Failure,
    state::{damaged, head},
};

/// Tells this log from that of another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Incarnation(u64);

impl Incarnation {
    /// That of the open file.
    pub(crate) fn of(connection: &Connection) -> Result<Self, Failure> {
        let text: String = connection
            .prepare_cached("SELECT id FROM state_incarnation")?
            .query_row((), |row| row.get(0))?;
        u64::from_str_radix(&text, 16)
            .map(Self)
            .map_err(|_| damaged(format!("the log's incarnation {text:?} is no number")))
    }
}

/// The log of one namespace, as cursors name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Log {
    pub(super) incarnation: Incarnation,
    pub(super) ns: i64,
}

/// What is there to resume from: after `trimmed`, up to `head`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) trimmed: i64,
    pub(super) head: i64,
}

impl Extent {
    /// As the last commit left it.
    pub(super) fn of(connection: &Connection, ns: i64) -> rusqlite::Result<Self> {
        Ok(Self {
            trimmed: trimmed(connection, ns)?,
            head: head(ns).read(connection)?,
        })
    }

    /// As the jobs of this group before left it.
    pub(super) fn within(tx: &Tx<'_>, ns: i64) -> rusqlite::Result<Self> {
        Ok(Self {
            trimmed: trimmed(tx, ns)?,
            head: tx.counter(head(ns))?,
        })
    }
}

/// The last place that was trimmed off the log of a namespace.
pub(crate) fn trimmed(connection: &Connection, ns: i64) -> rusqlite::Result<i64> {
    let place = connection
        .prepare_cached("SELECT place FROM state_trimmed WHERE ns = ?1")?
        .query_row((ns,), |row| row.get(0))
        .optional()?;
    Ok(place.unwrap_or(0))
}

/// A cursor, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parsed {
    log: Log,
    place: i64,
}

impl Log {
    /// The cursor right after a place.
    pub(super) fn cursor(&self, place: i64) -> Cursor {
        Cursor(format!("{:016x}-{}-{place}", self.incarnation.0, self.ns))
    }

    /// The place that a cursor names.
    ///
    /// # Errors
    /// `InvalidArgument` for one that no log made, `CursorLost` for one that cannot be resumed.
    pub(super) fn place(&self, cursor: &Cursor, extent: Extent) -> Result<i64, Error> {
        let parsed = parse(&cursor.0).ok_or_else(|| {
            Error::invalid(format!(
                "{cursor:?} is no cursor of a change log; take one from head, oldest or changes"
            ))
        })?;
        let why = if parsed.log != *self {
            "it is of another log"
        } else if parsed.place > extent.head {
            "it is ahead of the log, which was restored from a backup"
        } else if parsed.place < extent.trimmed {
            "the changes after it were trimmed"
        } else {
            return Ok(parsed.place);
        };
        Err(self.lost(why, extent))
    }

    pub(super) fn lost(&self, why: &str, extent: Extent) -> Error {
        Error::cursor_lost(why, self.cursor(extent.trimmed), self.cursor(extent.head))
    }
}

fn parse(text: &str) -> Option<Parsed> {
    let mut parts = text.split('-');
    let (incarnation, ns, place) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if parts.next().is_some() || incarnation.len() != 16 || !digits(ns) || !digits(place) {
        return None;
    }
    Some(Parsed {
        log: Log {
            incarnation: Incarnation(u64::from_str_radix(incarnation, 16).ok()?),
            ns: ns.parse().ok()?,
        },
        place: place.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use statehouse_contracts::ErrorKind;

    use super::*;

    const EXTENT: Extent = Extent {
        trimmed: 3,
        head: 9,
    };

    fn log(incarnation: u64, ns: i64) -> Log {
        Log {
            incarnation: Incarnation(incarnation),
            ns,
        }
    }

    #[test]
    fn a_cursor_resumes_only_its_own_log_and_only_what_is_kept() {
        let ours = log(0xabc, 7);
        assert_eq!(ours.place(&ours.cursor(3), EXTENT).unwrap(), 3);
        assert_eq!(ours.place(&ours.cursor(9), EXTENT).unwrap(), 9);
        let lost = [
            ours.cursor(2),
            ours.cursor(10),
            log(0xabd, 7).cursor(5),
            log(0xabc, 8).cursor(5),
        ];
        for cursor in lost {
            let error = ours.place(&cursor, EXTENT).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CursorLost, "{cursor}");
        }
        for text in [
            "",
            "5",
            "a-b-c",
            "0000000000000abc-7-",
            "0000000000000abc-7-5-5",
        ] {
            let error = ours.place(&Cursor(text.to_owned()), EXTENT).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
        }
    }

    proptest! {
        #[test]
        fn cursors_are_reversible(incarnation: u64, ns in 1..i64::MAX, place in 0..i64::MAX) {
            let log = log(incarnation, ns);
            let parsed = parse(&log.cursor(place).0);
            prop_assert_eq!(parsed, Some(Parsed { log, place }));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
