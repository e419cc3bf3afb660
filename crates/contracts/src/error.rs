//! One error type for every role: what the caller can do, and where it happened.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::{Cursor, StateKey, Version};

/// The result of every operation of the contracts.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call is wrong as it stands: mend the argument that the message names.
    InvalidArgument,
    /// This backend cannot do it: use one whose capability says it can.
    Unsupported,
    /// There is no such thing.
    NotFound,
    /// It was there, and retention has removed it.
    Pruned,
    /// A precondition does not hold, or the name is taken by something else: read, then decide.
    Conflict,
    /// The lease has ended or was replaced: somebody else may have the work now.
    LeaseLost,
    /// The work was cancelled: stop it.
    Cancelled,
    /// The cursor cannot be resumed from: list again from the head. See [`Detail::CursorLost`].
    CursorLost,
    /// A quota is full: free something or raise it.
    QuotaExceeded,
    /// There is no room at the moment; nothing was applied: try again later.
    Overloaded,
    /// The backend cannot be reached or is not ready: try again later.
    Unavailable,
    /// The operation took longer than its deadline.
    Timeout,
    /// The credentials are missing or do not allow it.
    PermissionDenied,
    /// Stored bytes do not match their checksum, or a file is damaged.
    Corrupted,
    /// The handle was closed.
    Closed,
    /// A defect, or an answer that makes no sense.
    Internal,
}

impl ErrorKind {
    /// A stable name in `snake_case`, for logs, metrics and problem documents.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::InvalidArgument => "invalid_argument",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Pruned => "pruned",
            ErrorKind::Conflict => "conflict",
            ErrorKind::LeaseLost => "lease_lost",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::CursorLost => "cursor_lost",
            ErrorKind::QuotaExceeded => "quota_exceeded",
            ErrorKind::Overloaded => "overloaded",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Timeout => "timeout",
            ErrorKind::PermissionDenied => "permission_denied",
            ErrorKind::Corrupted => "corrupted",
            ErrorKind::Closed => "closed",
            ErrorKind::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether trying the same call again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It will fail the same way.
    Never,
    /// It may succeed; wait at least this long first.
    After(Duration),
    /// It was retried already, and the attempts are used up.
    Exhausted,
}

/// One write whose precondition did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The place of the write in the transaction, from 0.
    pub index: usize,
    /// Its key.
    pub key: StateKey,
    /// The key's version now; 0 when it never existed.
    pub current: Version,
    /// Whether that version is live (not a tombstone, not expired).
    pub live: bool,
}

/// What an error carries for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Detail {
    /// Every write of a transaction whose precondition failed.
    Conflicts(Vec<Conflict>),
    /// Where a lost cursor could go on: the oldest cursor that still works, and the head.
    CursorLost {
        /// The oldest cursor that still works.
        oldest: Cursor,
        /// The end of the log.
        head: Cursor,
    },
    /// The field of a group's spec that differs from what was declared before.
    SpecField(&'static str),
    /// The limit that was passed.
    Limit {
        /// The capability that holds it.
        name: &'static str,
        /// Its value, in the unit of the capability.
        value: u64,
    },
}

