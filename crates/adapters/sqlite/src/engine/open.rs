//! Opening a file: telling what is wrong with it, setting it up, and bringing its schema up to
//! date.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, config::DbConfig};

use super::{
    EngineError, EngineOptions, Schema,
    busy::{self, Patience},
    transaction::COUNTERS_SQL,
};

/// Statements each connection keeps prepared.
const STATEMENTS: usize = 256;

/// The one name of the file, whichever way it was spelled. The file need not exist, its
/// directory must.
pub(super) fn canonical(path: &Path) -> Result<PathBuf, EngineError> {
    match fs::canonicalize(path) {
        Ok(path) if path.is_file() => return Ok(path),
        Ok(path) => return Err(EngineError::NotAFile(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(cannot_open(path, &error)),
    }
    let name = path
        .file_name()
        .ok_or_else(|| EngineError::NotAFile(path.to_owned()))?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match fs::canonicalize(directory) {
        Ok(directory) if directory.is_dir() => Ok(directory.join(name)),
        Ok(_) => Err(EngineError::MissingDirectory(directory.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(EngineError::MissingDirectory(directory.to_owned()))
        }
        Err(error) => Err(cannot_open(directory, &error)),
    }
}

fn cannot_open(path: &Path, error: &io::Error) -> EngineError {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return EngineError::ReadOnly(path.to_owned());
    }
    EngineError::CannotOpen {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// Opens the writer's connection, and brings the file up to the schema.
pub(super) fn writer(
    path: &Path,
    options: &EngineOptions,
    schema: Schema,
) -> Result<Connection, EngineError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if let Some(log_bytes) = not_closed(path) {
        tracing::info!(
            file = %path.display(),
            log_bytes,
            "the file was not closed when it was last used, or is open elsewhere; what was \
             committed is in its log and read from there"
        );
    }
    let mut connection =
        Connection::open_with_flags(path, flags).map_err(|error| at_open(path, error))?;
    prepare_once(&connection)?;
    Patience::install(&mut connection, options.busy_timeout)?;
    identify(&mut connection, path, options, schema).map_err(|failure| match failure {
        Failure::Ours(error) => error,
        Failure::Sqlite(error) => at_open(path, error),
    })?;
    Ok(connection)
}

/// How large the log beside the file is, if there is one: who closes the file last takes it away.
fn not_closed(path: &Path) -> Option<u64> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let bytes = fs::metadata(log).ok()?.len();
    (bytes > 0).then_some(bytes)
}

/// Keeps prepared statements, and keeps their plans whatever is bound to them: else SQLite may
/// prepare one again for each new bound value, to ask its statistics.
fn prepare_once(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Opens a connection that can only read.
pub(super) fn reader(path: &Path, options: &EngineOptions) -> Result<Connection, EngineError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection =
        Connection::open_with_flags(path, flags).map_err(|error| at_open(path, error))?;
    prepare_once(&connection)?;
    Patience::install(&mut connection, options.busy_timeout)?;
    connection.pragma_update(None, "cache_size", -options.reader_cache_kib)?;
    Ok(connection)
}

/// Opens the connection that moves the log into the database, beside the writer.
pub(super) fn checkpointer(path: &Path, synchronous: &str) -> Result<Connection, EngineError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|error| at_open(path, error))?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(connection)
}

/// An error on the way: one of ours, or one of SQLite that still needs the path.
enum Failure {
    Ours(EngineError),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// What the header says about the file.
struct Header {
    application_id: i32,
    version: i32,
    tables: i64,
}

impl Header {
    fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get(0));
        Ok(Self {
            application_id: pragma("application_id")?,
            version: pragma("user_version")?,
            tables: connection
                .query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?,
        })
    }

    fn is_new(&self) -> bool {
        self.application_id == 0 && self.version == 0 && self.tables == 0
    }

    fn check(&self, path: &Path, schema: Schema) -> Result<(), EngineError> {
        let path = path.to_owned();
        if !self.is_new() && self.application_id != schema.application_id {
            return Err(EngineError::Foreign {
                path,
                application_id: self.application_id,
            });
        }
        let supported = schema.version();
        if self.version > supported {
            return Err(EngineError::NewerSchema {
                path,
                found: self.version,
                supported,
            });
        }
        Ok(())
    }
}

fn identify(
    connection: &mut Connection,
    path: &Path,
    options: &EngineOptions,
    schema: Schema,
) -> Result<(), Failure> {
    let header = Header::read(connection)?;
    header.check(path, schema).map_err(Failure::Ours)?;
    if connection.is_readonly("main")? {
        return Err(Failure::Ours(EngineError::ReadOnly(path.to_owned())));
    }
    if header.is_new() {
        connection.pragma_update(None, "page_size", options.page_size)?;
    }
    use_wal(connection, path, options)?;
    connection.pragma_update(None, "synchronous", options.synchronous.pragma())?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cache_size", -options.writer_cache_kib)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    if header.version < schema.version() {
        migrate(connection, path, schema)?;
    }
    Ok(())
}

/// Switches to the write-ahead log. Two processes that create a file at once collide here
/// without SQLite calling the busy handler.
fn use_wal(connection: &Connection, path: &Path, options: &EngineOptions) -> Result<(), Failure> {
    let begun = Instant::now();
    let mode: String = loop {
        match connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)) {
            Err(error) if is_busy(&error) && begun.elapsed() < options.busy_timeout => {
                busy::pause()
            }
            other => break other?,
        }
    };
    if mode == "wal" {
        return Ok(());
    }
    Err(Failure::Ours(EngineError::CannotOpen {
        path: path.to_owned(),
        reason: format!(
            "its file system does not support a write-ahead log (journal mode stays {mode})"
        ),
    }))
}

/// Runs the missing steps in one transaction. The version is read again inside, because another
/// process may have come first.
fn migrate(connection: &mut Connection, path: &Path, schema: Schema) -> Result<(), Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let header = Header::read(&transaction)?;
    header.check(path, schema).map_err(Failure::Ours)?;
    transaction.execute_batch(COUNTERS_SQL)?;
    for scripts in schema.steps_after(header.version) {
        for script in *scripts {
            transaction.execute_batch(script)?;
        }
    }
    transaction.pragma_update(None, "application_id", schema.application_id)?;
    transaction.pragma_update(None, "user_version", schema.version())?;
    transaction.commit()?;
    Ok(())
}

pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// An error of SQLite while opening, told with the path.
fn at_open(path: &Path, error: rusqlite::Error) -> EngineError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => EngineError::NotADatabase(path),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => EngineError::ReadOnly(path),
        Some(ErrorCode::CannotOpen) => why_not(&path),
        _ => error.into(),
    }
}

/// Asks the operating system what SQLite does not say. Only after a failure: closing a file gives
/// up all locks that this process holds on it.
fn why_not(path: &Path) -> EngineError {
    let mut options = fs::OpenOptions::new();
    match options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
    {
        Err(error) => cannot_open(path, &error),
        Ok(_) => EngineError::CannotOpen {
            path: path.to_owned(),
            reason: "SQLite cannot create its log beside it".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_was_not_closed_has_a_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.db");
        assert_eq!(not_closed(&path), None);
        let connection = Connection::open(&path).unwrap();
        let script = "PRAGMA journal_mode = wal; CREATE TABLE t (a);";
        connection.execute_batch(script).unwrap();
        assert!(not_closed(&path).is_some());
        drop(connection);
        assert_eq!(not_closed(&path), None);
    }
}
