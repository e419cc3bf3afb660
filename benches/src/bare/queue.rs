//! A durable queue with leases, its bodies apart from its states.

use std::sync::{Arc, mpsc};

use bytes::Bytes;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use super::{Answer, Call, answer, writer};
use crate::{
    Result,
    queue::{Queue, WAIT},
    store,
};

const TABLES: &str = "
    CREATE TABLE message (
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, id BLOB NOT NULL, payload BLOB NOT NULL);
    CREATE TABLE ready (
        grp INTEGER NOT NULL, rank INTEGER NOT NULL, due INTEGER NOT NULL, seq INTEGER NOT NULL,
        attempts INTEGER NOT NULL, PRIMARY KEY (grp, rank, due, seq)) WITHOUT ROWID;
    CREATE TABLE leased (
        grp INTEGER NOT NULL, deadline INTEGER NOT NULL, seq INTEGER NOT NULL,
        attempts INTEGER NOT NULL, PRIMARY KEY (grp, deadline, seq)) WITHOUT ROWID;
    CREATE TABLE accepted (id BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;";
const REMEMBER: &str = "INSERT INTO accepted (id, at) VALUES (?1, 0)";
const STORE: &str = "INSERT INTO message (at, id, payload) VALUES (0, ?1, ?2)";
const READY: &str = "INSERT INTO ready (grp, rank, due, seq, attempts) VALUES (1, 7, ?1, ?1, 0)";
const LOOK: &str = "SELECT r.seq, m.id, m.payload FROM ready r JOIN message m ON m.seq = r.seq
    WHERE r.grp = 1 ORDER BY r.rank, r.due, r.seq LIMIT ?1";
const UNREADY: &str = "DELETE FROM ready WHERE grp = 1 AND rank = 7 AND due = ?1 AND seq = ?1";
const LEASE: &str = "INSERT INTO leased (grp, deadline, seq, attempts) VALUES (1, 0, ?1, 1)";
const UNLEASE: &str = "DELETE FROM leased WHERE grp = 1 AND deadline = 0 AND seq = ?1";
const REMOVE: &str = "DELETE FROM message WHERE seq = ?1";

/// Whether the queue remembers the ids it has accepted, as one must that takes a repeated send
/// once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// It does.
    Remembered,
    /// It does not: a repeated send is a second message.
    Forgotten,
}

/// A message in a consumer's hands.
#[derive(Debug)]
pub struct Message {
    seq: i64,
    payload: Vec<u8>,
}

enum Request {
    Send(Bytes, Ids, oneshot::Sender<()>),
    Receive(usize, oneshot::Sender<Vec<Message>>),
    Ack(Vec<Message>, oneshot::Sender<()>),
}

/// A request, and what tells waiting consumers that something was sent.
struct Order {
    request: Request,
    sent: Arc<Notify>,
}

impl Call for Order {
    fn run(self, connection: &Connection) -> rusqlite::Result<Answer> {
        match self.request {
            Request::Send(payload, ids, reply) => {
                send(connection, &payload, ids)?;
                let sent = self.sent;
                Ok(Box::new(move || {
                    // A caller that is gone needs no answer.
                    let _ = reply.send(());
                    sent.notify_waiters();
                }))
            }
            Request::Receive(max, reply) => Ok(answer(reply, receive(connection, max)?)),
            Request::Ack(messages, reply) => {
                for message in &messages {
                    execute(connection, UNLEASE, message.seq)?;
                    execute(connection, REMOVE, message.seq)?;
                }
                Ok(answer(reply, ()))
            }
        }
    }
}

fn execute(connection: &Connection, sql: &str, seq: i64) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute((seq,)).map(|_| ())
}

fn send(connection: &Connection, payload: &[u8], ids: Ids) -> rusqlite::Result<()> {
    let id = *Uuid::now_v7().as_bytes();
    if ids == Ids::Remembered {
        connection.prepare_cached(REMEMBER)?.execute((id,))?;
    }
    let seq = connection.prepare_cached(STORE)?.insert((id, payload))?;
    execute(connection, READY, seq)
}

fn receive(connection: &Connection, max: usize) -> rusqlite::Result<Vec<Message>> {
    let messages: Vec<Message> = connection
        .prepare_cached(LOOK)?
        .query_map((max as i64,), |row| {
            Ok(Message {
                seq: row.get(0)?,
                payload: row.get(2)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    for message in &messages {
        execute(connection, UNREADY, message.seq)?;
        execute(connection, LEASE, message.seq)?;
    }
    Ok(messages)
}

/// A queue in a file of its own.
#[derive(Clone, Debug)]
pub struct BareQueue {
    orders: mpsc::Sender<Order>,
    sent: Arc<Notify>,
    ids: Ids,
    _directory: Arc<TempDir>,
}

impl BareQueue {
    /// Opens a new file.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn open(ids: Ids) -> Result<Self> {
        let directory = Arc::new(store::folder()?);
        Ok(Self {
            orders: writer(&directory.path().join("bare.db"), TABLES)?,
            sent: Arc::default(),
            ids,
            _directory: directory,
        })
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(Order {
            request: request(reply),
            sent: Arc::clone(&self.sent),
        })?;
        Ok(answer.await?)
    }
}

impl Queue for BareQueue {
    type Leased = Message;

    async fn send(&self, payload: Bytes) -> Result<()> {
        self.ask(|reply| Request::Send(payload, self.ids, reply))
            .await
    }

    async fn receive(&self, max: usize) -> Result<Vec<Message>> {
        let sent = self.sent.notified();
        let messages = self.ask(|reply| Request::Receive(max, reply)).await?;
        if !messages.is_empty() || tokio::time::timeout(WAIT, sent).await.is_err() {
            return Ok(messages);
        }
        self.ask(|reply| Request::Receive(max, reply)).await
    }

    async fn ack(&self, leased: Vec<Message>) -> Result<()> {
        self.ask(|reply| Request::Ack(leased, reply)).await
    }

    fn payload(leased: &Message) -> &[u8] {
        &leased.payload
    }
}
