//! What most cases about state begin with: keys, writes of text, and short ways to say what is
//! there.

use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{
    Applied, Backend, Change, ChangeOperation, ContentType, Cursor, HistoryQuery, ListQuery,
    Operation, Record, Scope, StateKey, StateManager, StateManagerExt, Tombstone, Transaction,
    Version, Write,
};

use crate::{Context, Failure, ensure, ensure_eq, eventually, fail, some};

/// A handle on state, and short ways to use it. All keys are of the kind `note`.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    pub(crate) state: Arc<dyn StateManager>,
    /// How long anything may take.
    pub(crate) patience: Duration,
    /// How long a case watches that nothing happens.
    pub(crate) quiet: Duration,
}

/// More pages than any case has: who gets more is given the same ones again and again.
pub(crate) const MOST_PAGES: usize = 10_000;

/// A time to live that a case waits out.
pub(crate) const BRIEF: Duration = Duration::from_millis(250);

/// A time to live that does not end while a case runs.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// The key `note/<id>`.
pub(crate) fn key(id: &str) -> StateKey {
    key_of("note", id)
}

/// The key `<kind>/<id>`.
pub(crate) fn key_of(kind: &str, id: &str) -> StateKey {
    StateKey::parse(kind, id).unwrap_or_else(|error| panic!("key {kind}/{id} of a case: {error}"))
}

/// The write that puts `text`.
pub(crate) fn put(id: &str, text: &str) -> Write {
    Write::put(key(id), text.to_owned(), ContentType::TEXT)
}

/// The write that puts `text` for a while.
pub(crate) fn put_for(id: &str, text: &str, ttl: Duration) -> Write {
    let operation = Operation::Put {
        data: text.to_owned().into(),
        content_type: ContentType::TEXT,
        schema: None,
        ttl: Some(ttl),
    };
    Write {
        operation,
        ..put(id, "")
    }
}

/// The write that appends `text`.
pub(crate) fn append(id: &str, text: &str) -> Write {
    Write::append(key(id), text.to_owned())
}

/// The write that deletes.
pub(crate) fn delete(id: &str) -> Write {
    Write::delete(key(id))
}

/// The transaction of these writes.
pub(crate) fn transaction(writes: impl IntoIterator<Item = Write>) -> Transaction {
    Transaction {
        writes: writes.into_iter().collect(),
        ..Transaction::default()
    }
}

/// The text of a record.
pub(crate) fn said(record: &Record) -> String {
    String::from_utf8_lossy(&record.data).into_owned()
}

/// A version in short: `3 text`, `4 deleted` or `5 expired`.
pub(crate) fn line(record: &Record) -> String {
    let says = match record.tombstone {
        None => said(record),
        Some(Tombstone::Deleted) => "deleted".to_owned(),
        Some(Tombstone::Expired) => "expired".to_owned(),
    };
    format!("{} {says}", record.version)
}

/// A change in short: `put a 3`.
pub(crate) fn told(change: &Change) -> String {
    let operation = match change.operation {
        ChangeOperation::Put => "put",
        ChangeOperation::Append => "append",
        ChangeOperation::Delete => "delete",
        ChangeOperation::Expire => "expire",
        ChangeOperation::Rollback => "rollback",
        ChangeOperation::Import => "import",
    };
    format!("{operation} {} {}", change.key.id, change.version)
}

impl Shelf {
    /// In the case's namespace.
    pub(crate) async fn new(cx: &Context) -> Result<Self, Failure> {
        Ok(Self::of(cx, cx.state().await?))
    }

    /// In any scope of a backend.
    pub(crate) async fn on(
        cx: &Context,
        backend: &dyn Backend,
        scope: &Scope,
    ) -> Result<Self, Failure> {
        Ok(Self::of(cx, backend.state(scope).await?))
    }

    fn of(cx: &Context, state: Arc<dyn StateManager>) -> Self {
        Self {
            state,
            patience: cx.timing().patience,
            quiet: cx.timing().quiet,
        }
    }

    /// Applies one write and answers the version.
    pub(crate) async fn write(&self, write: Write) -> Result<Version, Failure> {
        Ok(self.state.write(write).await?)
    }

