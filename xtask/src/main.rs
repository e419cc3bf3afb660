//! The project's own commands: `cargo xtask ci|tidy|dist`.
fn main() {}
