//! The project's own commands. `cargo xtask` lists them.

mod ci;
mod dist;
mod process;
mod readme;
mod tidy;
mod workspace;

use std::process::ExitCode;

use process::Result;

const USAGE: &str = "\
cargo xtask ci [STEP…]    what CI runs: every step, or only the named ones, in the order of the list
cargo xtask ci --list     the steps
cargo xtask tidy          the house rules that no compiler checks
cargo xtask dist [--features A,B] [--out DIR]
                          release archive: binary, completions, man page, SBOM, checksums
                          (default: the default features, target/dist-archives)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result {
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", arguments),
    };
    match command {
        "ci" => ci::main(rest),
        "tidy" if rest.is_empty() => tidy::main(),
        "dist" => dist::main(rest),
        "help" | "--help" | "-h" => {
            eprint!("{USAGE}");
            Ok(())
        }
        _ => Err(format!(
            "unknown command `{}`\n\n{USAGE}",
            arguments.join(" ")
        )),
    }
}
