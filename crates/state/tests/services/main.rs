//! The services, over real stores.

#![expect(clippy::unwrap_used, reason = "a failed call fails the test")]

mod processor;
mod relay;
mod service;
mod support;
mod trio;
