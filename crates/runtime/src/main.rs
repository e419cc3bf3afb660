//! The `statehouse` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    statehouse_runtime::cli::main(statehouse_runtime::serve::serve)
}
