//! The command line.
//!
//! A command works on a [`Desk`]: the handles of every role for one namespace and
//! principal, of a running service (`--url`) or of the backends in the configuration. It prints a
//! table for people, or with `--json` a JSON document for programs, and its exit code says what
//! kind of thing went wrong: see [`exit`].

mod args;
mod config;
mod desk;
mod doctor;
mod entry;
pub mod exit;
mod input;
mod output;
mod queue;
mod receive;
mod references;
mod replay;
mod request;
mod send;
mod shared;
mod state;
mod task;

pub use args::{Cli, Command, Common, ConfigCommand, DeskCommand, Replay, Serve};
pub use desk::Desk;
pub use entry::run as main;
pub use output::Output;

use statehouse_contracts::Result;

/// What `--version` says: the version, the commit and the features of this build.
pub const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("STATEHOUSE_COMMIT"),
    ", features: ",
    env!("STATEHOUSE_FEATURES"),
    ")"
);

/// Runs a command that works on a desk.
///
/// # Errors
/// Those of the command.
pub async fn run(command: DeskCommand, desk: &Desk, output: &Output) -> Result<()> {
    match command {
        DeskCommand::State(command) => state::run(command, desk, output).await,
        DeskCommand::Task(command) => task::run(command, desk, output).await,
        DeskCommand::Send(command) => send::send(command, desk, output).await,
        DeskCommand::Publish(command) => send::publish(command, desk, output).await,
        DeskCommand::Receive(command) => receive::receive(command, desk, output).await,
        DeskCommand::Subscribe(command) => receive::subscribe(command, desk, output).await,
        DeskCommand::Request(command) => request::request(command, desk, output).await,
        DeskCommand::Interrupt(command) => request::interrupt(command, desk, output).await,
        DeskCommand::Reply(command) => request::reply(command, desk, output).await,
        DeskCommand::Shared(command) => shared::run(command, desk, output).await,
        DeskCommand::Ref(command) => references::run(command, desk, output).await,
        DeskCommand::Queue(command) => queue::run(command, desk, output).await,
    }
}
