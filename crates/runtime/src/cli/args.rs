//! What can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use statehouse_contracts::{
    FollowerName, Glob, GroupName, Holder, Kind, MessageId, Namespace, Pattern, Principal,
    ReferenceId, StackName, StateKey, TaskId, Topic, WorkerName,
};

use super::input;
use crate::config::parse_duration;

/// State and messaging for fleets of AI agents.
#[derive(Debug, Parser)]
#[command(name = "statehouse", version = super::VERSION)]
#[command(
    after_help = "Exit codes: 0 done, 2 wrong input, 3 not found, 4 conflict, 5 lease lost or \
    cancelled, 6 unavailable, 7 not allowed, 8 unsupported, 9 quota, 10 damaged, 130 interrupted."
)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Read the configuration from this file instead of statehouse.toml
    #[arg(long, global = true, value_name = "FILE", env = "STATEHOUSE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Set a configuration key, such as backends.default=memory:
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Talk to the service at this address instead of opening the backends
    #[arg(long, global = true, value_name = "URL", env = "STATEHOUSE_URL")]
    pub url: Option<String>,
    /// The namespace to work in
    #[arg(long, global = true, value_name = "NAME", env = "STATEHOUSE_NAMESPACE")]
    pub namespace: Option<Namespace>,
    /// Who acts; by default cli
    #[arg(long = "as", global = true, value_name = "PRINCIPAL")]
    pub principal: Option<Principal>,
    /// Print JSON for programs
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service
    Serve(Serve),
    /// Work on state, tasks, messages and references
    #[command(flatten)]
    Desk(DeskCommand),
    /// Replay recorded agent runs through the whole stack, and check what was written
    Replay(Replay),
    /// Reach every configured backend and say what it can do
    Doctor,
    /// Show or check the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    #[command(hide = true)]
    Man {
        /// Into this folder
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// Run the service.
#[derive(Args, Debug)]
pub struct Serve {
    /// Listen here instead of on 127.0.0.1:7717
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Keep everything there, such as sqlite:other.db or memory:
    #[arg(long, value_name = "URL")]
    pub backend: Option<String>,
}

/// Show or check the configuration.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show every key with its value and where it comes from
    Show,
    /// Report everything that is wrong with the configuration
    Check,
    /// List every key with its meaning and default
    Keys,
}

/// Replay recorded agent runs.
#[derive(Args, Debug)]
pub struct Replay {
    /// The recordings: SWE-agent .traj, or JSON Lines as in docs/replay-format.md
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How fast: 1 is as recorded where times are known, 2 twice as fast; by default unbounded
    #[arg(long, value_name = "FACTOR", value_parser = input::speed)]
    pub speed: Option<f64>,
    /// How many agents replay each run at once, each under a name of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub agents: u32,
}

/// What works on a service or on the backends.
#[derive(Debug, Subcommand)]
pub enum DeskCommand {
    /// Read and write versioned state
    #[command(subcommand)]
    State(StateCommand),
    /// Push, claim and settle tasks
    #[command(subcommand)]
    Task(TaskCommand),
    /// Send a message to an agent's mailbox
    Send(Send),
    /// Receive from an agent's mailbox, or from a group
    Receive(Receive),
    /// Publish a message to a topic
    Publish(Publish),
    /// Print what is published from now on
    Subscribe(Subscribe),
    /// Store and resolve large content
    #[command(subcommand)]
    Ref(RefCommand),
    /// Look after groups, dead letters and mailboxes
    #[command(subcommand)]
    Queue(QueueCommand),
}

/// A key of state: KIND/ID, where the id may hold more slashes.
fn key(text: &str) -> Result<StateKey, String> {
    input::key(text)
}

/// What must hold for a write.
#[derive(Args, Clone, Copy, Debug)]
pub struct When {
    /// Only if the record is at this version
    #[arg(long, value_name = "VERSION", conflicts_with = "if_absent")]
    pub if_version: Option<u64>,
    /// Only if there is no record
    #[arg(long)]
    pub if_absent: bool,
}

