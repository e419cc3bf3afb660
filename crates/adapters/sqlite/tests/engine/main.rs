//! The engine: groups, failing jobs, counters, wake-ups, closing, opening, crashes, processes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod files;
mod groups;
mod processes;
mod waits;
