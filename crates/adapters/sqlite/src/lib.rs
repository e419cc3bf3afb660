//! The SQLite adapter.

mod error;

pub mod engine;
