//! What the `statehouse` binary is made of.
//!
//! [`config`] reads the configuration, [`replay`] reads recorded agent runs.

pub mod adapters;
pub mod app;
pub mod backends;
pub mod cli;
pub mod config;
pub mod http;
pub mod replay;
pub mod serve;
pub mod telemetry;
