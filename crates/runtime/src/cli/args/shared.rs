//! `statehouse shared`

use std::time::Duration;

use clap::{Args, Subcommand};
use statehouse_config::parse_duration;
use statehouse_messaging::SharedScope;

use super::state::When;

/// `global`, `agent`, or a sort of scope and which one.
fn scope(text: &str) -> Result<SharedScope, String> {
    text.parse::<SharedScope>()
        .map_err(|error| error.message().to_owned())
}

/// Which value. Scopes are global, agent (private to who acts), workflow:ID, swarm:ID, debate:ID and
/// session:ID.
#[derive(Args, Clone, Debug)]
pub struct SharedName {
    /// The scope: global, agent, workflow:ID, swarm:ID, debate:ID or session:ID
    #[arg(value_parser = scope)]
    pub scope: SharedScope,
    /// The name of the value
    pub key: String,
}

/// Read and write what agents share.
#[derive(Debug, Subcommand)]
pub enum SharedCommand {
    /// Print a value
    Get {
        /// Which value
        #[command(flatten)]
        name: SharedName,
        /// Print only the value, as it is
        #[arg(long, conflicts_with = "json")]
        raw: bool,
    },
    /// Store a value
    Put {
        /// Which value
        #[command(flatten)]
        name: SharedName,
        /// The content: text, @FILE, or - for standard input
        value: String,
        /// What must hold
        #[command(flatten)]
        when: When,
        /// How long it lives, such as 30s or 24h
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        ttl: Option<Duration>,
        /// Its media type; by default JSON or text by its look
        #[arg(long, value_name = "TYPE")]
        content_type: Option<String>,
    },
    /// Delete a value
    Delete {
        /// Which value
        #[command(flatten)]
        name: SharedName,
        /// What must hold
        #[command(flatten)]
        when: When,
    },
    /// List the values of a scope
    List {
        /// The scope
        #[arg(value_parser = scope)]
        scope: SharedScope,
        /// Only names that match, such as 'plan.*'
        #[arg(default_value = "*")]
        pattern: String,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Go on from the cursor of an earlier list
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// Print what happens to the values of a scope
    Watch(SharedWatchArgs),
    /// Delete all values of a scope
    Clear {
        /// The scope
        #[arg(value_parser = scope)]
        scope: SharedScope,
    },
    /// Print how many values a scope has, and their size
    Stats {
        /// The scope
        #[arg(value_parser = scope)]
        scope: SharedScope,
    },
}

/// Print what happens to the values of a scope.
#[derive(Args, Debug)]
pub struct SharedWatchArgs {
    /// The scope
    #[arg(value_parser = scope)]
    pub scope: SharedScope,
    /// Only names that match, such as 'plan.*'
    #[arg(default_value = "*")]
    pub pattern: String,
    /// The values that are there first
    #[arg(long)]
    pub initial: bool,
    /// End after so many
    #[arg(long, value_name = "N")]
    pub count: Option<usize>,
    /// End after so much time without any
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub idle: Option<Duration>,
}
