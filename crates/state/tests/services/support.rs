//! What the tests of the services share: stores in a folder of their own, and a producer that can
//! be told to fail.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use statehouse_contracts::{
    Backend, ContentType, Endpoint, Error, ErrorKind, Factory, Message, MessageId, Producer,
    ProducerCapability, Result, Scope, SendOptions, Sent, StateKey, StateManager, Write,
};
use statehouse_layers::{Call, Layer};
use statehouse_sqlite::SqliteFactory;
use tempfile::TempDir;

/// A backend on a file of its own.
pub(crate) struct Store {
    pub(crate) backend: Arc<dyn Backend>,
    _folder: Option<TempDir>,
}

impl Store {
    pub(crate) async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!(
            "sqlite:{}?synchronous=normal",
            folder.path().join("test.db").display()
        );
        let backend = SqliteFactory
            .open(&Endpoint::parse(&url).unwrap())
            .await
            .unwrap();
        Self {
            backend: statehouse_layers::guard(backend),
            _folder: Some(folder),
        }
    }

    /// A backend in memory.
    pub(crate) async fn memory() -> Self {
        let endpoint = Endpoint::parse("memory:").unwrap();
        let backend = statehouse_memory::Memory.open(&endpoint).await.unwrap();
        Self {
            backend: statehouse_layers::guard(backend),
            _folder: None,
        }
    }

    pub(crate) async fn state(&self) -> Arc<dyn StateManager> {
        self.backend.state(&scope()).await.unwrap()
    }
}

pub(crate) fn scope() -> Scope {
    Scope::parse("default", "tester").unwrap()
}

pub(crate) fn key(id: &str) -> StateKey {
    StateKey::parse("task", id).unwrap()
}

pub(crate) fn put(id: &str, text: &str) -> Write {
    Write::put(key(id), text.to_owned(), ContentType::TEXT)
}

/// Waits until `check` answers something, at most 20 s.
pub(crate) async fn eventually<T, F, Fut>(what: &str, mut check: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        // sleep: the interval of a poll with a deadline.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Counts the calls to a backend's handles.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls(Arc<AtomicUsize>);

impl Calls {
    pub(crate) fn number(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Layer for Calls {
    async fn call<T, F, Fut>(&self, _: &Call, mut run: F) -> Result<T>
    where
        T: Send,
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send,
    {
        self.0.fetch_add(1, Ordering::SeqCst);
        run().await
    }
}

/// A producer that fails messages of chosen ordering keys, and records what it accepted.
#[derive(Debug)]
pub(crate) struct Moody {
    inner: Arc<dyn Producer>,
    moods: Mutex<HashMap<String, ErrorKind>>,
    pub(crate) accepted: Mutex<Vec<Message>>,
}

impl Moody {
    pub(crate) fn new(inner: Arc<dyn Producer>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            moods: Mutex::default(),
            accepted: Mutex::default(),
        })
    }

    /// From now on messages of `ordering_key` fail so; `None`: no more.
    pub(crate) fn set(&self, ordering_key: &str, mood: Option<ErrorKind>) {
        let mut moods = self.moods.lock();
        match mood {
            Some(kind) => moods.insert(ordering_key.to_owned(), kind),
            None => moods.remove(ordering_key),
        };
    }

    /// The payloads accepted with `ordering_key`, each message once, in the order of acceptance.
    pub(crate) fn texts(&self, ordering_key: &str) -> Vec<String> {
        let accepted = self.accepted.lock();
        let mut seen: Vec<MessageId> = Vec::new();
        let mut texts = Vec::new();
        for message in accepted
            .iter()
            .filter(|m| m.ordering_key.as_deref() == Some(ordering_key))
        {
            if !seen.contains(&message.id) {
                seen.push(message.id);
                texts.push(String::from_utf8(message.bytes().to_vec()).unwrap());
            }
        }
        texts
    }

    fn mood(&self, message: &Message) -> Option<Error> {
        let kind = *self.moods.lock().get(message.ordering_key.as_ref()?)?;
        Some(Error::new(kind, "in no mood"))
    }
}

#[async_trait]
impl Producer for Moody {
    fn capability(&self) -> ProducerCapability {
        self.inner.capability()
    }

    async fn send(&self, batch: Vec<Message>, options: SendOptions) -> Result<Vec<Result<Sent>>> {
        let mut answers = Vec::new();
        for message in batch {
            if let Some(error) = self.mood(&message) {
                answers.push(Err(error));
                continue;
            }
            let sent = self
                .inner
                .send(vec![message.clone()], options)
                .await?
                .pop()
                .unwrap();
            if sent.is_ok() {
                self.accepted.lock().push(message);
            }
            answers.push(sent);
        }
        Ok(answers)
    }

    async fn cancel(&self, id: MessageId) -> Result<bool> {
        self.inner.cancel(id).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
