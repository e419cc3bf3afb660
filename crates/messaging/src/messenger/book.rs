//! The book of promoted messages: what may have to be released one day, and when.
//!
//! An entry is itself content of the reference store, held by [`keeper`]: so a messenger needs no
//! other place, and an entry is written, found and removed by the same operations.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use statehouse_contracts::{
    ContentType, Error, ErrorKind, GroupName, Holder, MessageId, PutContent, ReferenceId,
    ReferenceQuery, ReferenceStore, Result, Timestamp, Topic,
};

/// One promoted message. Entries are never changed, only replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) message: MessageId,
    pub(super) content: ReferenceId,
    pub(super) topic: Topic,
    /// The groups that may hold the content for it.
    pub(super) groups: Vec<GroupName>,
    pub(super) ttl: Option<Duration>,
    /// When it was sent, or put back, by the clock of who did it.
    pub(super) since: Timestamp,
    /// When no queue hands it out any more.
    pub(super) until: Option<Timestamp>,
}

/// Who holds the entries of a namespace.
fn keeper() -> Result<Holder> {
    Holder::new("statehouse.messenger")
}

fn content_type() -> Result<ContentType> {
    ContentType::new("application/vnd.statehouse.promoted+json")
}

impl Entry {
    /// Writes it.
    pub(super) async fn put(&self, store: &dyn ReferenceStore) -> Result<()> {
        let mut content = PutContent::new(self.json()?).held_by(keeper()?);
        content.content_type = content_type()?;
        store.put(content).await.map(drop)
    }

    /// Removes it.
    pub(super) async fn remove(&self, store: &dyn ReferenceStore) -> Result<()> {
        let id = ReferenceId::of(&self.json()?);
        store.release(&id, &keeper()?).await.map(drop)
    }

    /// Puts `new` in its place; a crash in between leaves both.
    pub(super) async fn replace(&self, new: &Entry, store: &dyn ReferenceStore) -> Result<()> {
        if self == new {
            return Ok(());
        }
        new.put(store).await?;
        self.remove(store).await
    }

    fn json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| Error::internal(format!("an entry cannot be written: {error}")))
    }
}

/// All entries of the namespace.
pub(super) async fn entries(store: &dyn ReferenceStore) -> Result<Vec<Entry>> {
    let (mut entries, mut after) = (Vec::new(), None);
    loop {
        let page = store
            .list(ReferenceQuery {
                holder: Some(keeper()?),
                after,
                ..ReferenceQuery::default()
            })
            .await?;
        for info in page.items {
            entries.extend(read(store, &info.reference.id).await?);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(entries),
        }
    }
}

/// One entry; `None` when another process has just removed it.
async fn read(store: &dyn ReferenceStore, id: &ReferenceId) -> Result<Option<Entry>> {
    let content = match store.resolve(id).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        content => content?,
    };
    serde_json::from_slice(&content.bytes)
        .map(Some)
        .map_err(|error| {
            Error::new(
                ErrorKind::Corrupted,
                format!("an entry of the book of promoted messages cannot be read: {error}"),
            )
            .with_context("reference", id)
        })
}
