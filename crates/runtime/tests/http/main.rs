//! The HTTP API, by a plain client against a real server in this process.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod client;
mod conditions;
mod mailboxes;
mod messages;
mod messaging;
mod references;
mod refusals;
mod service;
mod states;
mod streams;
mod tasks;
