//! The SQLite adapter: every role in one file, on disk when accepted.
//!
//! [`SqliteFactory`] opens `sqlite:` URLs; [`Config`] tells their parameters.

mod backend;
mod changes;
mod config;
mod consumer;
mod error;
mod housekeeping;
mod outbox;
#[cfg(test)]
mod plan;
mod producer;
mod queue;
mod references;
mod schema;
mod session;
mod state;
mod tasks;
mod time;

pub mod engine;

pub use backend::SqliteFactory;
pub use config::Config;
