//! Errors as answers.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use statehouse_contracts::{Error, ErrorKind, Retry};
use statehouse_wire::{ErrorDocument, PROBLEM};

/// An error on its way to the client, as a problem document.
#[derive(Debug)]
pub(super) struct Problem {
    error: Error,
    status: Option<StatusCode>,
    header: Option<(HeaderName, HeaderValue)>,
}

/// The answer of a handler.
pub(super) type Answer<T = Response> = Result<T, Problem>;

impl Problem {
    /// With this status instead of the one of the error's kind.
    pub(super) fn with_status(error: Error, status: StatusCode) -> Self {
        Self {
            error,
            status: Some(status),
            header: None,
        }
    }

    /// With this header as well.
    pub(super) fn and(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    /// 401: no token, or a wrong one.
    pub(super) fn unauthorized(message: &'static str) -> Self {
        let error = Error::new(ErrorKind::PermissionDenied, message);
        let challenge = HeaderValue::from_static("Bearer");
        Self::with_status(error, StatusCode::UNAUTHORIZED).and(header::WWW_AUTHENTICATE, challenge)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self {
            error,
            status: None,
            header: None,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut document = ErrorDocument::from(&self.error);
        if let Some(status) = self.status {
            document.status = status.as_u16();
        }
        if document.status >= 500 {
            tracing::warn!(error = %self.error, "a request failed");
        }
        let status = StatusCode::from_u16(document.status);
        let mut response = json(&document).into_response();
        *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        if let Some(after) = retry_after(&self.error) {
            headers.insert(header::RETRY_AFTER, after.into());
        }
        if let Some((name, value)) = self.header {
            headers.insert(name, value);
        }
        response
    }
}

/// Whole seconds, at least 1, for what may succeed later.
fn retry_after(error: &Error) -> Option<u64> {
    let later = matches!(
        error.kind(),
        ErrorKind::Overloaded | ErrorKind::Unavailable | ErrorKind::Closed
    );
    match error.retry() {
        Retry::After(wait) => Some(
            wait.as_millis()
                .div_ceil(1000)
                .try_into()
                .unwrap_or(u64::MAX),
        ),
        Retry::Exhausted | Retry::Never => later.then_some(1),
    }
    .map(|seconds| seconds.max(1))
}

/// A JSON answer with status 200.
pub(super) fn json<T: serde::Serialize>(value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => {
            let mut response = Response::new(Body::from(text));
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            response
        }
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
