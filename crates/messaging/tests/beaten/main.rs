//! The bugs of the original, by their numbers: what it did stands above each test, which fails on
//! it. All of them go by the public API; where a restart is the point, a real file is closed, or
//! its process killed, and opened again.

#![expect(clippy::unwrap_used, reason = "a failed call fails the test")]

mod bus;
mod documents;
mod mail;
mod payloads;
mod requests;
mod restart;
mod shared;
mod store;
mod world;
