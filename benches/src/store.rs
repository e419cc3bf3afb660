//! The SQLite adapter, as an application opens it.

use std::{fs, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use statehouse_contracts::{
    Backend, Compression, Consumer, ContentType, Cursor, Delivery, Endpoint, Factory, GroupName,
    GroupSpec, HistoryQuery, Id, Kind, Message, Pattern, Payload, Precondition, Producer,
    ProducerExt, PutContent, Receive, ReferenceId, ReferenceStore, Scope, StateKey, StateManager,
    StateManagerExt, TaskStack, Topic,
};
use statehouse_sqlite::SqliteFactory;
use tempfile::TempDir;

use crate::{
    Result, VALUE, fresh_content, name,
    queue::{Queue, WAIT},
};

const NAMESPACE: &str = "default";
const AGENT: &str = "bench";

/// A file of its own, with every role open. The file goes with the last clone.
#[derive(Clone, Debug)]
pub struct Store {
    directory: Arc<TempDir>,
    backend: Arc<dyn Backend>,
    state: Arc<dyn StateManager>,
    producer: Arc<dyn Producer>,
    consumer: Arc<dyn Consumer>,
    tasks: Arc<dyn TaskStack>,
    references: Arc<dyn ReferenceStore>,
    group: GroupName,
    topic: Topic,
    kind: Kind,
    value: Bytes,
}

impl Store {
    /// Opens a new file in a folder that goes when it is closed; `parameters` go into its URL.
    ///
    /// # Errors
    /// Those of the adapter.
    pub async fn open(parameters: &str) -> Result<Self> {
        let directory = Arc::new(folder()?);
        let path = directory.path().join("store.db");
        let endpoint = Endpoint::parse(&format!("sqlite:{}{parameters}", path.display()))?;
        let backend = SqliteFactory.open(&endpoint).await?;
        let scope = Scope::parse(NAMESPACE, AGENT)?;
        let consumer = backend.consumer(&scope).await?;
        let (group, topic) = (GroupName::new("bench")?, Topic::new("bench.topic")?);
        let spec = GroupSpec::new(Pattern::from(topic.clone()));
        consumer.declare(&group, &spec).await?;
        Ok(Self {
            state: backend.state(&scope).await?,
            producer: backend.producer(&scope).await?,
            tasks: backend.tasks(&scope).await?,
            references: backend.references(&scope).await?,
            kind: Kind::new("agent")?,
            value: vec![b'x'; VALUE].into(),
            directory,
            backend,
            consumer,
            group,
            topic,
        })
    }

    /// The backend, and the scope that its roles are opened for.
    ///
    /// # Errors
    /// None.
    pub fn backend(&self) -> Result<(&dyn Backend, Scope)> {
        Ok((self.backend.as_ref(), Scope::parse(NAMESPACE, AGENT)?))
    }

    /// The task stacks.
    pub fn tasks(&self) -> &dyn TaskStack {
        self.tasks.as_ref()
    }

    /// The consumer, and the group that gets what is sent.
    pub fn group(&self) -> (&dyn Consumer, &GroupName) {
        (self.consumer.as_ref(), &self.group)
    }

    /// Bytes that the write-ahead log takes.
    pub fn log_bytes(&self) -> u64 {
        let path = self.directory.path().join("store.db-wal");
        fs::metadata(path).map_or(0, |log| log.len())
    }

    fn key(&self, caller: u64, turn: u64) -> Result<StateKey> {
        let id = Id::new(name(caller, turn))?;
        Ok(StateKey::new(self.kind.clone(), id))
    }

    /// Puts one value.
    ///
    /// # Errors
    /// Those of the adapter.
    pub async fn put(&self, caller: u64, turn: u64) -> Result<()> {
        let key = self.key(caller, turn)?;
        let (value, content_type) = (self.value.clone(), ContentType::BYTES);
        self.state
            .put(&key, value, content_type, Precondition::None)
            .await?;
        Ok(())
    }

    /// Reads the latest version of a key.
    ///
    /// # Errors
    /// Those of the adapter; when it is not there.
    pub async fn get(&self, caller: u64, turn: u64) -> Result<()> {
        let record = self.state.get(&self.key(caller, turn)?).await?;
        record.map(|_| ()).ok_or_else(|| "nothing to read".into())
    }

    /// Reads the last `limit` versions of a key with their data.
    ///
    /// # Errors
    /// Those of the adapter; when there are fewer.
    pub async fn history(&self, caller: u64, turn: u64, limit: usize) -> Result<()> {
        let query = HistoryQuery {
            limit,
            ..HistoryQuery::default()
        };
        let key = self.key(caller, turn)?;
        let versions = self.state.history(&key, query).await?;
        expect(versions.len(), limit)
    }

    /// Where the change log begins.
    ///
    /// # Errors
    /// Those of the adapter.
    pub async fn oldest(&self) -> Result<Cursor> {
        Ok(self.state.oldest().await?)
    }

    /// Reads `limit` changes with their data.
    ///
    /// # Errors
    /// Those of the adapter; when there are fewer.
    pub async fn changes(&self, after: &Cursor, limit: usize) -> Result<()> {
        let page = self.state.changes(after, limit, Duration::ZERO).await?;
        expect(page.changes.len(), limit)
    }

    /// Puts content that was never there before, as it is.
    ///
    /// # Errors
    /// Those of the adapter.
    pub async fn put_content(&self) -> Result<ReferenceId> {
        let content = PutContent {
            compression: Compression::None,
            ..PutContent::new(fresh_content())
        };
        Ok(self.references.put(content).await?.reference.id)
    }

    /// Reads content.
    ///
    /// # Errors
    /// Those of the adapter.
    pub async fn resolve(&self, id: &ReferenceId) -> Result<()> {
        self.references.resolve(id).await?;
        Ok(())
    }

    /// Sends `count` small messages at once.
    ///
    /// # Errors
    /// Those of the adapter.
    pub async fn fill(&self, count: usize) -> Result<()> {
        let payload = Bytes::from_static(&[b'x'; 64]);
        let batch = (0..count).map(|_| self.message(payload.clone())).collect();
        for sent in self.producer.send(batch, Default::default()).await? {
            sent?;
        }
        Ok(())
    }

    fn message(&self, payload: Bytes) -> Message {
        Message::new(self.topic.clone(), Payload::bytes(payload))
    }

    /// Finishes and closes the file.
    ///
    /// # Errors
    /// Those of the adapter.
    pub async fn close(&self) -> Result<()> {
        Ok(self.backend.close().await?)
    }
}

impl Queue for Store {
    type Leased = Delivery;

    async fn send(&self, payload: Bytes) -> Result<()> {
        self.producer.send_one(self.message(payload)).await?;
        Ok(())
    }

    async fn receive(&self, max: usize) -> Result<Vec<Delivery>> {
        let receive = Receive::new(max, WAIT);
        Ok(self.consumer.receive(&self.group, receive).await?)
    }

    async fn ack(&self, leased: Vec<Delivery>) -> Result<()> {
        let acks = leased.iter().map(Delivery::ack).collect();
        for settled in self.consumer.settle(acks).await? {
            settled?;
        }
        Ok(())
    }

    fn payload(leased: &Delivery) -> &[u8] {
        leased.message().bytes()
    }
}

/// A folder on the disk that is measured: below the working directory, since the system's folder
/// for temporary files may be in memory.
pub(crate) fn folder() -> Result<TempDir> {
    Ok(tempfile::Builder::new()
        .prefix(".bench-")
        .tempdir_in(Path::new("."))?)
}

pub(crate) fn expect(found: usize, wanted: usize) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(format!("{found} read, {wanted} expected").into())
}