    /// Applies writes one after another.
    pub(crate) async fn write_all(
        &self,
        writes: impl IntoIterator<Item = Write> + Send,
    ) -> Result<(), Failure> {
        let writes: Vec<Write> = writes.into_iter().collect();
        for write in writes {
            self.write(write).await?;
        }
        Ok(())
    }

    /// Applies writes in one transaction.
    pub(crate) async fn apply(
        &self,
        writes: impl IntoIterator<Item = Write> + Send,
    ) -> Result<Applied, Failure> {
        Ok(self.state.apply(transaction(writes)).await?)
    }

    /// The live record of `note/<id>`, which must be there.
    pub(crate) async fn live(&self, id: &str) -> Result<Record, Failure> {
        some(self.state.get(&key(id)).await?, "live record")
    }

    /// The record of `note/<id>` must read as this line, see [`line`], or be absent.
    pub(crate) async fn reads(&self, id: &str, expected: Option<&str>) -> Result<(), Failure> {
        let record = self.state.get(&key(id)).await?;
        let got = record.as_ref().map(line);
        ensure_eq(got.as_deref(), expected, &format!("what {id:?} reads as"))
    }

    /// All versions of `note/<id>`, newest first, over pages of any size.
    pub(crate) async fn history(&self, id: &str) -> Result<Vec<Record>, Failure> {
        let mut all: Vec<Record> = Vec::new();
        for _ in 0..MOST_PAGES {
            let query = HistoryQuery {
                before: all.last().map(|record| record.version),
                ..HistoryQuery::default()
            };
            let page = self.state.history(&key(id), query).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
        fail("the pages come to no end")
    }

    /// The versions of `note/<id>`, newest first, must be these lines, see [`line`].
    pub(crate) async fn story_is(&self, id: &str, expected: &[&str]) -> Result<(), Failure> {
        let lines: Vec<String> = self.history(id).await?.iter().map(line).collect();
        ensure_eq(lines, expected, &format!("the history of {id:?}"))
    }

    /// Waits until `note/<id>` has expired.
    pub(crate) async fn until_absent(&self, id: &str) -> Result<(), Failure> {
        eventually(BRIEF + self.patience, "the end of a ttl", || async {
            Ok(self.state.get(&key(id)).await?.is_none().then_some(()))
        })
        .await
    }

    /// All changes after `after` that are there, over pages of `limit`.
    pub(crate) async fn changes(
        &self,
        after: &Cursor,
        limit: usize,
    ) -> Result<Vec<Change>, Failure> {
        let (mut all, mut cursor) = (Vec::new(), after.clone());
        for _ in 0..MOST_PAGES {
            let page = self.state.changes(&cursor, limit, Duration::ZERO).await?;
            ensure(
                limit == 0 || page.changes.len() <= limit,
                "a page holds at most the limit",
            )?;
            if page.changes.is_empty() && page.next == cursor {
                return Ok(all);
            }
            all.extend(page.changes);
            cursor = page.next;
        }
        fail("the pages come to no end")
    }

    /// The changes after `after` must be these, in short, see [`told`].
    pub(crate) async fn changes_are(
        &self,
        after: &Cursor,
        expected: &[&str],
    ) -> Result<(), Failure> {
        let told: Vec<String> = self.changes(after, 0).await?.iter().map(told).collect();
        ensure_eq(told, expected, "the changes")
    }

    /// The ids that a list shows, over all of its pages.
    pub(crate) async fn ids(&self, query: ListQuery) -> Result<Vec<String>, Failure> {
        let records = self.records(query).await?;
        Ok(records
            .into_iter()
            .map(|record| record.key.id.to_string())
            .collect())
    }

    /// The records that a list shows, over all of its pages.
    pub(crate) async fn records(&self, mut query: ListQuery) -> Result<Vec<Record>, Failure> {
        let mut all = Vec::new();
        for _ in 0..MOST_PAGES {
            let page = self.state.list(query.clone()).await?;
            let fits = query.limit == 0 || page.items.len() <= query.limit;
            ensure(fits, "a page holds at most the limit")?;
            all.extend(page.items);
            query.after = page.next;
            if query.after.is_none() {
                return Ok(all);
            }
        }
        fail("the pages come to no end")
    }
}

/// The query for live notes.
pub(crate) fn notes() -> ListQuery {
    ListQuery::new(key("any").kind)
}
