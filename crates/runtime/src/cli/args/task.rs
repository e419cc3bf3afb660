//! `statehouse task`

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use statehouse_config::parse_duration;
use statehouse_contracts::{Kind, StackName, TaskId, WorkerName};

/// Push, claim and settle tasks.
#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// Push a task; it is the newest then
    Push(PushTask),
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
    /// Settles a claim
    #[command(flatten)]
    Settle(SettleTask),
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
        /// Go on from the cursor of an earlier list
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// Print how many tasks the stacks hold
    Depth {
        /// Only this stack
        stack: Option<StackName>,
    },
}

/// Push a task.
#[derive(Args, Debug)]
pub struct PushTask {
    /// The stack
    pub stack: StackName,
    /// What the task is about: text, @FILE, or - for standard input
    pub payload: String,
    /// What sort of task it is
    #[arg(long, default_value = "task")]
    pub kind: Kind,
    /// Its id; a new one when not given
    #[arg(long)]
    pub id: Option<TaskId>,
    /// Suspend the task of this claim until this one has ended
    #[arg(long, value_name = "TOKEN")]
    pub parent: Option<String>,
    /// How many attempts it has
    #[arg(long, default_value_t = 4)]
    pub max_attempts: u32,
    /// How long from now until it is ready
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub delay: Option<Duration>,
}

/// Settle a claimed task.
#[derive(Debug, Subcommand)]
pub enum SettleTask {
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
    /// Extend a claim; prints its new token, the old one ends
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
