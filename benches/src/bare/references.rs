//! Content by its hash, with one holder each.

use std::sync::{Arc, mpsc};

use rusqlite::Connection;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Answer, Call, Reader, answer, writer};
use crate::{Result, fresh_content, store};

const TABLES: &str = "
    CREATE TABLE content (
        entry INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, size INTEGER NOT NULL,
        created_at INTEGER NOT NULL);
    CREATE TABLE holder (
        holder TEXT NOT NULL, id BLOB NOT NULL, entry INTEGER NOT NULL,
        PRIMARY KEY (holder, id)) WITHOUT ROWID;
    CREATE INDEX holder_of ON holder (entry);
    CREATE TABLE chunk (entry INTEGER PRIMARY KEY, data BLOB NOT NULL);";

struct Put {
    id: [u8; 32],
    content: Vec<u8>,
    reply: oneshot::Sender<()>,
}

impl Call for Put {
    fn run(self, connection: &Connection) -> rusqlite::Result<Answer> {
        let size = self.content.len() as i64;
        let entry = connection
            .prepare_cached("INSERT INTO content (id, size, created_at) VALUES (?1, ?2, 0)")?
            .insert((self.id, size))?;
        let holder = Uuid::now_v7().to_string();
        connection
            .prepare_cached("INSERT INTO holder (holder, id, entry) VALUES (?1, ?2, ?3)")?
            .execute((holder, self.id, entry))?;
        connection
            .prepare_cached("INSERT INTO chunk (entry, data) VALUES (?1, ?2)")?
            .execute((entry, self.content))?;
        Ok(answer(self.reply, ()))
    }
}

/// Content in a file of its own.
#[derive(Clone, Debug)]
pub struct BareReferences {
    puts: mpsc::Sender<Put>,
    reader: Reader,
    _directory: Arc<TempDir>,
}

impl BareReferences {
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
            _directory: directory,
        })
    }

    /// Puts content that was never there before.
    ///
    /// # Errors
    /// When the writer has ended.
    pub async fn put(&self) -> Result<[u8; 32]> {
        let content = fresh_content();
        let id: [u8; 32] = Sha256::digest(&content).into();
        let (reply, done) = oneshot::channel();
        self.puts.send(Put { id, content, reply })?;
        done.await?;
        Ok(id)
    }

    /// Reads content and checks its hash.
    ///
    /// # Errors
    /// Those of SQLite; when it is another content.
    pub async fn resolve(&self, id: [u8; 32]) -> Result<()> {
        let content: Vec<u8> = self
            .reader
            .read(move |connection| {
                connection
                    .prepare_cached(
                        "SELECT k.data FROM content c JOIN chunk k ON k.entry = c.entry
                         WHERE c.id = ?1",
                    )?
                    .query_row((id,), |row| row.get(0))
            })
            .await?;
        if <[u8; 32]>::from(Sha256::digest(&content)) == id {
            return Ok(());
        }
        Err("another content than was put".into())
    }
}
