//! Waiting for messages without taking any: the broker is asked to answer when there are some.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cheetah_string::CheetahString;
use parking_lot::Mutex;
use statehouse_contracts::{ErrorKind, Result};

use crate::pop::engine::Engine;
use crate::pop::source::{Source, has_news};

/// How long the broker waits before it answers that there is nothing.
const WAIT: Duration = Duration::from_secs(2);

/// The same for messages with an ordering key: the broker does not tell when another process frees
/// a queue.
const WAIT_KEYED: Duration = Duration::from_millis(500);

/// The pause after a failure, and where there is nothing to wait at.
const PAUSE: Duration = Duration::from_millis(250);

/// The shortest and the longest pause after news of which nothing was to be had.
const FALSE_NEWS: Duration = Duration::from_millis(4);
const FALSE_NEWS_MAX: Duration = Duration::from_millis(128);

/// Who waits, and where somebody looks out for them.
#[derive(Debug, Default)]
pub(super) struct Watched {
    waiting: AtomicUsize,
    at: Mutex<HashSet<(CheetahString, Source)>>,
}

/// Somebody waits while this lives.
#[derive(Debug)]
pub(super) struct Waiting(Arc<Engine>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.watched.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Engine {
    /// Somebody waits: looks out at every source.
    pub(super) fn wait(self: &Arc<Self>) -> Waiting {
        self.watched.waiting.fetch_add(1, Ordering::AcqRel);
        // Without a connection nobody can look out; receiving says so.
        let brokers = self.cluster.client.brokers().unwrap_or_default();
        let mut at = self.watched.at.lock();
        for broker in brokers.iter() {
            for source in Source::ALL {
                let place = (broker.name.clone(), source);
                if at.insert(place.clone()) {
                    tokio::spawn(self.clone().look_out(place));
                }
            }
        }
        drop(at);
        Waiting(self.clone())
    }

    async fn look_out(self: Arc<Self>, place: (CheetahString, Source)) {
        let mut pause = FALSE_NEWS;
        while self.is_watched(&place) {
            match self.look_once(&place).await {
                Ok(true) => {
                    self.poke();
                    // sleep: the time to take it, longer each time that it was not to be had
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(FALSE_NEWS_MAX);
                }
                Ok(false) => pause = FALSE_NEWS,
                Err(kind) => {
                    if kind != ErrorKind::PermissionDenied {
                        self.poke();
                    }
                    // sleep: the pause before the next look
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn look_once(
        &self,
        (broker, source): &(CheetahString, Source),
    ) -> Result<bool, ErrorKind> {
        let client = &self.cluster.client;
        let group = self.group.lock().clone();
        let wait = match source {
            Source::Keyed => WAIT_KEYED,
            _ => WAIT,
        };
        let look = async {
            let broker = client.broker(broker)?;
            let began = tokio::time::Instant::now();
            let news = has_news(client, &broker, &group, *source, wait).await?;
            if !news && began.elapsed() < PAUSE {
                // sleep: the broker does not wait where the topic was not made yet
                tokio::time::sleep(PAUSE).await;
            }
            Ok(news)
        };
        let looked: statehouse_contracts::Result<bool> = look.await;
        looked.map_err(|error| error.kind())
    }

    /// Whether somebody still waits; else this place is given up.
    fn is_watched(&self, place: &(CheetahString, Source)) -> bool {
        let mut at = self.watched.at.lock();
        let waits = self.watched.waiting.load(Ordering::Acquire) > 0;
        let open = !self.cluster.client.closing.is_cancelled();
        if !(waits && open) {
            at.remove(place);
        }
        waits && open
    }
}
