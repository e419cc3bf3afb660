//! Redis streams that sync every write, as a queue beside ours.

mod client;
mod server;
mod value;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;

use self::client::Client;
pub use self::server::Server;
use crate::{
    Result,
    queue::{Queue, WAIT},
};
use value::Value;

/// Connections that producers share. Each carries many commands at a time.
pub(crate) const CONNECTIONS: usize = 4;

/// An entry of the stream in a consumer's hands.
#[derive(Debug)]
pub struct Entry {
    id: Vec<u8>,
    payload: Vec<u8>,
}

/// A stream with a consumer group, on a server of its own.
#[derive(Clone, Debug)]
pub struct Streams {
    producers: Arc<[Client]>,
    turn: Arc<AtomicU64>,
    consumer: Client,
    name: String,
    server: Arc<Server>,
}

impl Streams {
    /// Starts a server with `appendfsync always`; `None` where `redis-server` is not installed.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn open() -> Result<Option<Self>> {
        let Some(server) = Server::start().await? else {
            return Ok(None);
        };
        let mut producers = Vec::new();
        for _ in 0..CONNECTIONS {
            producers.push(server.connect().await?);
        }
        let consumer = server.connect().await?;
        consumer
            .call(&[b"XGROUP", b"CREATE", b"s", b"g", b"$", b"MKSTREAM"])
            .await?;
        Ok(Some(Self {
            producers: producers.into(),
            turn: Arc::default(),
            consumer,
            name: "c0".to_owned(),
            server: Arc::new(server),
        }))
    }

    /// What the server says that it is.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn version(&self) -> Result<String> {
        let info = self.consumer.call(&[b"INFO", b"server"]).await?;
        let text = String::from_utf8(info.into_bytes()?)?;
        let version = text
            .lines()
            .find_map(|line| line.strip_prefix("redis_version:"));
        Ok(version.unwrap_or("of unknown version").to_owned())
    }

    /// Drops the entries that were acknowledged, so that memory does not grow with the rounds.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn trim(&self) -> Result<()> {
        self.consumer
            .call(&[b"XTRIM", b"s", b"MAXLEN", b"0"])
            .await?;
        Ok(())
    }
}

impl Queue for Streams {
    type Leased = Entry;

    async fn send(&self, payload: Bytes) -> Result<()> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
        let producer = &self.producers[turn % self.producers.len()];
        producer
            .call(&[b"XADD", b"s", b"*", b"p", &payload])
            .await?;
        Ok(())
    }

    async fn receive(&self, max: usize) -> Result<Vec<Entry>> {
        let (max, wait) = (max.to_string(), WAIT.as_millis().to_string());
        let reply = self
            .consumer
            .call(&[
                b"XREADGROUP",
                b"GROUP",
                b"g",
                self.name.as_bytes(),
                b"COUNT",
                max.as_bytes(),
                b"BLOCK",
                wait.as_bytes(),
                b"STREAMS",
                b"s",
                b">",
            ])
            .await?;
        entries(reply)
    }

    async fn ack(&self, leased: Vec<Entry>) -> Result<()> {
        let mut words: Vec<&[u8]> = vec![b"XACK", b"s", b"g"];
        words.extend(leased.iter().map(|entry| &entry.id[..]));
        self.consumer.call(&words).await?;
        Ok(())
    }

    fn payload(leased: &Entry) -> &[u8] {
        &leased.payload
    }

    async fn consumer(&self) -> Result<Self> {
        let number = self.turn.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            consumer: self.server.connect().await?,
            name: format!("c{number}"),
            ..self.clone()
        })
    }
}

/// `[[stream, [[id, [field, payload]], …]]]`, or nothing when the wait was over.
fn entries(reply: Value) -> Result<Vec<Entry>> {
    let Some(stream) = reply.into_items()?.pop() else {
        return Ok(Vec::new());
    };
    let list = stream
        .into_items()?
        .pop()
        .ok_or("a stream without entries")?;
    list.into_items()?
        .into_iter()
        .map(|entry| {
            let mut parts = entry.into_items()?;
            let fields = parts.pop().ok_or("an entry without fields")?;
            let id = parts.pop().ok_or("an entry without an id")?.into_bytes()?;
            let payload = fields
                .into_items()?
                .pop()
                .ok_or("an entry without a payload")?;
            let payload = payload.into_bytes()?;
            Ok(Entry { id, payload })
        })
        .collect()
}
