//! Noticing that a connection was closed: the client library tells it to who asks next, and lets
//! those who wait for an answer wait until their time is up.

use std::collections::HashMap;

use cheetah_string::CheetahString;
use parking_lot::Mutex;
use rocketmq_transport::api::CachedConnectionState;
use tokio_util::sync::CancellationToken;

/// The connections of a session, by the server's address: each with what is cancelled when it is
/// found closed.
#[derive(Debug, Default)]
pub(crate) struct Links(Mutex<HashMap<CheetahString, CancellationToken>>);

impl Links {
    /// Where a request to `address` waits; `state` tells how its connection is. One that is closed
    /// is done with first: the library makes another for the request, and would hide this one.
    pub(crate) fn to(
        &self,
        address: &CheetahString,
        state: impl FnOnce() -> CachedConnectionState,
    ) -> CancellationToken {
        let mut links = self.0.lock();
        if state() == CachedConnectionState::UnhealthyRetired
            && let Some(closed) = links.remove(address)
        {
            closed.cancel();
        }
        links.entry(address.clone()).or_default().clone()
    }

    /// Looks at each of them. One that the library does not have is being made, or it ends what
    /// waits there by itself.
    pub(crate) fn look(&self, state: impl Fn(&CheetahString) -> CachedConnectionState) {
        self.0.lock().retain(|address, link| {
            let closed = state(address) == CachedConnectionState::UnhealthyRetired;
            if closed {
                link.cancel();
            }
            !closed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_hears_that_the_connection_was_closed() {
        let (links, address) = (Links::default(), CheetahString::from_static_str("a:1"));
        let to = |state| links.to(&address, || state);
        let first = to(CachedConnectionState::Absent);
        links.look(|_| CachedConnectionState::Absent);
        let second = to(CachedConnectionState::Healthy);
        links.look(|_| CachedConnectionState::Healthy);
        assert!(!first.is_cancelled() && !second.is_cancelled());
        links.look(|_| CachedConnectionState::UnhealthyRetired);
        assert!(first.is_cancelled() && second.is_cancelled());
    }

    #[test]
    fn a_request_does_not_wait_at_a_connection_that_was_closed_before() {
        let (links, address) = (Links::default(), CheetahString::from_static_str("a:1"));
        let old = links.to(&address, || CachedConnectionState::Healthy);
        let new = links.to(&address, || CachedConnectionState::UnhealthyRetired);
        assert!(old.is_cancelled() && !new.is_cancelled());
        links.look(|_| CachedConnectionState::Healthy);
        assert!(!new.is_cancelled());
    }
}
