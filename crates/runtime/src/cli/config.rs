//! `statehouse config`

use statehouse_config::{Environment, Loaded, Sources, keys, load, read_tokens};
use statehouse_contracts::{Error, Registry, Result};

use super::Output;
use super::args::ConfigCommand;
use super::output::table;
use crate::adapters;

/// Runs a command on the configuration of `sources`.
///
/// # Errors
/// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) with everything that is
/// wrong.
pub(super) fn run(
    command: ConfigCommand,
    sources: &Sources,
    environment: &Environment,
    output: &Output,
) -> Result<()> {
    match command {
        ConfigCommand::Keys => show_keys(output),
        ConfigCommand::Show => show(&load(sources)?, output),
        ConfigCommand::Check => {
            let loaded = load(sources)?;
            read_tokens(&loaded.config.tokens, environment)?;
            check_backends(&loaded, &adapters::registry())?;
            let from = loaded
                .file
                .map_or("no file".to_owned(), |file| file.display().to_string());
            output.done(&format!("the configuration is right ({from})"))
        }
    }
}

/// Whether this build has an adapter for each backend that is named.
///
/// # Errors
/// [`Unsupported`](statehouse_contracts::ErrorKind::Unsupported), with where the URL was set.
pub(super) fn check_backends(loaded: &Loaded, registry: &Registry) -> Result<()> {
    for (key, endpoint) in loaded.config.endpoints() {
        registry.check(endpoint).map_err(|error| {
            let problem = loaded.problem(key, error.to_string());
            Error::new(error.kind(), problem.to_string())
        })?;
    }
    Ok(())
}

fn show(loaded: &Loaded, output: &Output) -> Result<()> {
    if output.is_json() {
        let keys: serde_json::Map<String, serde_json::Value> = loaded
            .shown
            .iter()
            .map(|shown| {
                let value =
                    serde_json::json!({ "value": shown.value, "origin": shown.origin.to_string() });
                (shown.key.clone(), value)
            })
            .collect();
        return output.document(&keys);
    }
    let rows = loaded.shown.iter().map(|shown| {
        [
            shown.key.clone(),
            shown.value.clone(),
            shown.origin.to_string(),
        ]
    });
    output.text(&table(["key", "value", "from"], rows.collect()))
}

fn show_keys(output: &Output) -> Result<()> {
    if output.is_json() {
        let names: Vec<String> = keys().iter().map(|key| key.path.to_owned()).collect();
        return output.document(&names);
    }
    output.text(&statehouse_config::reference())
}