/// Read and write versioned state.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// Print a record
    Get {
        /// KIND/ID
        #[arg(value_parser = key)]
        key: StateKey,
        /// This version instead of the current one
        #[arg(long, value_name = "VERSION")]
        at: Option<u64>,
        /// Print only the data, as it is
        #[arg(long, conflicts_with = "json")]
        raw: bool,
    },
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
        #[arg(long, value_name = "N")]
        to: Option<u64>,
        /// What must hold
        #[command(flatten)]
        when: When,
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
        #[arg(long, value_name = "N")]
        before: Option<u64>,
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
    /// Print changes as they are made
    Watch {
        /// Only of this kind
        kind: Option<Kind>,
        /// Only of ids that match
        #[arg(long, value_parser = glob)]
        glob: Option<Glob>,
        /// Go on after this cursor instead of from now on
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
        /// From the oldest change that is kept
        #[arg(long, conflicts_with = "after")]
        from_start: bool,
        /// End after so many changes
        #[arg(long, value_name = "N")]
        count: Option<usize>,
        /// End after so much time without a change
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        idle: Option<Duration>,
    },
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

/// Push, claim and settle tasks.
#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// Push a task; it is the newest then
    Push {
        /// The stack
        stack: StackName,
        /// What the task is about: text, @FILE, or - for standard input
        payload: String,
        /// What sort of task it is
        #[arg(long, default_value = "task")]
        kind: Kind,
        /// Its id; a new one when not given
        #[arg(long)]
        id: Option<TaskId>,
        /// Suspend the task of this claim until this one has ended
        #[arg(long, value_name = "TOKEN")]
        parent: Option<String>,
        /// How many attempts it has
        #[arg(long, default_value_t = 4)]
        max_attempts: u32,
        /// How long from now until it is ready
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        delay: Option<Duration>,
    },
    /// Claim the newest ready task
    Claim {
        /// The stack
        stack: StackName,
        /// For whom
        #[arg(long, default_value = "cli")]
        worker: WorkerName,
        /// How long the claim holds
        #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
        lease: Duration,
        /// How long to wait for one
        #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration)]
        wait: Duration,
    },
    /// Complete a claimed task
    Complete {
        /// The claim's token
        token: String,
        /// What it answers: text, @FILE, or - for standard input
        #[arg(default_value = "")]
        result: String,
    },
    /// Fail a claimed task's attempt
    Fail {
        /// The claim's token
        token: String,
        /// What went wrong
        error: String,
        /// Do not try again
        #[arg(long, conflicts_with = "after")]
        fatal: bool,
        /// Try again after this time
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        after: Option<Duration>,
    },
    /// Extend a claim
    Extend {
        /// The claim's token
        token: String,
        /// How long it holds from now
        #[arg(value_parser = parse_duration)]
        lease: Duration,
    },
    /// Give a claimed task back; the attempt does not count
    Release {
        /// The claim's token
        token: String,
    },
    /// Cancel a task and everything below it
    Cancel {
        /// Its id
        id: TaskId,
    },
    /// Print a task
    Get {
        /// Its id
        id: TaskId,
    },
    /// Print the next ready tasks, newest first
    Peek {
        /// The stack
        stack: StackName,
        /// At most so many
        #[arg(long, default_value_t = 10)]
        max: usize,
    },
    /// List tasks, newest first
    List {
        /// Only of this stack
        #[arg(long)]
        stack: Option<StackName>,
        /// Only in this state
        #[arg(long, value_enum)]
        state: Option<TaskStateArg>,
        /// Only children of this task
        #[arg(long)]
        parent: Option<TaskId>,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Print how many tasks the stacks hold
    Depth {
        /// Only this stack
        stack: Option<StackName>,
    },
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum TaskStateArg {
    /// Can be claimed
    Ready,
    /// Waits for its delay or backoff
    Delayed,
    /// Is claimed
    Running,
    /// Waits for its children
    Suspended,
    /// Is done
    Completed,
    /// Has failed for good
    Failed,
    /// Was cancelled
    Cancelled,
}

/// What a message can carry besides its content.
#[derive(Args, Clone, Debug)]
pub struct MessageArgs {
    /// The content: text, @FILE, or - for standard input
    pub payload: String,
    /// What sort of message it is
    #[arg(long)]
    pub kind: Option<Kind>,
    /// How urgent it is: 0 to 9, larger first (1 low, 2 normal, 3 high, 4 critical)
    #[arg(long, value_parser = input::priority)]
    pub priority: Option<statehouse_contracts::Priority>,
    /// How long from now until it is due
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub delay: Option<Duration>,
    /// How long it lives from when it is due
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub ttl: Option<Duration>,
    /// Messages of one key come one at a time, in order
    #[arg(long, value_name = "KEY")]
    pub ordering_key: Option<String>,
    /// Accepted once under this key
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// What it answers or belongs to
    #[arg(long, value_name = "ID")]
    pub correlation_id: Option<String>,
    /// A header
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = input::pair)]
    pub headers: Vec<(String, String)>,
    /// Its media type; by default JSON or text by its look
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
}

