//! `statehouse config`

use statehouse_config::{Environment, Loaded, Problem, Problems, Sources, keys, load, read_tokens};
use statehouse_contracts::{Endpoint, Error, ErrorKind, Registry, Result};

use super::Output;
use super::args::ConfigCommand;
use super::output::table;
use crate::adapters;

/// Runs a command on the configuration of `sources`.
///
/// # Errors
/// [`InvalidArgument`](ErrorKind::InvalidArgument) with everything that is wrong;
/// [`Unsupported`](ErrorKind::Unsupported) with the URLs that this build has no adapter for.
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
            check_backends(&loaded, shared_cache(&loaded), &adapters::registry())?;
            let from = loaded
                .file
                .map_or("no file".to_owned(), |file| file.display().to_string());
            output.done(&format!("the configuration is right ({from})"))
        }
    }
}

/// Whether this build has an adapter for each of the backends that are opened, and for `others`.
///
/// # Errors
/// [`Unsupported`](ErrorKind::Unsupported) with every URL for which it has none, and where that was
/// set.
pub(super) fn check_backends<'a>(
    loaded: &'a Loaded,
    others: impl IntoIterator<Item = (&'static str, &'a Endpoint)>,
    registry: &Registry,
) -> Result<()> {
    let endpoints = loaded.config.endpoints().into_iter().chain(others);
    let problems: Vec<Problem> = endpoints
        .filter_map(|(key, endpoint)| {
            let error = registry.check(endpoint).err()?;
            Some(loaded.problem(key, error.to_string()))
        })
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    let text = Problems(problems).to_string();
    Err(Error::new(ErrorKind::Unsupported, text))
}

/// The cache that services share, which commands do without.
pub(super) fn shared_cache(loaded: &Loaded) -> Option<(&'static str, &Endpoint)> {
    Some(("cache.url", loaded.config.cache.url.as_ref()?))
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
