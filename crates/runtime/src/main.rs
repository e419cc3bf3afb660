//! The `statehouse` binary.
fn main() {}
