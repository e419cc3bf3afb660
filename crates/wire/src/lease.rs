//! Leases, whose deadline is on the clock of whoever holds it.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use statehouse_contracts::{Lease, LeaseToken, Result};
use utoipa::ToSchema;

use crate::Span;

/// The right to work on something, for a while.
///
/// `remaining` is what was left when the answer was made, `waited` how long the request had been
/// at the service by then. A client that takes `start of request + waited + remaining` as the
/// deadline is never later than the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseDoc {
    /// Proves the right; replaced by each extension.
    pub token: String,
    /// What was left of the lease when the answer was made.
    pub remaining: Span,
    /// How long the request had been at the service then.
    pub waited: Span,
}

impl LeaseDoc {
    /// The document of `lease`, in the answer to a request that arrived at `arrived`.
    pub fn new(lease: &Lease, arrived: Instant) -> Self {
        // Both at one moment and unrounded, so that their sum is the lease as it was given.
        let now = Instant::now();
        Self {
            token: lease.token.as_str().to_owned(),
            remaining: Span(lease.deadline.saturating_duration_since(now)),
            waited: Span(now.saturating_duration_since(arrived)),
        }
    }

    /// The lease, in the answer to a request that began at `requested`.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for a token that is
    /// none.
    pub fn lease(self, requested: Instant) -> Result<Lease> {
        let lasts = self.waited.0.saturating_add(self.remaining.0);
        let far = requested + Duration::from_secs(365 * 86_400);
        Ok(Lease {
            token: LeaseToken::new(self.token)?,
            deadline: requested.checked_add(lasts).unwrap_or(far),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_is_never_later_than_the_service() {
        let requested = Instant::now();
        let lease = Lease {
            token: LeaseToken::new("t").unwrap(),
            deadline: Instant::now() + Duration::from_secs(30),
        };
        let arrived = requested + Duration::from_micros(700);
        let back = LeaseDoc::new(&lease, arrived).lease(requested).unwrap();
        assert!(back.deadline <= lease.deadline);
        let given = lease.deadline.duration_since(arrived);
        assert!(
            back.deadline >= requested + given,
            "nothing is rounded away"
        );
    }
}
