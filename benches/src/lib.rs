//! Measures the embedded default beside bare rusqlite and beside Redis, as ratios in one run.
//!
//! ```text
//!  store     the SQLite adapter, as an application opens it
//!  mail      a mailbox over it
//!  bare      rusqlite with a writer thread and group commit: the least that does the same work
//!  redis     a Redis server that syncs every write, and the least of a client
//!  messaging what agents say in one process, and what that is compared with
//!  load      callers that repeat an operation; what they waited
//!  scenarios what is compared with what
//! ```
//!
//! The program `ratios` runs all scenarios in one sitting and writes RESULTS.md; the benches
//! `durable` and `messaging` measure single operations with criterion. The program `overhead`
//! (feature `servers`) compares the adapters of servers with their client libraries.

pub mod bare;
pub mod load;
pub mod machine;
pub mod mail;
pub mod messaging;
pub mod queue;
pub mod redis;
pub mod report;
pub mod scenarios;
pub mod stats;
pub mod store;
pub mod table;

/// Whatever goes wrong ends the run.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Bytes of a value or a message.
pub const VALUE: usize = 1024;

/// Bytes of a large content.
pub const CONTENT: usize = 10 * 1024;

/// The name of the key that a caller writes or reads in a turn.
pub fn name(caller: u64, turn: u64) -> String {
    /// Distinct keys of each caller.
    const KEYS: u64 = 100;
    format!("agent-{caller}/{}", turn % KEYS)
}

/// Content that was never there before.
pub(crate) fn fresh_content() -> Vec<u8> {
    let mut content = vec![0; CONTENT];
    fastrand::fill(&mut content);
    content
}
