//! How large a value is as JSON, looked at only as far as a limit.

use std::io;

use serde::Serialize;
use statehouse_contracts::{Error, Result};

/// Counts what is written, and refuses what is beyond its limit.
struct Counter {
    left: u64,
    exceeded: bool,
}

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.left.checked_sub(bytes.len() as u64) {
            Some(left) => {
                self.left = left;
                Ok(bytes.len())
            }
            None => {
                self.exceeded = true;
                Err(io::ErrorKind::FileTooLarge.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether `value` has more than `limit` bytes as JSON.
pub(super) fn json_exceeds<T: Serialize + ?Sized>(value: &T, limit: u64) -> Result<bool> {
    let mut counter = Counter {
        left: limit,
        exceeded: false,
    };
    match serde_json::to_writer(&mut counter, value) {
        Ok(()) => Ok(false),
        Err(_) if counter.exceeded => Ok(true),
        Err(error) => Err(Error::invalid(format!(
            "the value cannot be written as JSON: {error}"
        ))),
    }
}
