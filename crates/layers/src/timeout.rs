//! Bounds each attempt.

use std::future::Future;
use std::time::Duration;

use statehouse_contracts::{Error, ErrorKind, Result, Retry as Advice};

use crate::{Call, Layer, Repeat};

/// Ends an operation that takes longer than this, and the time it was told to wait, with
/// [`ErrorKind::Timeout`]: ambiguous when it may have changed something.
#[derive(Clone, Copy, Debug)]
pub struct Timeout {
    limit: Duration,
}

impl Timeout {
    /// A bound of `limit` for each attempt.
    pub fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl Layer for Timeout {
    async fn call<T, F, Fut>(&self, call: &Call, mut run: F) -> Result<T>
    where
        T: Send,
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send,
    {
        let limit = self.limit.saturating_add(call.wait);
        match tokio::time::timeout(limit, run()).await {
            Ok(answer) => answer,
            Err(_) => Err(timed_out(call, limit)),
        }
    }
}

fn timed_out(call: &Call, limit: Duration) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!("{} did not answer within {limit:?}", call.backend),
    )
    .with_operation(call.operation)
    .with_retry(Advice::After(Duration::ZERO))
    .with_ambiguous(call.repeat != Repeat::Reads)
}
