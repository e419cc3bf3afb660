//! Errors: what the service says, and what happens on the way to it.

use std::error::Error as _;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::RETRY_AFTER;
use hyper_util::client::legacy;
use statehouse_contracts::{Error, ErrorKind, Retry};
use statehouse_wire::{ErrorDocument, Span};

/// What happened on the way to the service or back.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The request was not answered.
    Request(legacy::Error),
    /// The answer broke off.
    Answer(hyper::Error),
    /// Neither came in this time.
    TimedOut(Duration),
}

/// The error of `operation`; `mutates` tells whether a lost answer leaves its outcome open.
pub(crate) fn map(operation: &'static str, failure: Failure, mutates: bool) -> Error {
    let unavailable = |message| Error::new(ErrorKind::Unavailable, message);
    let error = match failure {
        Failure::Request(error) if error.is_connect() => {
            unavailable("cannot connect to the service").with_source(innermost(&error))
        }
        Failure::Request(error) => match error.source().and_then(|s| s.downcast_ref()) {
            Some(source) => lost(source, mutates),
            None => unavailable("the connection to the service failed")
                .with_ambiguous(mutates)
                .with_source(innermost(&error)),
        },
        Failure::Answer(error) => lost(&error, mutates),
        Failure::TimedOut(limit) => Error::new(
            ErrorKind::Timeout,
            format!("the service did not answer within {}", Span(limit)),
        )
        .with_retry(Retry::After(Duration::ZERO))
        .with_ambiguous(mutates),
    };
    error.with_operation(operation)
}

/// A connection that ended before the answer was whole.
fn lost(error: &hyper::Error, mutates: bool) -> Error {
    if error.is_parse() {
        return Error::internal("what answers there does not speak HTTP/1.1")
            .with_ambiguous(mutates)
            .with_source(innermost(error));
    }
    // A request that was cancelled had not begun to be sent.
    let sent = !error.is_canceled();
    Error::new(
        ErrorKind::Unavailable,
        "the connection to the service was lost",
    )
    .with_ambiguous(mutates && sent)
    .with_source(innermost(error))
}

/// The text at the bottom of a chain of errors, which says what happened.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

/// How much of an answer that is no problem document is quoted.
const QUOTED: usize = 300;

/// The error of an answer with a status that is none of success.
pub(crate) fn refused(status: u16, headers: &HeaderMap, body: &[u8], mutates: bool) -> Error {
    let document: Option<ErrorDocument> = serde_json::from_slice(body).ok();
    match document.filter(|document| !document.kind.is_empty()) {
        Some(document) => of_service(document),
        None => of_somebody_else(status, headers, body, mutates),
    }
}

/// The error of a problem document. A service that shuts down closes its own handles, not ours.
pub(crate) fn of_service(document: ErrorDocument) -> Error {
    let error = Error::from(document);
    if error.kind() != ErrorKind::Closed {
        return error;
    }
    let retry = match error.retry() {
        Retry::Never => Retry::After(Duration::ZERO),
        advice => advice,
    };
    Error::new(ErrorKind::Unavailable, "the service is shutting down")
        .with_retry(retry)
        .with_ambiguous(error.is_ambiguous())
}

/// The error of a proxy, or of a server that is no Statehouse service.
fn of_somebody_else(status: u16, headers: &HeaderMap, body: &[u8], mutates: bool) -> Error {
    let text = String::from_utf8_lossy(body);
    let quoted: String = text.trim().chars().take(QUOTED).collect();
    let wait = headers.get(RETRY_AFTER).and_then(|wait| wait.to_str().ok());
    let wait = wait.and_then(|wait| wait.parse().ok());
    let error = Error::from(ErrorDocument {
        status,
        detail: format!("the answer has status {status} and no problem document: {quoted:?}"),
        retry_after: wait.map(|seconds| Span(Duration::from_secs(seconds))),
        ..ErrorDocument::default()
    });
    // A gateway may have passed the request on before it gave up.
    let open = mutates && matches!(status, 500 | 502 | 504);
    let error = error.with_ambiguous(open);
    match (error.kind(), error.retry()) {
        (ErrorKind::Unavailable | ErrorKind::Overloaded, Retry::Never) => {
            error.with_retry(Retry::After(Duration::ZERO))
        }
        _ => error,
    }
}

/// The error of an answer that makes no sense.
pub(crate) fn nonsense(why: impl std::fmt::Display) -> Error {
    Error::internal(format!("the service's answer cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_service_says_comes_back() {
        let conflict = Error::beyond_limit("the batch", 9, "max_batch", 8).with_operation("send");
        let body = serde_json::to_vec(&ErrorDocument::from(&conflict)).unwrap();
        let back = refused(400, &HeaderMap::new(), &body, true);
        assert_eq!(format!("{back:?}"), format!("{conflict:?}"));
        assert_eq!(back.detail(), conflict.detail());
        assert!(!back.is_ambiguous());
    }

    #[test]
    fn a_service_that_shuts_down_is_unavailable_for_a_while() {
        let body = serde_json::to_vec(&ErrorDocument::from(&Error::closed())).unwrap();
        let error = refused(503, &HeaderMap::new(), &body, true);
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.retry(), Retry::After(Duration::ZERO));
        assert!(!error.is_ambiguous());
    }

    #[test]
    fn what_a_proxy_says_is_told_by_its_status() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "7".parse().unwrap());
        let after = |seconds| Retry::After(Duration::from_secs(seconds));
        let table = [
            (502, ErrorKind::Unavailable, after(7), true),
            (503, ErrorKind::Unavailable, after(7), false),
            (504, ErrorKind::Timeout, after(7), true),
            (429, ErrorKind::Overloaded, after(7), false),
            (401, ErrorKind::PermissionDenied, after(7), false),
            (404, ErrorKind::NotFound, after(7), false),
        ];
        for (status, kind, retry, ambiguous) in table {
            let error = refused(status, &headers, b"<html>no</html>", true);
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{status}");
            assert_eq!(error.is_ambiguous(), ambiguous, "{status}");
            assert!(error.to_string().contains("<html>no</html>"), "{error}");
            assert!(!refused(status, &headers, b"", false).is_ambiguous());
        }
        let bare = refused(502, &HeaderMap::new(), b"", false);
        assert_eq!(bare.retry(), after(0));
    }
}
