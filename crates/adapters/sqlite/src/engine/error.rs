//! What can go wrong in the engine, sorted by what an operator or a caller can do about it.

use std::{error::Error, fmt, path::PathBuf, time::Duration};

use rusqlite::{ErrorCode, ffi};

/// An error of the engine. It is cheap to clone, because one failed commit answers every job of
/// its group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineError {
    /// The handle was closed before or while the operation waited.
    Closed,
    /// Another process held the write lock for longer than the busy timeout.
    Busy {
        /// How long this operation waited for the lock.
        waited: Duration,
    },
    /// The disk, or the quota on it, is full. Nothing of the operation was written; the engine
    /// goes on and later writes succeed when there is room again.
    Full,
    /// The directory that should hold the file does not exist.
    MissingDirectory(PathBuf),
    /// The path names something that is no regular file.
    NotAFile(PathBuf),
    /// The file or its directory cannot be written by this process.
    ReadOnly(PathBuf),
    /// The operating system refused to open the file, for the reason given.
    CannotOpen {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// The file is no SQLite database.
    NotADatabase(PathBuf),
    /// The file is a SQLite database of another application.
    Foreign {
        /// The file.
        path: PathBuf,
        /// The application id its header carries; 0 is "none".
        application_id: i32,
    },
    /// The file was written by a newer version of this software.
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The schema version in the file.
        found: i32,
        /// The newest schema version this build knows.
        supported: i32,
    },
    /// The file is already open in this process with other options.
    OptionsDiffer {
        /// The file.
        path: PathBuf,
        /// Which option differs, and how.
        what: String,
    },
    /// The database is damaged.
    Corrupt(String),
    /// Reading or writing the file failed.
    Io {
        /// What SQLite said.
        message: String,
        /// Whether the write may have reached the disk all the same: true when the sync of a
        /// commit failed.
        ambiguous: bool,
    },
    /// A job or a read panicked; the text is the panic's message. Nothing of it was written.
    Panicked(String),
    /// A job went on after an error that had ended its transaction. Nothing of it was written.
    TransactionEnded,
    /// Any other answer of SQLite: a statement that is wrong, a broken constraint.
    Sqlite {
        /// SQLite's extended result code.
        code: i32,
        /// What SQLite said.
        message: String,
    },
}

impl EngineError {
    /// Whether the failed operation may have been applied.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        matches!(
            self,
            Self::Io {
                ambiguous: true,
                ..
            }
        )
    }

    /// The same error, for a failed COMMIT: whether a commit whose sync failed survives a crash
    /// is not known.
    pub(super) fn at_commit(self) -> Self {
        match self {
            Self::Io { message, .. } => Self::Io {
                message,
                ambiguous: true,
            },
            other => other,
        }
    }

    /// Whether the storage refuses all writes, so that trying the next job is of little use.
    pub(super) fn is_storage_failure(&self) -> bool {
        matches!(self, Self::Full | Self::Io { .. } | Self::Corrupt(_))
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the database was closed"),
            Self::Busy { waited } => write!(
                f,
                "another process held the database's write lock for {} ms",
                waited.as_millis()
            ),
            Self::Full => f.write_str("the disk is full: nothing was written"),
            Self::MissingDirectory(path) => {
                write!(
                    f,
                    "the directory {} does not exist; create it first",
                    path.display()
                )
            }
            Self::NotAFile(path) => {
                write!(
                    f,
                    "{} is not a regular file; name a database file",
                    path.display()
                )
            }
            Self::ReadOnly(path) => write!(
                f,
                "{} cannot be written; the file and its directory must be writable",
                path.display()
            ),
            Self::CannotOpen { path, reason } => {
                write!(f, "cannot open {}: {reason}", path.display())
            }
            Self::NotADatabase(path) => {
                write!(f, "{} is not a SQLite database", path.display())
            }
            Self::Foreign {
                path,
                application_id,
            } => write!(
                f,
                "{} is a SQLite database of another application (application id {application_id})",
                path.display()
            ),
            Self::NewerSchema {
                path,
                found,
                supported,
            } => write!(
                f,
                "{} has schema version {found}, this build knows up to {supported}; \
                 use a newer version",
                path.display()
            ),
            Self::OptionsDiffer { path, what } => {
                write!(
                    f,
                    "{} is already open in this process with {what}",
                    path.display()
                )
            }
            Self::Corrupt(message) => write!(f, "the database is damaged: {message}"),
            Self::Io { message, .. } => write!(f, "the database file failed: {message}"),
            Self::Panicked(message) => write!(f, "the operation panicked: {message}"),
            Self::TransactionEnded => {
                f.write_str("the operation went on after an error that ended its transaction")
            }
            Self::Sqlite { code, message } => write!(f, "SQLite error {code}: {message}"),
        }
    }
}

impl Error for EngineError {}

impl From<rusqlite::Error> for EngineError {
    fn from(error: rusqlite::Error) -> Self {
        let message = error.to_string();
        let Some(failure) = error.sqlite_error() else {
            return Self::Sqlite {
                code: ffi::SQLITE_ERROR,
                message,
            };
        };
        match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy {
                waited: Duration::ZERO,
            },
            ErrorCode::DiskFull => Self::Full,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Corrupt(message),
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::FileLockingProtocolFailed => Self::Io {
                message,
                ambiguous: false,
            },
            _ => Self::Sqlite {
                code: failure.extended_code,
                message,
            },
        }
    }
}
