//! Follows main's changes into another store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use statehouse_contracts::{
    Change, ChangeContent, ChangeData, ChangeOperation, ChangePage, ContentType, ErrorKind,
    FollowerName, FollowerSpec, Prune, Record, Result, StateManager, StateManagerExt, Tombstone,
    Transaction, Write,
};
use tokio_util::sync::CancellationToken;

use super::pending;
use crate::pause::Pauses;

/// Where the changes go.
#[derive(Debug)]
pub(super) enum Target {
    /// A store that holds what main holds.
    Replica(Arc<dyn StateManager>),
    /// A store that holds, of each key, the version before its latest.
    Rollback(Arc<dyn StateManager>),
}

/// Follows main's changes. Every step can be repeated, so a crash between writing and advancing
/// does no harm.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) main: Arc<dyn StateManager>,
    pub(super) target: Target,
    pub(super) follower: FollowerName,
    pub(super) backoff: Duration,
}

impl Feed {
    const PAGE: usize = 256;
    const WAIT: Duration = Duration::from_secs(5);
    /// After how many changes the target's own history is cut back.
    const PRUNE_EVERY: usize = 10_000;

    pub(super) async fn run(self, stop: CancellationToken) {
        let mut pauses = Pauses::up_to(self.backoff);
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = self.follow(&mut pauses) => ended,
            };
            match ended {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Closed => return,
                Err(error) => tracing::warn!(follower = %self.follower, %error, "the feed pauses"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pauses.next()) => {}
            }
        }
    }

    /// Follows until something fails; each page that was taken resets `pauses`.
    async fn follow(&self, pauses: &mut Pauses) -> Result<()> {
        let follower = self
            .main
            .follow(&self.follower, FollowerSpec::default())
            .await?;
        let mut cursor = follower.cursor;
        let mut since_prune = 0;
        loop {
            let page = self.main.changes(&cursor, Self::PAGE, Self::WAIT).await?;
            for change in &page.changes {
                self.take(change).await?;
            }
            if page.next != cursor {
                self.mark(&page).await?;
                self.main.advance(&self.follower, &page.next).await?;
            }
            pauses.reset();
            cursor = page.next;
            since_prune += page.changes.len();
            if since_prune >= Self::PRUNE_EVERY {
                self.cut_history().await?;
                since_prune = 0;
            }
        }
    }

    async fn take(&self, change: &Change) -> Result<()> {
        match &self.target {
            Target::Replica(store) => self.replicate(&**store, change).await,
            Target::Rollback(store) => self.step_behind(&**store, change).await,
        }
    }

    async fn replicate(&self, store: &dyn StateManager, change: &Change) -> Result<()> {
        let before = store.get(&change.key).await?;
        if before
            .as_ref()
            .is_some_and(|before| before.version >= change.version)
        {
            return Ok(());
        }
        match self.record_of(change, before.as_ref()).await? {
            Some(record) => import(store, record).await,
            None => Ok(()),
        }
    }

    /// The latest that the store was told of becomes its current version, and `change` the latest.
    async fn step_behind(&self, store: &dyn StateManager, change: &Change) -> Result<()> {
        let (latest, unchanged) = pending::read(store, &change.key).await?;
        if latest
            .as_ref()
            .is_some_and(|latest| latest.version >= change.version)
        {
            return Ok(());
        }
        let Some(record) = self.record_of(change, latest.as_ref()).await? else {
            return Ok(());
        };
        if let Some(latest) = latest {
            // What expires on main stays here: the version before its tombstone is its data.
            let kept = Record {
                expires_at: None,
                ..latest
            };
            store.import(vec![kept]).await?;
        }
        let next = pending::write(&record, unchanged)?;
        store.apply(next).await.map(|_| ())
    }

    /// The whole record that `change` made, given the one before it. `None` when main has pruned
    /// it: a later change follows then.
    async fn record_of(&self, change: &Change, before: Option<&Record>) -> Result<Option<Record>> {
        if let Some(tombstone) = tombstone_of(change) {
            return Ok(Some(tombstone));
        }
        let whole = match &change.content {
            Some(ChangeContent {
                data: ChangeData::Whole(data),
                ..
            }) => Some(data.clone()),
            Some(ChangeContent {
                data: ChangeData::Appended(added),
                ..
            }) => joined(before, change, added),
            None => None,
        };
        match (whole, &change.content) {
            (Some(data), Some(content)) => Ok(Some(record(change, content, data))),
            _ => self.read(change).await,
        }
    }

    async fn read(&self, change: &Change) -> Result<Option<Record>> {
        match self.main.read_version(&change.key, change.version).await {
            Ok(record) => Ok(Some(record)),
            Err(error) if matches!(error.kind(), ErrorKind::Pruned | ErrorKind::NotFound) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Tells the replica how far it is, so that every process can know.
    async fn mark(&self, page: &ChangePage) -> Result<()> {
        let (Target::Replica(store), Some(last)) = (&self.target, page.changes.last()) else {
            return Ok(());
        };
        let cursor = &page.next;
        let rest = self.main.changes(cursor, 1, Duration::ZERO).await?;
        // The page may end inside a commit: then only the one before it is here as a whole.
        let split = rest
            .changes
            .first()
            .is_some_and(|next| next.commit == last.commit);
        let commit = last.commit.saturating_sub(u64::from(split));
        let text = format!("{commit} {cursor}");
        let put = Write::put(
            super::writes::mark_key()?,
            Bytes::from(text),
            ContentType::TEXT,
        );
        store.apply(Transaction::of(put)).await.map(|_| ())
    }

    /// The target needs no history of its own.
    async fn cut_history(&self) -> Result<()> {
        let (Target::Replica(store) | Target::Rollback(store)) = &self.target;
        store
            .prune(Prune {
                keep_last: Some(1),
                ..Prune::default()
            })
            .await
            .map(|_| ())
    }
}

/// Imports the record. The store may have counted a tombstone of its own under that version: the
/// one before expired there, and main went on otherwise in time. Main is right.
async fn import(store: &dyn StateManager, record: Record) -> Result<()> {
    let written = store.import(vec![record.clone()]).await?;
    if written.contains(&true) || record.tombstone == Some(Tombstone::Expired) {
        return Ok(());
    }
    let there = match store.read_version(&record.key, record.version).await {
        Err(error) if matches!(error.kind(), ErrorKind::Pruned | ErrorKind::NotFound) => None,
        there => there?.tombstone,
    };
    if there == Some(Tombstone::Expired) {
        let forget = Prune {
            key: Some(record.key.clone()),
            tombstones: Some(Duration::ZERO),
            ..Prune::default()
        };
        store.prune(forget).await?;
        store.import(vec![record]).await?;
    }
    Ok(())
}

fn joined(before: Option<&Record>, change: &Change, added: &Bytes) -> Option<Bytes> {
    match before {
        Some(before) if before.version + 1 == change.version => {
            Some([before.data.as_ref(), added.as_ref()].concat().into())
        }
        None if change.version == 1 => Some(added.clone()),
        _ => None,
    }
}

fn record(change: &Change, content: &ChangeContent, data: Bytes) -> Record {
    Record {
        key: change.key.clone(),
        version: change.version,
        data,
        content_type: content.content_type.clone(),
        schema: content.schema.clone(),
        created_at: content.created_at,
        created_by: content.created_by.clone(),
        updated_at: change.at,
        updated_by: change.by.clone(),
        expires_at: content.expires_at,
        tombstone: None,
    }
}

fn tombstone_of(change: &Change) -> Option<Record> {
    let tombstone = match change.operation {
        ChangeOperation::Delete => Tombstone::Deleted,
        ChangeOperation::Expire => Tombstone::Expired,
        _ => return None,
    };
    Some(Record {
        key: change.key.clone(),
        version: change.version,
        data: Bytes::new(),
        content_type: ContentType::BYTES,
        schema: None,
        created_at: change.at,
        created_by: change.by.clone(),
        updated_at: change.at,
        updated_by: change.by.clone(),
        expires_at: None,
        tombstone: Some(tombstone),
    })
}
