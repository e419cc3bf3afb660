//! The HTTP API, by a plain client against a real server in this process.

mod client;
mod conditions;
mod messages;
mod references;
mod refusals;
mod service;
mod states;
mod streams;
mod tasks;
