//! From SQLite's and the engine's errors to the contracts' error.

use statehouse_contracts::{Error, ErrorKind, Retry};

use crate::engine::EngineError;

/// Why a job or a read failed: the contract refuses it, or the database does. It is the error
/// type of closures handed to the engine, where `?` takes any of the three.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The operation is refused by its contract: a conflict, a lost lease.
    Refused(Error),
    /// The engine or SQLite failed.
    Engine(EngineError),
}

impl Failure {
    /// The contracts' error of the operation.
    pub(crate) fn of(self, operation: &'static str) -> Error {
        match self {
            Self::Refused(error) => error.with_operation(operation),
            Self::Engine(error) => map(operation, error),
        }
    }
}

/// For what is done for several jobs at once.
impl From<Failure> for EngineError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Engine(error) => error,
            // No caller asked for it, so what it met is wrong in the file.
            Failure::Refused(error) => Self::Corrupt(error.message().to_owned()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error.into())
    }
}

/// The contracts' error of a failed operation.
pub(crate) fn map(operation: &'static str, native: EngineError) -> Error {
    let error = Error::new(kind(&native), native.to_string())
        .with_operation(operation)
        .with_ambiguous(native.is_ambiguous());
    if native.is_ambiguous() {
        error.with_retry(Retry::Never)
    } else {
        error
    }
}

fn kind(native: &EngineError) -> ErrorKind {
    match native {
        EngineError::Closed => ErrorKind::Closed,
        EngineError::Busy { .. } => ErrorKind::Overloaded,
        EngineError::Full => ErrorKind::QuotaExceeded,
        EngineError::MissingDirectory(_)
        | EngineError::NotAFile(_)
        | EngineError::NotADatabase(_)
        | EngineError::Foreign { .. }
        | EngineError::NewerSchema { .. }
        | EngineError::OptionsDiffer { .. } => ErrorKind::InvalidArgument,
        EngineError::ReadOnly(_) => ErrorKind::PermissionDenied,
        EngineError::CannotOpen { .. } | EngineError::Io { .. } => ErrorKind::Unavailable,
        EngineError::Corrupt(_) => ErrorKind::Corrupted,
        EngineError::Panicked(_) | EngineError::TransactionEnded | EngineError::Sqlite { .. } => {
            ErrorKind::Internal
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_error_says_what_the_caller_can_do() {
        let io = |ambiguous| EngineError::Io {
            message: "fsync".to_owned(),
            ambiguous,
        };
        let newer = EngineError::NewerSchema {
            path: "a.db".into(),
            found: 9,
            supported: 1,
        };
        let now = Retry::After(Duration::ZERO);
        let table = [
            (EngineError::Closed, ErrorKind::Closed, Retry::Never, false),
            (
                EngineError::Busy {
                    waited: Duration::ZERO,
                },
                ErrorKind::Overloaded,
                now,
                false,
            ),
            (
                EngineError::Full,
                ErrorKind::QuotaExceeded,
                Retry::Never,
                false,
            ),
            (
                EngineError::MissingDirectory("d".into()),
                ErrorKind::InvalidArgument,
                Retry::Never,
                false,
            ),
            (newer, ErrorKind::InvalidArgument, Retry::Never, false),
            (
                EngineError::ReadOnly("a.db".into()),
                ErrorKind::PermissionDenied,
                Retry::Never,
                false,
            ),
            (
                EngineError::Corrupt("page 3".to_owned()),
                ErrorKind::Corrupted,
                Retry::Never,
                false,
            ),
            (io(false), ErrorKind::Unavailable, now, false),
            (io(true), ErrorKind::Unavailable, Retry::Never, true),
            (
                EngineError::Panicked("oh".to_owned()),
                ErrorKind::Internal,
                Retry::Never,
                false,
            ),
        ];
        for (native, kind, retry, ambiguous) in table {
            let error = map("put", native.clone());
            assert_eq!(error.kind(), kind, "{native}");
            assert_eq!(error.retry(), retry, "{native}");
            assert_eq!(error.is_ambiguous(), ambiguous, "{native}");
            assert_eq!(error.operation(), Some("put"), "{native}");
        }
    }
}
