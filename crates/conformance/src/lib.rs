//! One conformance suite for every adapter and layer.
//!
//! Every sentence of the contracts' rustdoc is a case here, run on every adapter. What an adapter
//! claims and what it does must agree in both directions: a capability picks the case that shows
//! it, or the one that shows the refusal.
//!
//! An adapter's `tests/conformance.rs` (with `harness = false`) is a [`Setup`]:
//!
//! ```no_run
//! # use std::process::ExitCode;
//! # use statehouse_conformance::{Expected, Place, Setup};
//! # fn conformance(factory: impl statehouse_contracts::Factory + 'static, expected: Expected) -> ExitCode {
//! Setup::new(factory, expected)
//!     .places(|| Ok(Place::new("memory:")))
//!     .main()
//! # }
//! ```
//!
//! - Each case has a namespace of its own, so that all run in parallel on one backend, and a
//!   deadline of its own, so that a hang is a failure that says what hung. Cases that close or
//!   reopen a backend open one for themselves.
//! - How long a case waits derives from the capabilities (see [`Timing`]); nothing sleeps to be
//!   ready.
//! - [`Setup::run`] runs chosen cases in a program and tells which failed: so the suite itself is
//!   tested, with adapters that are broken on purpose.
//!
//! To add a case, write `async fn its_sentence(cx: Context) -> Outcome` in the file of its subject
//! under `cases/`, and name it in that file's `cases()`.

mod case;
mod cases;
mod context;
mod expect;
mod expected;
mod run;
mod setup;
mod timing;
mod verified;

pub use case::{Case, Outcome};
pub use context::{Context, Instance};
pub use expect::{
    Failure, ensure, ensure_eq, eventually, expect_kind, expect_limit, fail, never, some,
};
pub use expected::Expected;
pub use run::{Failed, Report, main};
pub use setup::{Damage, Place, Setup, required};
pub use timing::Timing;
