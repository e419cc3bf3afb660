//! Spans of operations: what was asked, how it ended, how long it took.

use std::future::Future;
use std::time::Instant;

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
/// in microseconds. Costs nothing while nobody collects spans.
pub(crate) async fn traced<T>(span: Span, work: impl Future<Output = Result<T>>) -> Result<T> {
    if span.is_disabled() {
        return work.await;
    }
    let started = Instant::now();
    let answer = work.instrument(span.clone()).await;
    span.record("success", answer.is_ok());
    if let Err(error) = &answer {
        span.record("kind", error.kind().as_str());
    }
    span.record("latency_us", micros(started));
    answer
}

/// Microseconds since `started`.
pub(crate) fn micros(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
}
