//! Keeping the process's cache fresh.

use std::sync::atomic::Ordering;
use std::time::Duration;

use statehouse_contracts::{Cursor, ErrorKind, Result};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{SharedMemory, scope};

/// How long one wait for changes lasts, and how long one after a failure.
const WAIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(500);

/// Tells the cache of a [`SharedMemory`] what other processes write, until it is dropped. While none
/// runs, [`SharedMemory::peek`] answers nothing.
#[derive(Debug)]
pub struct SharedFeed {
    task: JoinHandle<()>,
    _stop: DropGuard,
}

impl SharedFeed {
    /// Follows the changes of `memory` from now on. Needs a tokio runtime.
    ///
    /// # Errors
    /// Those of [`ChangeLog::head`](statehouse_contracts::ChangeLog::head).
    pub async fn start(memory: SharedMemory) -> Result<Self> {
        let cursor = memory.inner.state.head().await?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        // Before the first read that may rely on it.
        memory.inner.feeds.fetch_add(1, Ordering::AcqRel);
        let fed = Fed(memory);
        let task = tokio::spawn(async move {
            stopped.run_until_cancelled(follow(&fed.0, cursor)).await;
        });
        Ok(Self {
            task,
            _stop: stop.drop_guard(),
        })
    }

    /// Stops, and waits until it has.
    pub async fn stop(self) {
        let Self { task, _stop } = self;
        drop(_stop);
        // That it panicked was told where it did.
        drop(task.await);
    }
}

/// Ends the use of the cache with the feed, however that ends.
struct Fed(SharedMemory);

impl Drop for Fed {
    fn drop(&mut self) {
        let inner = &self.0.inner;
        if inner.feeds.fetch_sub(1, Ordering::AcqRel) == 1 {
            inner.cache.flush();
        }
    }
}

async fn follow(memory: &SharedMemory, mut cursor: Cursor) {
    let (state, cache) = (&memory.inner.state, &memory.inner.cache);
    let Ok(kind) = scope::shared_kind() else {
        return;
    };
    loop {
        match state.changes(&cursor, 0, WAIT).await {
            Ok(page) => {
                let shared = page.changes.iter().filter(|change| change.key.kind == kind);
                shared.for_each(|change| cache.heard(&change.key.id, change.version));
                cursor = page.next;
            }
            Err(error) if error.kind() == ErrorKind::Closed => return,
            Err(error) => {
                tracing::warn!(%error, "changes of shared memory may have been missed");
                cache.flush();
                tokio::time::sleep(PAUSE).await;
                if let Ok(head) = state.head().await {
                    cursor = head;
                    // What was read between the flush and the new head.
                    cache.flush();
                }
            }
        }
    }
}
