//! `statehouse state`

use std::time::Duration;

use clap::{Args, Subcommand};
use statehouse_config::parse_duration;
use statehouse_contracts::{FollowerName, Glob, Kind, StateKey};

use crate::cli::input;

/// A key of state: KIND/ID, where the id may hold more slashes.
fn key(text: &str) -> Result<StateKey, String> {
    input::key(text)
}

/// What must hold for a write.
#[derive(Args, Clone, Copy, Debug)]
pub struct When {
    /// Only if the record is at this version
    #[arg(long, value_name = "VERSION", conflicts_with = "if_absent")]
    #[arg(value_parser = input::version, allow_negative_numbers = true)]
    pub if_version: Option<u64>,
    /// Only if there is no record
    #[arg(long)]
    pub if_absent: bool,
}

/// Read and write versioned state.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// Reads
    #[command(flatten)]
    Read(StateRead),
    /// Writes
    #[command(flatten)]
    Write(StateWrite),
    /// Print changes as they are made
    Watch(StateWatch),
    /// Forget old versions
    Prune {
        /// Only of this record
        #[arg(long, value_name = "KIND/ID", value_parser = key)]
        key: Option<StateKey>,
        /// Only of this kind
        #[arg(long)]
        kind: Option<Kind>,
        /// Keep so many versions of each record
        #[arg(long, value_name = "N")]
        keep_last: Option<u64>,
        /// Keep versions so long after they were superseded
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        max_age: Option<Duration>,
        /// Forget records so long after they were deleted
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        tombstones: Option<Duration>,
    },
    /// Write the version before the latest again, from the rollback store of a trio
    Restore {
        /// KIND/ID
        #[arg(value_parser = key)]
        key: StateKey,
        /// What must hold of the record on main
        #[command(flatten)]
        when: When,
    },
    /// Show main, replica and rollback store of a trio, and how far they are
    Trio,
    /// Followers of the change log, and messages that could not be sent
    #[command(flatten)]
    Outgoing(StateOutgoing),
}

/// Reads of state.
#[derive(Debug, Subcommand)]
pub enum StateRead {
    /// Print a record
    Get {
        /// KIND/ID
        #[arg(value_parser = key)]
        key: StateKey,
        /// This version instead of the current one
        #[arg(long, value_name = "VERSION", value_parser = input::version, allow_negative_numbers = true)]
        at: Option<u64>,
        /// Print only the data, as it is
        #[arg(long, conflicts_with = "json")]
        raw: bool,
    },
    /// List the records of a kind
    List {
        /// The kind
        kind: Kind,
        /// Only ids that begin so
        #[arg(long)]
        prefix: Option<String>,
        /// Only ids that match, such as 'a*[0-9]'
        #[arg(long, value_parser = glob)]
        glob: Option<Glob>,
        /// From the last to the first
        #[arg(long)]
        reverse: bool,
        /// Deleted and expired ones too
        #[arg(long)]
        tombstones: bool,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Go on from the cursor of an earlier list
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// Print the versions of a record, newest first
    History {
        /// KIND/ID
        #[arg(value_parser = key)]
        key: StateKey,
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Only versions below this one
        #[arg(long, value_name = "VERSION", value_parser = input::version, allow_negative_numbers = true)]
        before: Option<u64>,
    },
}

/// Writes of state.
#[derive(Debug, Subcommand)]
pub enum StateWrite {
    /// Write a record
    Put {
        /// KIND/ID
        #[arg(value_parser = key)]
        key: StateKey,
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
        /// The identity of this write: a repeat is answered, not done again
        #[arg(long, value_name = "ID")]
        op_id: Option<String>,
    },
    /// Append to a record
    Append {
        /// KIND/ID
        #[arg(value_parser = key)]
        key: StateKey,
        /// The bytes to add: text, @FILE, or - for standard input
        value: String,
        /// What must hold
        #[command(flatten)]
        when: When,
    },
    /// Delete a record
    Delete {
        /// KIND/ID
        #[arg(value_parser = key)]
        key: StateKey,
        /// What must hold
        #[command(flatten)]
        when: When,
    },
    /// Go back to the version before, or to an earlier one
    Rollback {
        /// KIND/ID
        #[arg(value_parser = key)]
        key: StateKey,
        /// To this version instead of the one before
        #[arg(long, value_name = "VERSION", value_parser = input::version, allow_negative_numbers = true)]
        to: Option<u64>,
        /// What must hold
        #[command(flatten)]
        when: When,
    },
}

/// Print changes as they are made.
#[derive(Args, Debug)]
pub struct StateWatch {
    /// Only of this kind
    pub kind: Option<Kind>,
    /// Only of ids that match
    #[arg(long, value_parser = glob)]
    pub glob: Option<Glob>,
    /// Go on after this cursor instead of from now on
    #[arg(long, value_name = "CURSOR")]
    pub after: Option<String>,
    /// From the oldest change that is kept
    #[arg(long, conflicts_with = "after")]
    pub from_start: bool,
    /// End after so many changes
    #[arg(long, value_name = "N")]
    pub count: Option<usize>,
    /// End after so much time without a change
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub idle: Option<Duration>,
}

/// Followers of the change log, and messages that could not be sent.
#[derive(Debug, Subcommand)]
pub enum StateOutgoing {
    /// List the followers of the change log
    Followers,
    /// Remove a follower, so that it no longer holds back trimming
    Unfollow {
        /// Its name
        name: FollowerName,
    },
    /// List outgoing messages that were refused for good
    Parked,
    /// Let a parked message be sent again
    Unpark {
        /// Its position
        position: u64,
    },
    /// Drop a parked message
    Discard {
        /// Its position
        position: u64,
    },
}

fn glob(text: &str) -> Result<Glob, String> {
    Glob::new(text).map_err(|error| error.message().to_owned())
}
