//! What a whole run has shown, written down beside the adapter for the project's table of adapters.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use statehouse_contracts::{Durability, Error, Result};
use statehouse_layers::guard;

use crate::{Expected, Setup};

/// Set when the files are to be written anew.
const UPDATE: &str = "UPDATE_DOCS";

/// Whether this run is asked to write down what it shows.
pub(crate) fn is_wanted() -> bool {
    env::var_os(UPDATE).is_some()
}

/// Writes `verified/<server>.toml` in the adapter's crate: that all of its `cases` passed.
///
/// # Errors
/// When the backend cannot be asked for its server, or the file cannot be written.
pub(crate) async fn write(setup: &Setup, cases: usize) -> Result<()> {
    let backend = setup.open(&setup.place()?, guard).await?;
    let server = backend.info().await?.server;
    backend.close().await?;
    let folder = env::var_os("CARGO_MANIFEST_DIR")
        .map(PathBuf::from)
        .ok_or_else(|| Error::invalid("CARGO_MANIFEST_DIR is not set; run it with cargo test"))?
        .join("verified");
    let text = document(setup, &server, cases);
    let written = fs::create_dir_all(&folder)
        .and_then(|()| fs::write(folder.join(format!("{}.toml", file_name(&server))), text));
    written.map_err(|error| {
        Error::internal(format!("{} cannot be written", folder.display())).with_source(error)
    })
}

/// The server's name without its version: the next version takes the place of this one.
fn file_name(server: &str) -> String {
    let word = server.split_whitespace().next().unwrap_or("server");
    let kept = word.chars().filter(char::is_ascii_alphanumeric);
    kept.collect::<String>().to_lowercase()
}

fn document(setup: &Setup, server: &str, cases: usize) -> String {
    let adapter = setup.factory.name();
    let expected = &setup.expected;
    let mut text = format!(
        "# Written by {UPDATE}=1 cargo test -p statehouse-{adapter} --test conformance\n\
         adapter = {adapter:?}\nserver = {server:?}\nschemes = {:?}\n",
        setup.factory.schemes()
    );
    let roles = [
        (
            "messages",
            expected.producer.is_some() && expected.consumer.is_some(),
        ),
        ("state", expected.state.is_some()),
        ("tasks", expected.tasks.is_some()),
        ("references", expected.references.is_some()),
    ];
    for (role, is_there) in roles {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{role} = {is_there}");
    }
    let _ = writeln!(text, "survives = {:?}\ncases = {cases}", survives(expected));
    text
}

/// What all roles survive.
fn survives(expected: &Expected) -> &'static str {
    let roles = [
        expected.producer.map(|can| can.durability),
        expected.consumer.map(|can| can.durability),
        expected.state.map(|can| can.durability),
        expected.tasks.map(|can| can.durability),
        expected.references.map(|can| can.durability),
    ];
    let all = |holds: fn(Durability) -> bool| roles.into_iter().flatten().all(holds);
    if all(|durability| durability.node_loss) {
        "the loss of a node"
    } else if all(|durability| durability.power_loss) {
        "a loss of power"
    } else if all(|durability| durability.process_kill) {
        "a kill of the process"
    } else {
        "nothing"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_one_file_whatever_its_version() {
        let table = [
            ("Redis 7.0.15", "redis"),
            ("RocketMQ V5_5_0", "rocketmq"),
            ("", "server"),
        ];
        for (server, expected) in table {
            assert_eq!(file_name(server), expected);
        }
    }
}
