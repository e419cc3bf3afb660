//! The client of a running Statehouse service: every role of the contracts, over its HTTP API.
//!
//! [`HttpFactory`] opens `http:` and `https:` URLs; [`Config`] tells their parameters. What the
//! roles can do is what the service says at `/v1/capabilities` when the backend is opened.
//!
//! Some things are different from holding the service's own backend:
//!
//! - A call that is dropped hangs up, and the service may have handed out something by then. It
//!   comes back when its lease ends, with one attempt more.
//! - A service that shuts down is [`Unavailable`](statehouse_contracts::ErrorKind::Unavailable):
//!   the handle stays open, and works again when the service does.
//! - A transaction or a push is one request and cannot be larger than the service's body limit;
//!   batches that need not hold together are sent in several requests.

mod backend;
mod batch;
mod client;
mod config;
mod connector;
mod consumer;
mod error;
mod fields;
mod producer;
mod reference;
mod request;
mod service;
mod sse;
mod state;
mod tasks;

pub use backend::HttpFactory;
pub use config::Config;
pub use service::Service;
