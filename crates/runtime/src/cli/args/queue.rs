//! `statehouse queue`

use std::time::Duration;

use clap::Subcommand;
use statehouse_config::parse_duration;
use statehouse_contracts::{GroupName, MessageId, Pattern};

/// Look after groups, dead letters and mailboxes.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// List the groups
    List,
    /// List the agents for whom something is ready
    Agents,
    /// Print what waits for an agent, without its contents
    Pending {
        /// The agent
        agent: String,
        /// At most so many
        #[arg(long, default_value_t = 10)]
        max: usize,
    },
    /// Release what crashes left behind
    ///
    /// That is content that no message needs any more, and groups for replies to processes that are
    /// gone. A running service does it from time to time.
    Sweep,
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
        /// Go on from the cursor of an earlier list
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
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
    /// Extend its lease; prints its new token
    Extend {
        /// From now on
        #[arg(value_parser = parse_duration)]
        lease: Duration,
    },
}
