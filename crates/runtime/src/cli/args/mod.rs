//! What can be typed.

mod message;
mod queue;
mod reference;
mod shared;
mod state;
mod task;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use statehouse_contracts::{Namespace, Principal};

pub(super) use self::message::{
    MessageArgs, Publish, Receive, Reply, Request, Send, SendInterrupt, Subscribe,
};
pub(super) use self::queue::{QueueCommand, SettleArg};
pub(super) use self::reference::{CompressionArg, RefCommand};
pub(super) use self::shared::{SharedCommand, SharedWatchArgs};
pub(super) use self::state::{
    StateCommand, StateOutgoing, StateRead, StateWatch, StateWrite, When,
};
pub(super) use self::task::{PushTask, SettleTask, TaskCommand, TaskStateArg};
use super::input;

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
    #[arg(long, value_name = "FACTOR", value_parser = input::speed, allow_negative_numbers = true)]
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
    /// Ask an agent, and print its answer
    Request(Request),
    /// Answer a request, and acknowledge it
    Reply(Reply),
    /// Interrupt an agent, or all of them, by a critical signal
    Interrupt(SendInterrupt),
    /// Publish a message to a topic
    Publish(Publish),
    /// Print what is published from now on
    Subscribe(Subscribe),
    /// Read and write what agents share
    #[command(subcommand)]
    Shared(SharedCommand),
    /// Store and resolve large content
    #[command(subcommand)]
    Ref(RefCommand),
    /// Look after groups, dead letters and mailboxes
    #[command(subcommand)]
    Queue(QueueCommand),
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
            Cli::try_parse_from(["statehouse", "state", "list", "task", "--revers"]).unwrap_err();
        assert!(error.to_string().contains("--reverse"), "{error}");
    }
}
