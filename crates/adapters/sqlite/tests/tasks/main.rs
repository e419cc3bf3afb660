//! Tasks on a file: what other processes, the clock and the file's size have to do with them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod family;
mod leases;
mod many;
mod pushing;
