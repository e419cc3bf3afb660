//! Real servers for tests.
//!
//! Which servers there are, their images and how they start is data: `services.toml`, read by
//! [`Service`]. [`Server`] runs one of them in a container, and can kill, restart, pause and cut it
//! off. Where neither Docker nor a server of yours is at hand, tests that need one show as ignored;
//! with `CONFORMANCE_REQUIRE=1` they fail.
//!
//! An adapter's conformance, on every server it is for:
//!
//! ```no_run
//! # use std::process::ExitCode;
//! # use statehouse_conformance::{Expected, Setup};
//! # fn conformance<F: statehouse_contracts::Factory + Copy + 'static>(Dragonfly: F, EXPECTED: Expected) -> ExitCode {
//! statehouse_integration_tests::conformance("dragonfly", |_service| {
//!     Setup::new(Dragonfly, EXPECTED).persistent()
//! })
//! # }
//! ```
//!
//! Other tests on a server, in a file with `harness = false`:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use statehouse_integration_tests::{Outcome, Server, Service, Tests, cases};
//!
//! async fn a_restarted_server_is_at_the_same_port(service: &'static Service) -> Outcome {
//!     let server = Server::start(service).await?;
//!     let url = server.url().to_owned();
//!     server.kill().await?;
//!     server.restart().await?;
//!     assert_eq!(server.url(), url);
//!     Ok(())
//! }
//!
//! fn main() -> ExitCode {
//!     Tests::of_adapter("dragonfly")
//!         .with(cases![a_restarted_server_is_at_the_same_port])
//!         .main()
//! }
//! ```

mod authority;
mod background;
mod by_hand;
mod container;
mod harness;
mod options;
mod ports;
mod proxy;
mod ready;
mod reaper;
mod server;
mod source;
mod table;

pub use authority::Authority;
pub use by_hand::main as by_hand;
pub use harness::{Case, Outcome, Tests, conformance};
pub use options::Options;
pub use proxy::Proxy;
pub use server::{Output, Server};
pub use source::{Absent, Source};
pub use table::{Advertised, Files, Port, Ready, Service, StandIn, Variant};
