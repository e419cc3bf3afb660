//! Layers put together.

use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::Backend;

use crate::{Observe, Retry, Timeout, around, guard};

/// The layers around a backend, from the outside in: guard, observe, retry, timeout.
#[derive(Clone, Copy, Debug)]
pub struct Stack {
    /// The bound of each attempt; `None`: none.
    pub timeout: Option<Duration>,
    /// Which failures are repeated; `None`: none.
    pub retry: Option<Retry>,
    /// Whether operations are traced and measured.
    pub observe: bool,
}

impl Default for Stack {
    /// 30 s for each attempt, the default retries, observed.
    fn default() -> Self {
        Self {
            timeout: Some(Duration::from_secs(30)),
            retry: Some(Retry::default()),
            observe: true,
        }
    }
}

impl Stack {
    /// `backend` with these layers around it.
    pub fn wrap(&self, backend: Arc<dyn Backend>) -> Arc<dyn Backend> {
        let mut wrapped = backend;
        if let Some(limit) = self.timeout {
            wrapped = around(wrapped, Timeout::new(limit));
        }
        if let Some(retry) = self.retry {
            wrapped = around(wrapped, retry);
        }
        if self.observe {
            wrapped = around(wrapped, Observe);
        }
        guard(wrapped)
    }
}
