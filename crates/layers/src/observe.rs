//! Traces and measures each operation.

use std::future::Future;
use std::time::Instant;

use statehouse_contracts::{Error, Result};
use tracing::Instrument;

use crate::{Call, Layer};

/// Each operation runs in a span of its own (`queue.enqueue`, `queue.dequeue`, `queue.ack`,
/// `state.apply` …) with `backend`, `items`, `success`, `latency_us` and, when it fails, the
/// error's `kind`; and it is counted:
///
/// | metric | labels |
/// |---|---|
/// | `statehouse_operations_total` | backend, role, operation, outcome (`ok` or the error's kind) |
/// | `statehouse_items_total` | the same, one per item of a batch |
/// | `statehouse_operation_seconds` | backend, role, operation |
#[derive(Clone, Copy, Debug, Default)]
pub struct Observe;

impl Layer for Observe {
    async fn call<T, F, Fut>(&self, call: &Call, mut run: F) -> Result<T>
    where
        T: Send,
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send,
    {
        let span = (call.span)();
        let started = Instant::now();
        let answer = run().instrument(span.clone()).await;
        record(call, &span, started, answer.as_ref().err());
        answer
    }

    async fn batch<I, T, F, Fut>(
        &self,
        call: &Call,
        items: Vec<I>,
        run: F,
    ) -> Result<Vec<Result<T>>>
    where
        I: Clone + Send + Sync,
        T: Send,
        F: FnMut(Vec<I>) -> Fut + Send,
        Fut: Future<Output = Result<Vec<Result<T>>>> + Send,
    {
        let mut run = run;
        let mut once = Some(items);
        let answers = self
            .call(call, || run(once.take().unwrap_or_default()))
            .await?;
        let (mut fine, mut failed) = (0, Vec::new());
        for answer in &answers {
            match answer {
                Ok(_) => fine += 1,
                Err(error) => failed.push(error.kind().as_str()),
            }
        }
        count_items(call, "ok", fine);
        failed
            .into_iter()
            .for_each(|kind| count_items(call, kind, 1));
        Ok(answers)
    }
}

fn record(call: &Call, span: &tracing::Span, started: Instant, error: Option<&Error>) {
    let elapsed = started.elapsed();
    let outcome = error.map_or("ok", |error| error.kind().as_str());
    span.record("backend", call.backend);
    span.record("items", call.items);
    span.record(
        "latency_us",
        u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
    );
    span.record("success", error.is_none());
    if let Some(error) = error {
        span.record("kind", outcome);
        tracing::debug!(parent: span, %error, "failed");
    }
    metrics::counter!(
        "statehouse_operations_total",
        "backend" => call.backend, "role" => call.role.as_str(),
        "operation" => call.operation, "outcome" => outcome,
    )
    .increment(1);
    metrics::histogram!(
        "statehouse_operation_seconds",
        "backend" => call.backend, "role" => call.role.as_str(), "operation" => call.operation,
    )
    .record(elapsed.as_secs_f64());
}

fn count_items(call: &Call, outcome: &'static str, items: u64) {
    if items == 0 {
        return;
    }
    metrics::counter!(
        "statehouse_items_total",
        "backend" => call.backend, "role" => call.role.as_str(),
        "operation" => call.operation, "outcome" => outcome,
    )
    .increment(items);
}
