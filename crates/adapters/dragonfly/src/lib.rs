//! The DragonflyDB adapter: every role on a DragonflyDB, Redis or Valkey server.
//!
//! [`DragonflyFactory`] opens `dragonfly:`, `redis:` and `valkey:` URLs; [`Config`] tells their
//! parameters.

mod backend;
mod cache;
mod client;
mod config;
mod consumer;
mod durability;
mod error;
mod housekeeping;
mod keys;
mod outliving;
mod producer;
mod queue;
mod reference;
mod reply;
mod rounds;
mod script;
mod session;
mod state;
mod tasks;
mod time;
mod tls;
mod wake;

pub use backend::DragonflyFactory;
pub use config::{Config, Node};
