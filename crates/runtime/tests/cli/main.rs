//! The command line as a user meets it: the real binary, embedded and against a service.

#![expect(clippy::unwrap_used, reason = "a failed call fails the test")]

mod commands;
mod messaging;
mod mistakes;
mod place;
