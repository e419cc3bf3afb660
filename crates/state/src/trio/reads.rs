//! Which role answers a read.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{
    Error, ErrorKind, ListQuery, Page, Record, Result, StateKey, StateManager, StateManagerExt,
    Version,
};

use super::{ReplicaMode, Source, Trio, TrioRead, writes};

impl Trio {
    /// The live records of these keys, and who answered.
    ///
    /// # Errors
    /// Those of the role that answered.
    pub async fn read_many(&self, keys: &[StateKey]) -> Result<TrioRead> {
        let unsafe_now = |trio: &Self| {
            let written = trio.written.lock();
            written.lost_track() || keys.iter().any(|key| written.version(key).is_some())
        };
        if unsafe_now(self) {
            self.learn_progress().await;
        }
        let read = |store: Arc<dyn StateManager>| async move { store.get_many(keys).await };
        let (records, source, stale) = self.choose(unsafe_now(self), read).await?;
        Ok(TrioRead {
            records,
            source,
            stale,
        })
    }

    pub(super) async fn read_list(&self, query: ListQuery) -> Result<Page<Record>> {
        let unsafe_now = |trio: &Self| trio.written.lock().any();
        if unsafe_now(self) {
            self.learn_progress().await;
        }
        let query = &query;
        let read = |store: Arc<dyn StateManager>| async move { store.list(query.clone()).await };
        self.choose(unsafe_now(self), read)
            .await
            .map(|(page, _, _)| page)
    }

    /// A version never changes, so the replica's is as good as main's; what it lacks main may have.
    pub(super) async fn read_one_version(
        &self,
        key: &StateKey,
        version: Version,
    ) -> Result<Record> {
        match self.main.read_version(key, version).await {
            Err(error) if is_down(&error) => self.replica.read_version(key, version).await,
            answer => answer,
        }
    }

    /// Reads from the replica, or from main when `needs_main` or the replica cannot be used. With
    /// main down, the replica answers all the same: then the answer is stale if main was needed.
    async fn choose<T, F, Fut>(&self, needs_main: bool, read: F) -> Result<(T, Source, bool)>
    where
        F: Fn(Arc<dyn StateManager>) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let main_first = needs_main || self.is_far_behind().await;
        let order = [(&self.main, Source::Main), (&self.replica, Source::Replica)];
        let [first, second] = if main_first {
            order
        } else {
            [order[1], order[0]]
        };
        match read(Arc::clone(first.0)).await {
            Err(error) if is_down(&error) => {
                tracing::debug!(source = ?first.1, %error, "a role of the trio is down");
                let stale = main_first;
                let answer = read(Arc::clone(second.0)).await.map_err(|_| error)?;
                Ok((answer, second.1, stale))
            }
            answer => Ok((answer?, first.1, false)),
        }
    }

    async fn is_far_behind(&self) -> bool {
        self.options.replica == ReplicaMode::Fed
            && self
                .lag_of_replica()
                .await
                .is_some_and(|lag| lag > self.options.max_lag)
    }

    /// The replica's lag, asked of main at most once a second.
    async fn lag_of_replica(&self) -> Option<u64> {
        if let Some(lag) = self.known_lag.lock().fresh(Duration::from_secs(1)) {
            return lag;
        }
        let lag = self.lag(Self::REPLICA_FOLLOWER).await;
        self.known_lag.lock().set(lag);
        lag
    }

    /// Finds out what the replica has by now of this process's writes.
    async fn learn_progress(&self) {
        match self.options.replica {
            ReplicaMode::Fed => {
                if let Some(commit) = self.fed_commit().await {
                    self.written.lock().replicated(commit);
                }
            }
            // A place of main's log that the replica knows is a place that it has reached.
            ReplicaMode::Native => {
                let Ok(head) = self.main.head().await else {
                    return;
                };
                if self.replica.changes(&head, 1, Duration::ZERO).await.is_ok() {
                    self.written.lock().all_replicated();
                }
            }
        }
    }

    async fn fed_commit(&self) -> Option<u64> {
        let mark = self.replica.get(&writes::mark_key().ok()?).await.ok()??;
        std::str::from_utf8(&mark.data)
            .ok()?
            .split(' ')
            .next()?
            .parse()
            .ok()
    }
}

/// Whether another role should be asked.
fn is_down(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Overloaded | ErrorKind::Closed
    )
}
