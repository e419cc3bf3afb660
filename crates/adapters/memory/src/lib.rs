//! The in-memory adapter: every role, every capability, no durability.
//!
//! It is the reference implementation: it shows what the contracts mean exactly, and other adapters
//! are compared with it. Each open of `memory:` is a new, empty store; the handles of one backend
//! share it, and it is gone when they are.
//!
//! Data structures and their rules are plain functions of the data and the time; the handles lock,
//! call one, and wake who waits. No lock is held across an await.

mod backend;
mod config;
mod gate;
mod housekeeping;
mod page;
mod queue;
mod reference;
mod state;
mod store;
mod tasks;
mod time;
mod window;

pub use backend::Memory;
pub use config::Config;
