//! The SQLite adapter.

pub mod engine;
