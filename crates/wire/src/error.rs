//! Errors as problem documents.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use statehouse_contracts::{
    Conflict, Cursor, Detail, Error, ErrorKind, Id, Kind, Retry, StateKey, Version,
};
use utoipa::ToSchema;

use crate::Span;
use crate::known::known;

/// The media type of a problem document.
pub const PROBLEM: &str = "application/problem+json";

/// The prefix of `type`.
const TYPE: &str = "urn:statehouse:error:";

const KINDS: [ErrorKind; 16] = [
    ErrorKind::InvalidArgument,
    ErrorKind::Unsupported,
    ErrorKind::NotFound,
    ErrorKind::Pruned,
    ErrorKind::Conflict,
    ErrorKind::LeaseLost,
    ErrorKind::Cancelled,
    ErrorKind::CursorLost,
    ErrorKind::QuotaExceeded,
    ErrorKind::Overloaded,
    ErrorKind::Unavailable,
    ErrorKind::Timeout,
    ErrorKind::PermissionDenied,
    ErrorKind::Corrupted,
    ErrorKind::Closed,
    ErrorKind::Internal,
];

/// An error as a problem document (RFC 9457). `kind` is what programs look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ErrorDocument {
    /// `urn:statehouse:error:` and the kind.
    #[serde(rename = "type")]
    #[schema(example = "urn:statehouse:error:conflict")]
    pub type_uri: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status; of an item of a batch the one it would have alone.
    pub status: u16,
    /// What was wrong, where, and what would be right.
    pub detail: String,
    /// What the caller can do: the kind of the contracts' error.
    #[schema(example = "conflict")]
    pub kind: String,
    /// How long to wait before the same request may succeed; not given: it will fail again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Span>,
    /// Whether the service has tried again already, and gave up.
    #[serde(skip_serializing_if = "is_false")]
    pub retries_exhausted: bool,
    /// Whether the request may have been applied all the same.
    #[serde(skip_serializing_if = "is_false")]
    pub ambiguous: bool,
    /// The operation that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Facts about where it happened: pairs of name and value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<(String, String)>,
    /// What caused it, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Every write of a transaction whose precondition failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflicts: Option<Vec<ConflictDoc>>,
    /// For a lost cursor: the oldest cursor that still works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<String>,
    /// For a lost cursor: the end of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// The field in which a group's promise differs from what was declared before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec_field: Option<String>,
    /// The limit that was passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitDoc>,
}

/// One write whose precondition did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConflictDoc {
    /// The place of the write in the transaction, from 0.
    pub index: usize,
    /// The kind of its key.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// The id of its key.
    #[schema(value_type = String)]
    pub id: Id,
    /// The key's version now; 0 when it never existed.
    pub current: Version,
    /// Whether that version is live.
    pub live: bool,
}

/// A limit of a capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitDoc {
    /// The capability.
    pub name: String,
    /// Its value, in the capability's unit.
    pub value: u64,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The HTTP status of an error: 412 for failed preconditions, 409 for other conflicts, and one
/// status for each other kind.
pub fn status(error: &Error) -> u16 {
    match error.kind() {
        ErrorKind::InvalidArgument => 400,
        ErrorKind::PermissionDenied => 403,
        ErrorKind::NotFound => 404,
        ErrorKind::Conflict if error.conflict_list().is_empty() => 409,
        ErrorKind::Conflict => 412,
        ErrorKind::LeaseLost | ErrorKind::Cancelled => 409,
        ErrorKind::Pruned | ErrorKind::CursorLost => 410,
        ErrorKind::Overloaded => 429,
        ErrorKind::Unsupported => 501,
        ErrorKind::Unavailable | ErrorKind::Closed => 503,
        ErrorKind::Timeout => 504,
        ErrorKind::QuotaExceeded => 507,
        _ => 500,
    }
}

