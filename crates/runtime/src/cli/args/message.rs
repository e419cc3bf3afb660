//! `statehouse send`, `request`, `reply`, `publish`, `receive` and `subscribe`

use std::time::Duration;

use clap::Args;
use statehouse_config::parse_duration;
use statehouse_contracts::{Error, GroupName, Kind, Pattern, Priority, Topic};
use statehouse_messaging::Signal;

use crate::cli::input;

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
    pub priority: Option<Priority>,
    /// How long from now until it is due, such as 30s or 2h
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub delay: Option<Duration>,
    /// How long it lives from when it is due, such as 30s or 24h
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

/// Ask an agent, and print its answer.
#[derive(Args, Debug)]
pub struct Request {
    /// The agent
    pub agent: String,
    /// The question: text, @FILE, or - for standard input
    pub payload: String,
    /// How long to wait for the answer; by default requests.timeout
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// What sort of message it is
    #[arg(long)]
    pub kind: Option<Kind>,
    /// How urgent it is: 0 to 9, larger first (1 low, 2 normal, 3 high, 4 critical)
    #[arg(long, value_parser = input::priority)]
    pub priority: Option<Priority>,
    /// A header
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = input::pair)]
    pub headers: Vec<(String, String)>,
    /// Its media type; by default JSON or text by its look
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
}

/// Answer a request, and acknowledge it.
#[derive(Args, Debug)]
pub struct Reply {
    /// The request, as `receive --keep --json` printed it: text, @FILE, or - for standard input
    pub request: String,
    /// The answer: text, @FILE, or - for standard input
    pub payload: String,
    /// Its media type; by default JSON or text by its look
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
}

/// Interrupt an agent, or all of them, by a critical signal.
#[derive(Args, Debug)]
pub struct SendInterrupt {
    /// The signal: emergency_stop, system_shutdown, threshold_critical, database_down,
    /// security_breach, or a number from 0 to 9
    #[arg(value_parser = signal)]
    pub signal: Signal,
    /// The agent
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub agent: Option<String>,
    /// Every agent that handles it
    #[arg(long)]
    pub all: bool,
    /// What else there is to say: text, @FILE, or - for standard input
    #[arg(long, default_value = "")]
    pub payload: String,
}

/// A signal that leaves its process.
fn signal(text: &str) -> Result<Signal, String> {
    let signal: Signal = text
        .parse()
        .map_err(|error: Error| error.message().to_owned())?;
    if signal.is_critical() {
        return Ok(signal);
    }
    Err(format!(
        "{signal} is not critical: it is heard in the process only that it is sent in; post it to \
         the service"
    ))
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
    /// How long to wait for the first, such as 30s
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
