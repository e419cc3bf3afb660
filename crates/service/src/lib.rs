//! The service behind the HTTP API.
//!
//! [`Backends`] opens what the configuration names, by role; [`App`] serves it by scope and
//! namespace; [`http`] puts it behind routes.

mod app;
mod backends;
pub mod http;

pub use app::{App, Capabilities, MailPlan};
pub use backends::{Backends, Opened, TrioBackend};