/// Why an operation failed. One pointer wide; holds no secret in `Debug` or `Display`.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    retry: Retry,
    ambiguous: bool,
    operation: Option<&'static str>,
    context: Vec<(&'static str, String)>,
    detail: Option<Detail>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind`. `message` says what was wrong, where, and what would be right.
    ///
    /// [`Overloaded`](ErrorKind::Overloaded) and [`Unavailable`](ErrorKind::Unavailable) start as
    /// retryable at once, the other kinds as not; [`Error::with_retry`] changes it.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        let retry = match kind {
            ErrorKind::Overloaded | ErrorKind::Unavailable => Retry::After(Duration::ZERO),
            _ => Retry::Never,
        };
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            retry,
            ambiguous: false,
            operation: None,
            context: Vec::new(),
            detail: None,
            source: None,
        }))
    }

    /// [`ErrorKind::InvalidArgument`].
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// [`ErrorKind::InvalidArgument`] for something beyond the limit `name` of a capability.
    pub fn beyond_limit(what: &str, got: u64, name: &'static str, value: u64) -> Self {
        Self::invalid(format!("{what} is {got}, beyond {name} = {value}"))
            .with_detail(Detail::Limit { name, value })
    }

    /// [`ErrorKind::Unsupported`] for `operation` of the backend `backend`.
    pub fn unsupported(backend: &str, operation: &'static str) -> Self {
        Self::new(
            ErrorKind::Unsupported,
            format!("{backend} does not support {operation}"),
        )
        .with_operation(operation)
    }

    /// [`ErrorKind::NotFound`].
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// [`ErrorKind::Closed`].
    pub fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the handle is closed")
    }

    /// [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// [`ErrorKind::Conflict`] that names every write whose precondition failed.
    pub fn conflicts(conflicts: Vec<Conflict>) -> Self {
        let list: Vec<String> = conflicts
            .iter()
            .map(|c| {
                let life = if c.live { "" } else { ", not live" };
                format!("{} is at version {}{life}", c.key, c.current)
            })
            .collect();
        Self::new(
            ErrorKind::Conflict,
            format!("precondition failed: {}", list.join("; ")),
        )
        .with_detail(Detail::Conflicts(conflicts))
    }

    /// [`ErrorKind::CursorLost`] with where to go on from.
    pub fn cursor_lost(why: &str, oldest: Cursor, head: Cursor) -> Self {
        Self::new(
            ErrorKind::CursorLost,
            format!("the cursor cannot be resumed: {why}"),
        )
        .with_detail(Detail::CursorLost { oldest, head })
    }

    /// Sets the advice on retries.
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Marks that the operation may have been applied all the same.
    pub fn with_ambiguous(mut self, ambiguous: bool) -> Self {
        self.0.ambiguous = ambiguous;
        self
    }

    /// Names the operation that failed; the innermost name stays.
    pub fn with_operation(mut self, operation: &'static str) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// Adds a fact about where it happened. Never a secret.
    pub fn with_context(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((name, value.to_string()));
        self
    }

    /// Adds what programs need to act on.
    pub fn with_detail(mut self, detail: Detail) -> Self {
        self.0.detail = Some(detail);
        self
    }

    /// Adds the error that caused this one.
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was wrong, without operation, context and source.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether the same call may succeed later.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// Whether the operation may have been applied all the same.
    pub fn is_ambiguous(&self) -> bool {
        self.0.ambiguous
    }

    /// The operation that failed, such as `apply`.
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// Facts about where it happened, in the order they were added.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// What programs can act on.
    pub fn detail(&self) -> Option<&Detail> {
        self.0.detail.as_ref()
    }

    /// The failed preconditions of a [`Conflict`](ErrorKind::Conflict); empty for other errors.
    pub fn conflict_list(&self) -> &[Conflict] {
        match &self.0.detail {
            Some(Detail::Conflicts(conflicts)) => conflicts,
            _ => &[],
        }
    }

    /// The same error for another caller of the same batch, without its source, which cannot be
    /// cloned (its text is kept).
    pub fn replicate(&self) -> Self {
        let inner = &self.0;
        let mut copy = Self::new(inner.kind, inner.message.clone())
            .with_retry(inner.retry)
            .with_ambiguous(inner.ambiguous);
        copy.0.operation = inner.operation;
        copy.0.context = inner.context.clone();
        copy.0.detail = inner.detail.clone();
        copy.0.source = inner
            .source
            .as_ref()
            .map(|source| source.to_string().into());
        copy
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(operation) = self.0.operation {
            write!(f, "{operation}: ")?;
        }
        f.write_str(&self.0.message)?;
        for (name, value) in &self.0.context {
            write!(f, ", {name}={value}")?;
        }
        if self.0.ambiguous {
            f.write_str(" (may have been applied)")?;
        }
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_pointer_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn display_has_operation_message_context_and_source() {
        let error = Error::new(ErrorKind::Unavailable, "cannot connect")
            .with_operation("send")
            .with_operation("outer")
            .with_context("host", "127.0.0.1:9876")
            .with_ambiguous(true)
            .with_source(std::io::Error::other("refused"));
        assert_eq!(
            error.to_string(),
            "send: cannot connect, host=127.0.0.1:9876 (may have been applied): refused"
        );
        assert_eq!(error.replicate().to_string(), error.to_string());
        assert_eq!(error.retry(), Retry::After(Duration::ZERO));
    }
}
