//! The conformance suite on SQLite.

fn main() {}
