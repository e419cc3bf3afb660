//! What the `statehouse` binary is made of: the adapters of this build, the service that listens, and
//! the command line.

pub mod adapters;
pub mod cli;
pub mod serve;
pub mod telemetry;

pub use statehouse_config as config;