/// Send a message to an agent's mailbox.
#[derive(Args, Debug)]
pub struct Send {
    /// The agent
    pub agent: String,
    /// The message
    #[command(flatten)]
    pub message: MessageArgs,
}

/// Publish a message to a topic.
#[derive(Args, Debug)]
pub struct Publish {
    /// The topic, such as build.done
    pub topic: Topic,
    /// The message
    #[command(flatten)]
    pub message: MessageArgs,
    /// Fail when no group hears it
    #[arg(long)]
    pub require_route: bool,
}

/// Receive from an agent's mailbox, or from a group.
#[derive(Args, Debug)]
pub struct Receive {
    /// The agent whose mailbox to receive from
    #[arg(required_unless_present = "group", conflicts_with = "group")]
    pub agent: Option<String>,
    /// The group to receive from
    #[arg(long)]
    pub group: Option<GroupName>,
    /// At most so many
    #[arg(long, default_value_t = 1)]
    pub max: usize,
    /// How long to wait for the first
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration)]
    pub wait: Duration,
    /// Go on until interrupted
    #[arg(long)]
    pub follow: bool,
    /// Do not acknowledge: print the tokens, for `queue settle`
    #[arg(long)]
    pub keep: bool,
    /// The lease of each with --keep; by default the group's
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub lease: Option<Duration>,
}

/// Print what is published from now on.
#[derive(Args, Debug)]
pub struct Subscribe {
    /// The pattern: * is one word, # any number, such as state.#
    pub pattern: Pattern,
    /// End after so many messages
    #[arg(long, value_name = "N")]
    pub count: Option<usize>,
    /// End after so much time without a message
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub idle: Option<Duration>,
}

