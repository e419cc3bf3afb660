//! The project's own commands. `cargo xtask` lists them.

mod ci;
mod dist;
mod images;
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
cargo xtask adapters      README's table of adapters is what their suites have shown; UPDATE_DOCS=1
                          writes it
cargo xtask images [--only NAME]… [--stand-in] [--check]
                          images of the servers for tests: pulls the public one, or makes a
                          stand-in of packages where that fails
cargo xtask services up|down|status [NAME…]
                          servers for tests, by hand: writes the variables to export
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

/// The tests' own fixture, so that a server by hand is the one that tests start.
fn services(arguments: &[String]) -> Result {
    let fixture = [
        "run",
        "--quiet",
        "--package",
        "statehouse-integration-tests",
        "--bin",
        "statehouse-services",
        "--",
    ];
    let words = fixture
        .into_iter()
        .chain(arguments.iter().map(String::as_str));
    process::run(&mut process::cargo(words))
}

fn dispatch(arguments: &[String]) -> Result {
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", arguments),
    };
    match command {
        "ci" => ci::main(rest),
        "adapters" if rest.is_empty() => readme::check_adapter_table(),
        "tidy" if rest.is_empty() => tidy::main(),
        "images" => images::main(rest),
        "services" => services(rest),
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
