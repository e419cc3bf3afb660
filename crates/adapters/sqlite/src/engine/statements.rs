//! The statements that the writer keeps prepared, found by the address of their text.
//!
//! The connection's own cache hashes the text at every use and keeps an order of use. With some
//! seven statements to a message that costs as much as one of them.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
};

use rusqlite::{Connection, Statement};

/// Where a text lies, and how long it is.
type Place = (usize, usize);

/// The prepared statements of a connection.
pub(super) struct Statements<'c> {
    connection: &'c Connection,
    idle: RefCell<HashMap<Place, Statement<'c>, BuildHasherDefault<PlaceHasher>>>,
}

impl<'c> Statements<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self {
            connection,
            idle: RefCell::default(),
        }
    }

    /// Uses the statement of this text, which is prepared for its first use.
    pub(super) fn with<T>(
        &self,
        sql: &'static str,
        run: impl FnOnce(&mut Statement<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let place = (sql.as_ptr() as usize, sql.len());
        let idle = self.idle.borrow_mut().remove(&place);
        let mut statement = match idle {
            Some(statement) => statement,
            None => self.connection.prepare(sql)?,
        };
        let result = run(&mut statement);
        self.idle.borrow_mut().insert(place, statement);
        result
    }
}

/// [`Statements`] without their lifetime, in which a transaction would not be covariant.
pub(super) trait Lend {
    /// Calls `to` with the statement, once.
    fn lend(
        &self,
        sql: &'static str,
        to: &mut dyn FnMut(&mut Statement<'_>),
    ) -> rusqlite::Result<()>;
}

impl Lend for Statements<'_> {
    fn lend(
        &self,
        sql: &'static str,
        to: &mut dyn FnMut(&mut Statement<'_>),
    ) -> rusqlite::Result<()> {
        self.with(sql, |statement| {
            to(statement);
            Ok(())
        })
    }
}

impl fmt::Debug for Statements<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statements").finish_non_exhaustive()
    }
}

/// Spreads addresses: they differ in their middle bits.
#[derive(Default)]
struct PlaceHasher(u64);

impl Hasher for PlaceHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, number: usize) {
        /// 2^64 divided by the golden ratio.
        const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
        self.0 = (self.0 ^ number as u64)
            .wrapping_mul(SPREAD)
            .rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_prepared_once_and_can_be_used_within_itself() {
        static SQL: &str = "SELECT ?1 + 1";
        let connection = Connection::open_in_memory().unwrap();
        let statements = Statements::new(&connection);
        let add = |number: i64| statements.with(SQL, |s| s.query_row((number,), |row| row.get(0)));
        let nested: i64 = statements
            .with(SQL, |s| {
                let inner: i64 = add(1)?;
                s.query_row((inner,), |row| row.get(0))
            })
            .unwrap();
        assert_eq!(nested, 3);
        assert_eq!(add(3).unwrap(), 4_i64);
        assert_eq!(statements.idle.borrow().len(), 1);
    }
}
