//! Versioned values: a row per key, and a row per version that is also the change log.

use std::{
    path::Path,
    sync::{Arc, mpsc},
};

use rusqlite::{Connection, OptionalExtension};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::{Answer, Call, Reader, answer, writer};
use crate::{Result, VALUE, name, store};

const TABLES: &str = "
    CREATE TABLE key (
        key INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
        pos INTEGER NOT NULL, created_at INTEGER NOT NULL, created_by INTEGER NOT NULL);
    CREATE UNIQUE INDEX key_by_name ON key (kind, id);
    CREATE TABLE version (
        pos INTEGER PRIMARY KEY, key INTEGER NOT NULL, version INTEGER NOT NULL,
        at INTEGER NOT NULL, by INTEGER NOT NULL, size INTEGER NOT NULL,
        content_type TEXT NOT NULL, data BLOB NOT NULL);
    CREATE UNIQUE INDEX version_by_key ON version (key, version);";
const FIND: &str = "SELECT key, version FROM key WHERE kind = 'agent' AND id = ?1";
const INSERT_KEY: &str = "INSERT INTO key (kind, id, version, pos, created_at, created_by)
    VALUES ('agent', ?1, 1, 0, 0, 1)";
const UPDATE_KEY: &str = "UPDATE key SET version = ?2, pos = ?3 WHERE key = ?1";
const INSERT_VERSION: &str = "INSERT INTO version (key, version, at, by, size, content_type, data)
    VALUES (?1, ?2, 0, 1, ?3, 'application/octet-stream', ?4)";
const GET: &str = "SELECT v.version, v.content_type, v.data
    FROM key k JOIN version v ON v.pos = k.pos WHERE k.kind = 'agent' AND k.id = ?1";
const HISTORY: &str = "SELECT v.version, v.content_type, v.data
    FROM key k JOIN version v ON v.key = k.key WHERE k.kind = 'agent' AND k.id = ?1
    ORDER BY v.version DESC LIMIT ?2";
const CHANGES: &str = "SELECT v.version, v.content_type, v.data, v.pos, k.kind, k.id
    FROM version v JOIN key k ON k.key = v.key WHERE v.pos > ?1 ORDER BY v.pos LIMIT ?2";

struct Put {
    id: String,
    data: Arc<[u8]>,
    reply: oneshot::Sender<i64>,
}

impl Call for Put {
    fn run(self, connection: &Connection) -> rusqlite::Result<Answer> {
        let known: Option<(i64, i64)> = connection
            .prepare_cached(FIND)?
            .query_row((&self.id,), |row| row.try_into())
            .optional()?;
        let (key, version) = match known {
            Some((key, version)) => (key, version + 1),
            None => (
                connection.prepare_cached(INSERT_KEY)?.insert((&self.id,))?,
                1,
            ),
        };
        let size = self.data.len() as i64;
        let position = connection.prepare_cached(INSERT_VERSION)?.insert((
            key,
            version,
            size,
            &self.data[..],
        ))?;
        connection
            .prepare_cached(UPDATE_KEY)?
            .execute((key, version, position))?;
        Ok(answer(self.reply, version))
    }
}

/// A version as it is read.
type Version = (i64, String, Vec<u8>);

/// Versioned values in a file of their own.
#[derive(Clone, Debug)]
pub struct BareState {
    puts: mpsc::Sender<Put>,
    reader: Reader,
    data: Arc<[u8]>,
    directory: Arc<TempDir>,
}

impl BareState {
    /// Opens a new file.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn open() -> Result<Self> {
        let directory = Arc::new(store::folder()?);
        let path = directory.path().join("bare.db");
        Ok(Self {
            puts: writer(&path, TABLES)?,
            reader: Reader::open(&path)?,
            data: vec![b'x'; VALUE].into(),
            directory,
        })
    }

    /// A connection for reads that need no thread of their own.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn connection(&self) -> Result<Connection> {
        Ok(Connection::open(self.path())?)
    }

    fn path(&self) -> impl AsRef<Path> + use<> {
        self.directory.path().join("bare.db")
    }

    /// Puts one value.
    ///
    /// # Errors
    /// When the writer has ended.
    pub async fn put(&self, caller: u64, turn: u64) -> Result<()> {
        let (reply, version) = oneshot::channel();
        let (id, data) = (name(caller, turn), Arc::clone(&self.data));
        self.puts.send(Put { id, data, reply })?;
        version.await?;
        Ok(())
    }

    /// Reads the latest version of a key.
    ///
    /// # Errors
    /// Those of SQLite.
    pub async fn get(&self, caller: u64, turn: u64) -> Result<()> {
        let id = name(caller, turn);
        self.reader
            .read(move |connection| get(connection, &id))
            .await?;
        Ok(())
    }

    /// Reads the latest version of a key on the caller's own thread.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn get_in_place(connection: &Connection, caller: u64, turn: u64) -> Result<()> {
        get(connection, &name(caller, turn))?;
        Ok(())
    }

    /// Reads the last `limit` versions of a key.
    ///
    /// # Errors
    /// Those of SQLite; when there are fewer.
    pub async fn history(&self, caller: u64, turn: u64, limit: usize) -> Result<()> {
        let id = name(caller, turn);
        let versions: Vec<Version> = self
            .reader
            .read(move |connection| {
                let mut select = connection.prepare_cached(HISTORY)?;
                select
                    .query_map((id, limit as i64), |row| row.try_into())?
                    .collect()
            })
            .await?;
        store::expect(versions.len(), limit)
    }

    /// Reads the first `limit` changes.
    ///
    /// # Errors
    /// Those of SQLite; when there are fewer.
    pub async fn changes(&self, limit: usize) -> Result<()> {
        type Change = (i64, String, Vec<u8>, i64, String, String);
        let changes: Vec<Change> = self
            .reader
            .read(move |connection| {
                let mut select = connection.prepare_cached(CHANGES)?;
                select
                    .query_map((0, limit as i64), |row| row.try_into())?
                    .collect()
            })
            .await?;
        store::expect(changes.len(), limit)
    }
}

fn get(connection: &Connection, id: &str) -> rusqlite::Result<Version> {
    connection
        .prepare_cached(GET)?
        .query_row((id,), |row| row.try_into())
}