/// Store and resolve large content.
#[derive(Debug, Subcommand)]
pub enum RefCommand {
    /// Store content; prints its id and holder
    Put {
        /// The content: text, @FILE, or - for standard input
        content: String,
        /// Who holds it; a new holder when not given
        #[arg(long)]
        holder: Option<Holder>,
        /// How long it lives at most
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        ttl: Option<Duration>,
        /// Its media type
        #[arg(long, value_name = "TYPE")]
        content_type: Option<String>,
        /// How to store it
        #[arg(long, value_enum, default_value = "auto")]
        compression: CompressionArg,
    },
    /// Print content
    Get {
        /// Its id
        id: ReferenceId,
        /// Only these bytes, such as 0..1024
        #[arg(long, value_name = "FROM..TO", value_parser = input::range)]
        range: Option<std::ops::Range<u64>>,
        /// Into this file
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print what is known of content
    Stat {
        /// Its id
        id: ReferenceId,
    },
    /// List content
    List {
        /// Only what this holder holds
        #[arg(long)]
        holder: Option<Holder>,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Hold content
    Retain {
        /// Its id
        id: ReferenceId,
        /// Who
        holder: Holder,
        /// Only so long
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        expires: Option<Duration>,
    },
    /// Stop holding content
    Release {
        /// Its id
        id: ReferenceId,
        /// Who
        holder: Holder,
    },
    /// Remove content, whoever holds it
    Delete {
        /// Its id
        id: ReferenceId,
    },
    /// Remove what has expired and what nobody holds
    Gc,
    /// Print sums
    Stats,
}

/// How to store content.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum CompressionArg {
    /// zstd from 1,024 bytes when that is smaller
    Auto,
    /// As it is
    None,
    /// gzip
    Gzip,
    /// zstd
    Zstd,
    /// LZ4
    Lz4,
}

/// Look after groups, dead letters and mailboxes.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// List the groups
    List,
    /// Declare a group
    Declare {
        /// Its name
        group: GroupName,
        /// Which topics it hears, such as build.*
        pattern: Pattern,
        /// Ignore ordering keys
        #[arg(long)]
        unordered: bool,
        /// Ignore priorities
        #[arg(long)]
        no_priorities: bool,
        /// How many deliveries a message gets
        #[arg(long, default_value_t = 4)]
        max_deliveries: u32,
        /// The lease of a delivery
        #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
        lease: Duration,
        /// The most messages it holds
        #[arg(long, value_name = "N")]
        max_length: Option<u64>,
        /// Drop the oldest when full, instead of making senders wait
        #[arg(long, requires = "max_length")]
        drop_oldest: bool,
        /// Keep expired messages as dead letters
        #[arg(long)]
        keep_expired: bool,
    },
    /// Print how many messages groups hold, and the age of the oldest
    Depth {
        /// Only this group
        group: Option<GroupName>,
    },
    /// Print the next messages without taking them
    Peek {
        /// The group
        group: GroupName,
        /// At most so many
        #[arg(long, default_value_t = 10)]
        max: usize,
    },
    /// List dead letters with their reasons
    Dead {
        /// The group
        group: GroupName,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Put dead letters back
    Redrive {
        /// The group
        group: GroupName,
        /// Only this one
        #[arg(long, value_name = "MESSAGE")]
        id: Option<MessageId>,
    },
    /// Delete what waits, or the dead letters
    Purge {
        /// The group
        group: GroupName,
        /// The dead letters instead
        #[arg(long)]
        dead: bool,
    },
    /// Stop handing out
    Pause {
        /// The group
        group: GroupName,
    },
    /// Hand out again
    Resume {
        /// The group
        group: GroupName,
    },
    /// Delete a group with everything it holds
    Delete {
        /// The group
        group: GroupName,
    },
    /// Take back a message that is not due yet
    Cancel {
        /// Its id
        id: MessageId,
    },
    /// Settle a delivery by its token
    Settle {
        /// The token
        token: String,
        /// What to do
        #[command(subcommand)]
        action: SettleArg,
    },
}

/// What to do with a delivery.
#[derive(Debug, Subcommand)]
pub enum SettleArg {
    /// Done
    Ack,
    /// Give it back
    Nack {
        /// What went wrong
        #[arg(default_value = "")]
        error: String,
        /// After this time; by default the group's backoff
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        delay: Option<Duration>,
    },
    /// Make it a dead letter
    Dead {
        /// Why
        reason: String,
    },
    /// Extend its lease
    Extend {
        /// From now on
        #[arg(value_parser = parse_duration)]
        lease: Duration,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_unknown_flag_names_its_nearest() {
        let error =
            Cli::try_parse_from(["statehouse", "state", "get", "a/b", "--rwa"]).unwrap_err();
        assert!(error.to_string().contains("--raw"), "{error}");
    }
}
