//! Reading bodies, within limits.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use statehouse_contracts::{Bytes, Detail, Error, ErrorKind};

use super::problem::Problem;

/// How long the rest of a refused body is thrown away, so that the client gets to read the answer.
const DISCARD: Duration = Duration::from_secs(5);

/// Reads a body of at most `limit` bytes. A larger one is refused by its announced length, before
/// anything is read. A body that comes in one piece is not copied.
pub(super) async fn read(body: Body, headers: &HeaderMap, limit: usize) -> Result<Bytes, Problem> {
    if announced(headers).is_some_and(|length| length > limit as u64) {
        discard(body);
        return Err(too_large(limit));
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Err(error) => {
            let broken = Error::new(ErrorKind::InvalidArgument, "the body ended too early");
            Err(broken.with_source(error).into())
        }
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

fn discard(mut body: Body) {
    tokio::spawn(tokio::time::timeout(DISCARD, async move {
        while let Some(Ok(_)) = body.frame().await {}
    }));
}

fn too_large(limit: usize) -> Problem {
    let message = format!("the body is larger than the limit of {limit} bytes");
    let error = Error::invalid(message).with_detail(Detail::Limit {
        name: "body_limit",
        value: limit as u64,
    });
    Problem::with_status(error, StatusCode::PAYLOAD_TOO_LARGE)
}
