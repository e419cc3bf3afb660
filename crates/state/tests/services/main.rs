//! The services, over real stores.

#![expect(clippy::unwrap_used, reason = "a failed call fails the test")]

mod forgetful;
mod inbox;
mod inbox_model;
mod inbox_processor;
mod processor;
mod relay;
mod service;
mod support;
mod trio;
