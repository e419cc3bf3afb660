//! The in-memory adapter: every role, every capability, no durability.
//!
//! It is the reference implementation: it shows what the contracts mean exactly, and other adapters
//! are compared with it. Each open of `memory:` is a new, empty store; the handles of one backend
//! share it, and it is gone when they are.
//!
//! Data structures and their rules are plain functions of the data and the time; the handles lock,
//! call one, and wake who waits. No lock is held across an await.
//!
//! ```
//! use statehouse_contracts::{
//!     Bytes, ContentType, Endpoint, Factory, Precondition, Result, Scope, StateKey,
//!     StateManagerExt,
//! };
//! use statehouse_memory::Memory;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let backend = Memory.open(&Endpoint::parse("memory:")?).await?;
//! let state = backend.state(&Scope::parse("default", "writer")?).await?;
//!
//! let plan = StateKey::parse("task", "plan")?;
//! state.put(&plan, Bytes::from("draft"), ContentType::TEXT, Precondition::Absent).await?;
//! state.append(&plan, Bytes::from(", revised")).await?;
//!
//! let record = state.get(&plan).await?.expect("it was written");
//! assert_eq!((record.version, &record.data[..]), (2, &b"draft, revised"[..]));
//! # Ok(())
//! # }
//! ```

mod backend;
mod config;
mod consumer;
mod gate;
mod housekeeping;
mod page;
mod producer;
mod queue;
mod reference;
mod state;
mod store;
mod tasks;
mod time;
mod window;

pub use backend::Memory;
pub use config::Config;
