//! The Apache RocketMQ adapter: messages on the Java broker 5, leases by POP.
//!
//! [`RocketmqFactory`] opens `rocketmq:` URLs; [`Config`] tells their parameters. `README.md` beside
//! this crate says how the contracts map onto the broker.
#![recursion_limit = "512"]

mod backend;
mod broadcast;
mod client;
mod cluster;
mod config;
mod consumer;
mod count;
mod counts;
mod dead;
mod error;
mod groups;
mod home;
mod links;
mod log;
mod message;
mod naming;
mod notes;
mod peek;
mod pop;
mod producer;
mod request;
mod scheduled;
mod sending;
mod session;
mod settings;
mod tls;
mod topics;

pub use backend::RocketmqFactory;
pub use config::{Config, Keys, Tls};

/// The first part of names on the broker, unless the URL says otherwise.
const PREFIX: &str = "statehouse";
