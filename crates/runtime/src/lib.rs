//! What the `statehouse` binary is made of.
//!
//! [`config`] reads the configuration; the rest serves it over HTTP and on the command line.

pub mod adapters;
pub mod app;
pub mod backends;
pub mod cli;
pub mod config;
pub mod http;
pub mod serve;
pub mod telemetry;
