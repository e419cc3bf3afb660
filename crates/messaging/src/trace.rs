//! Spans of operations: what was asked, how it ended, how long it took.

use std::future::Future;
use std::time::Instant;

use futures::FutureExt;
use statehouse_contracts::Result;
use tracing::{Instrument, Span};

/// A span `$name` with `$fields`, and those that [`traced`] fills.
macro_rules! operation {
    ($name:literal, $($fields:tt)*) => {
        tracing::debug_span!(
            $name,
            success = tracing::field::Empty,
            kind = tracing::field::Empty,
            latency_us = tracing::field::Empty,
            $($fields)*
        )
    };
}
pub(crate) use operation;

/// Does `work` within `span`, and records whether it succeeded, the kind of its error, and its time
/// in microseconds. While nobody collects spans, it costs a glance.
pub(crate) fn traced<T>(
    span: Span,
    work: impl Future<Output = Result<T>>,
) -> impl Future<Output = Result<T>> {
    let started = (!span.is_disabled()).then(Instant::now);
    // Not an async function: its future would hold the work twice.
    work.instrument(span.clone()).inspect(move |answer| {
        let Some(started) = started else { return };
        span.record("success", answer.is_ok());
        if let Err(error) = answer {
            span.record("kind", error.kind().as_str());
        }
        span.record("latency_us", micros(started));
    })
}

/// Microseconds since `started`.
pub(crate) fn micros(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
}
