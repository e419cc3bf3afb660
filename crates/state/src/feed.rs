//! Keeps a cache fresh by the events of other processes.

use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{BroadcastEvent, Consumer, Error, Pattern, Result};
use tokio_util::sync::CancellationToken;

use crate::{StateCache, StateEvent};

/// Hears every state event, in every process, and tells the cache. After a gap it flushes the
/// cache, because anything may have been missed; and while it cannot listen it suspends it.
#[derive(Debug)]
pub struct CacheFeed {
    cache: Arc<StateCache>,
    consumer: Arc<dyn Consumer>,
}

impl CacheFeed {
    /// How long one wait for an event lasts.
    const WAIT: Duration = Duration::from_secs(5);
    /// How long to wait before listening anew.
    const PAUSE: Duration = Duration::from_millis(500);

    /// A feed of `cache` from `consumer`.
    pub fn new(cache: Arc<StateCache>, consumer: Arc<dyn Consumer>) -> Self {
        Self { cache, consumer }
    }

    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        self.cache.suspend();
        while !stop.is_cancelled() {
            let listened = tokio::select! {
                () = stop.cancelled() => return,
                listened = self.listen() => listened,
            };
            self.cache.suspend();
            if let Err(error) = listened {
                tracing::warn!(%error, "state events cannot be heard; nothing is cached until then");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(Self::PAUSE) => {}
            }
        }
    }

    async fn listen(&self) -> Result<(), Error> {
        let mut events = self.consumer.broadcast(&Pattern::new("state.#")?).await?;
        self.cache.resume();
        loop {
            match events.next(Self::WAIT).await? {
                None => {}
                Some(BroadcastEvent::Gap { .. }) => self.cache.flush(),
                Some(BroadcastEvent::Message(received)) => {
                    match StateEvent::parse(&received.message) {
                        Ok(event) => self.cache.heard_event(&event),
                        Err(error) => tracing::debug!(%error, "not a state event"),
                    }
                }
            }
        }
    }
}