fn title(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidArgument => "The request is wrong as it stands",
        ErrorKind::Unsupported => "This backend cannot do it",
        ErrorKind::NotFound => "There is no such thing",
        ErrorKind::Pruned => "Retention has removed it",
        ErrorKind::Conflict => "A precondition does not hold, or the name is taken",
        ErrorKind::LeaseLost => "The lease has ended or was replaced",
        ErrorKind::Cancelled => "The work was cancelled",
        ErrorKind::CursorLost => "The cursor cannot be resumed from",
        ErrorKind::QuotaExceeded => "A quota is full",
        ErrorKind::Overloaded => "There is no room at the moment",
        ErrorKind::Unavailable => "The backend cannot be reached",
        ErrorKind::Timeout => "It took longer than its deadline",
        ErrorKind::PermissionDenied => "The credentials are missing or do not allow it",
        ErrorKind::Corrupted => "Stored data is damaged",
        ErrorKind::Closed => "The service is shutting down",
        _ => "Something went wrong inside the service",
    }
}

impl From<&Error> for ErrorDocument {
    fn from(error: &Error) -> Self {
        let kind = error.kind();
        let mut doc = Self {
            type_uri: format!("{TYPE}{kind}"),
            title: title(kind).to_owned(),
            status: status(error),
            detail: error.message().to_owned(),
            kind: kind.as_str().to_owned(),
            ambiguous: error.is_ambiguous(),
            operation: error.operation().map(str::to_owned),
            cause: std::error::Error::source(error).map(ToString::to_string),
            ..Self::default()
        };
        let context = error.context().iter();
        doc.context = context
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        match error.retry() {
            Retry::After(wait) => doc.retry_after = Some(Span(wait)),
            Retry::Exhausted => doc.retries_exhausted = true,
            Retry::Never => {}
        }
        doc.set_detail(error.detail());
        doc
    }
}

impl ErrorDocument {
    fn set_detail(&mut self, detail: Option<&Detail>) {
        match detail {
            Some(Detail::Conflicts(conflicts)) => {
                self.conflicts = Some(conflicts.iter().map(ConflictDoc::from).collect());
            }
            Some(Detail::CursorLost { oldest, head }) => {
                self.oldest = Some(oldest.0.clone());
                self.head = Some(head.0.clone());
            }
            Some(Detail::SpecField(field)) => self.spec_field = Some((*field).to_owned()),
            Some(Detail::Limit { name, value }) => {
                let (name, value) = ((*name).to_owned(), *value);
                self.limit = Some(LimitDoc { name, value });
            }
            _ => {}
        }
    }

    fn detail(&mut self) -> Option<Detail> {
        if let Some(conflicts) = self.conflicts.take() {
            let conflicts = conflicts.into_iter().map(Conflict::from).collect();
            return Some(Detail::Conflicts(conflicts));
        }
        if let (Some(oldest), Some(head)) = (self.oldest.take(), self.head.take()) {
            let (oldest, head) = (Cursor(oldest), Cursor(head));
            return Some(Detail::CursorLost { oldest, head });
        }
        if let Some(field) = self.spec_field.as_deref().and_then(known) {
            return Some(Detail::SpecField(field));
        }
        let limit = self.limit.take()?;
        let (name, value) = (known(&limit.name)?, limit.value);
        Some(Detail::Limit { name, value })
    }

    fn error_kind(&self) -> ErrorKind {
        let named = KINDS.into_iter().find(|kind| kind.as_str() == self.kind);
        named.unwrap_or(match self.status {
            400 | 405 | 406 | 413..=416 | 431 => ErrorKind::InvalidArgument,
            401 | 403 => ErrorKind::PermissionDenied,
            404 => ErrorKind::NotFound,
            408 | 504 => ErrorKind::Timeout,
            409 | 412 => ErrorKind::Conflict,
            429 => ErrorKind::Overloaded,
            502 | 503 => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        })
    }
}

