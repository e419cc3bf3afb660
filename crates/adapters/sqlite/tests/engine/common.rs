//! A file for each test, and jobs to run on it.

use std::path::PathBuf;

use statehouse_sqlite::engine::{Counter, Engine, EngineError, EngineOptions, Schema, Tx};
use tempfile::TempDir;

pub(crate) const SCHEMA: Schema = Schema {
    application_id: 77,
    steps: &[&["CREATE TABLE item (id INTEGER PRIMARY KEY, data BLOB)"]],
};
pub(crate) const COUNT: Counter = Counter::new(1, 7);

/// A directory with a database file to be.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("test.db")
    }

    pub(crate) async fn open(&self) -> Engine {
        self.try_open(EngineOptions::default(), SCHEMA)
            .await
            .unwrap()
    }

    pub(crate) async fn try_open(
        &self,
        options: EngineOptions,
        schema: Schema,
    ) -> Result<Engine, EngineError> {
        Engine::open(self.path(), options, schema).await
    }
}

pub(crate) fn insert(tx: &Tx<'_>, id: i64) -> Result<i64, EngineError> {
    tx.prepare_cached("INSERT INTO item (id) VALUES (?1)")?
        .execute([id])?;
    tx.add(COUNT, 1);
    Ok(id)
}

pub(crate) async fn ids(engine: &Engine) -> Vec<i64> {
    engine
        .read(|connection| {
            let mut select = connection.prepare_cached("SELECT id FROM item ORDER BY id")?;
            let ids = select
                .query_map((), |row| row.get(0))?
                .collect::<Result<Vec<_>, _>>();
            Ok::<_, EngineError>(ids?)
        })
        .await
        .unwrap()
}

pub(crate) async fn count(engine: &Engine) -> i64 {
    engine
        .read(|connection| Ok::<_, EngineError>(COUNT.read(connection)?))
        .await
        .unwrap()
}

pub(crate) fn refused() -> EngineError {
    EngineError::Sqlite {
        code: 1,
        message: "refused".to_owned(),
    }
}

/// Holds the writer inside a job until the returned sender is dropped, so that what is submitted
/// meanwhile becomes one group.
pub(crate) fn hold(engine: &Engine) -> std::sync::mpsc::Sender<()> {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (entered, inside) = std::sync::mpsc::channel();
    engine
        .submit(move |_| {
            let _ = entered.send(());
            let _ = released.recv();
            Ok::<_, EngineError>(())
        })
        .unwrap();
    inside.recv().unwrap();
    release
}
