//! Noticing that a connection was closed: the client library tells it to who asks next, and lets
//! those who wait for an answer wait until their time is up.

use std::collections::HashMap;

use cheetah_string::CheetahString;
use parking_lot::Mutex;
use rocketmq_transport::api::CachedConnectionState;
use tokio_util::sync::CancellationToken;

/// The connections of a session that were asked for, by the server's address.
#[derive(Debug, Default)]
pub(crate) struct Links(Mutex<HashMap<CheetahString, Link>>);

#[derive(Debug, Default)]
struct Link {
    closed: CancellationToken,
    /// Whether it was ever seen open.
    seen: bool,
}

impl Links {
    /// What is cancelled when the connection to the server is found closed.
    pub(crate) fn to(&self, address: &CheetahString) -> CancellationToken {
        let mut links = self.0.lock();
        if let Some(link) = links.get(address) {
            return link.closed.clone();
        }
        links.entry(address.clone()).or_default().closed.clone()
    }

    /// Looks at each of them; `state` tells how it is.
    pub(crate) fn look(&self, state: impl Fn(&CheetahString) -> CachedConnectionState) {
        self.0.lock().retain(|address, link| {
            let closed = match state(address) {
                CachedConnectionState::Healthy => {
                    link.seen = true;
                    false
                }
                CachedConnectionState::UnhealthyRetired => true,
                // Not made yet, or the library has found it closed before.
                CachedConnectionState::Absent => link.seen,
            };
            if closed {
                link.closed.cancel();
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
        let looks = |state: CachedConnectionState| links.look(|_| state);
        let first = links.to(&address);
        looks(CachedConnectionState::Absent);
        assert!(!first.is_cancelled(), "it is being made");
        looks(CachedConnectionState::Healthy);
        looks(CachedConnectionState::Healthy);
        assert!(!first.is_cancelled());
        looks(CachedConnectionState::UnhealthyRetired);
        assert!(first.is_cancelled());
        let second = links.to(&address);
        looks(CachedConnectionState::Healthy);
        assert!(!second.is_cancelled());
        looks(CachedConnectionState::Absent);
        assert!(second.is_cancelled());
    }
}