impl From<ErrorDocument> for Error {
    /// The error that the document was made of. Its cause stays as text; a fact whose name the
    /// contracts do not know stands as `fact=name=value`.
    fn from(mut doc: ErrorDocument) -> Self {
        let detail = doc.detail();
        let retry = match (doc.retry_after, doc.retries_exhausted) {
            (Some(wait), _) => Retry::After(Duration::from(wait)),
            (None, true) => Retry::Exhausted,
            (None, false) => Retry::Never,
        };
        let mut error = Error::new(doc.error_kind(), doc.detail)
            .with_retry(retry)
            .with_ambiguous(doc.ambiguous);
        if let Some(operation) = doc.operation.as_deref().and_then(known) {
            error = error.with_operation(operation);
        }
        for (name, value) in doc.context {
            error = match known(&name) {
                Some(name) => error.with_context(name, value),
                None => error.with_context("fact", format!("{name}={value}")),
            };
        }
        if let Some(detail) = detail {
            error = error.with_detail(detail);
        }
        match doc.cause {
            Some(cause) => error.with_source(cause),
            None => error,
        }
    }
}

impl From<&Conflict> for ConflictDoc {
    fn from(conflict: &Conflict) -> Self {
        let StateKey { kind, id } = conflict.key.clone();
        Self {
            index: conflict.index,
            kind,
            id,
            current: conflict.current,
            live: conflict.live,
        }
    }
}

impl From<ConflictDoc> for Conflict {
    fn from(doc: ConflictDoc) -> Self {
        Self {
            index: doc.index,
            key: StateKey::new(doc.kind, doc.id),
            current: doc.current,
            live: doc.live,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(error: &Error) -> Error {
        let text = serde_json::to_string(&ErrorDocument::from(error)).unwrap();
        serde_json::from_str::<ErrorDocument>(&text).unwrap().into()
    }

    #[test]
    fn an_error_comes_back_as_it_was() {
        let key = StateKey::parse("task", "a/b").unwrap();
        let conflict = Conflict {
            index: 2,
            key,
            current: 7,
            live: true,
        };
        let cursor = |text: &str| Cursor(text.to_owned());
        let table = [
            Error::conflicts(vec![conflict]),
            Error::cursor_lost("trimmed", cursor("o"), cursor("h")),
            Error::beyond_limit("the batch", 9, "max_batch", 8).with_operation("send"),
            Error::new(ErrorKind::Conflict, "differs").with_detail(Detail::SpecField("lease")),
            Error::new(ErrorKind::Unavailable, "down")
                .with_retry(Retry::After(Duration::from_millis(1500)))
                .with_ambiguous(true)
                .with_context("host", "h:1")
                .with_source(std::io::Error::other("refused")),
            Error::new(ErrorKind::Timeout, "slow").with_retry(Retry::Exhausted),
        ];
        for error in table {
            let back = through(&error);
            assert_eq!(format!("{back:?}"), format!("{error:?}"));
            assert_eq!(back.retry(), error.retry());
            assert_eq!(back.detail(), error.detail());
            assert_eq!(back.context(), error.context());
        }
    }

    #[test]
    fn every_kind_has_its_status_and_comes_back() {
        for kind in KINDS {
            let error = Error::new(kind, "x");
            assert_eq!(through(&error).kind(), kind);
            let expected = match kind {
                ErrorKind::Corrupted | ErrorKind::Internal => 500,
                ErrorKind::Conflict => 409,
                kind => status(&Error::new(kind, "x")),
            };
            assert_eq!(ErrorDocument::from(&error).status, expected);
        }
    }

    #[test]
    fn a_document_of_somebody_else_is_an_error_too() {
        let proxy: ErrorDocument = serde_json::from_str(r#"{"status":502,"hint":1}"#).unwrap();
        assert_eq!(Error::from(proxy).kind(), ErrorKind::Unavailable);
        let error = Error::internal("x").with_context("host", "h");
        let mut document = ErrorDocument::from(&error);
        document.context[0].0 = "planet".to_owned();
        assert_eq!(
            Error::from(document).context(),
            [("fact", "planet=h".to_owned())]
        );
    }
}
