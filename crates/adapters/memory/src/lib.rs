//! The in-memory adapter.
