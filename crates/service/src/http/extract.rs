//! What handlers take: who calls, names in the path, queries and JSON bodies, all strict.

use std::time::{Duration, Instant};

use axum::extract::{FromRequest, FromRequestParts, Path as AxumPath, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use statehouse_contracts::{Bytes, Error, Scope};

use super::problem::Problem;
use super::suggest::clearer;
use super::{Api, body};

/// For whom the request acts, and whether it may see that namespace only.
#[derive(Debug)]
pub(super) struct Caller(pub(super) Scope, pub(super) bool);

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let (scope, only) = api.access().scope(&parts.headers)?;
        Ok(Self(scope, only))
    }
}

/// When the request arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived(pub(super) Instant);

impl<S: Sync> FromRequestParts<S> for Arrived {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let arrived = parts.extensions.get::<Self>().copied();
        Ok(arrived.unwrap_or_else(|| Self(Instant::now())))
    }
}

/// Names in the path, decoded and checked.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let names = AxumPath::<T>::from_request_parts(parts, state).await;
        match names {
            Ok(AxumPath(names)) => Ok(Self(names)),
            Err(rejection) => {
                let text = rejection.body_text();
                let text = text.strip_prefix("Invalid URL: ").unwrap_or(&text);
                Err(Error::invalid(format!("in the path: {text}")).into())
            }
        }
    }
}

/// Parameters after `?`.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let text = parts.uri.query().unwrap_or_default();
        let pairs =
            serde_urlencoded::Deserializer::new(url::form_urlencoded::parse(text.as_bytes()));
        serde_path_to_error::deserialize(pairs)
            .map(Self)
            .map_err(|error| {
                let (path, text) = (error.path().to_string(), error.inner().to_string());
                let text = clearer(&text)
                    .replace("unknown field", "unknown parameter")
                    .replace(
                        "invalid digit found in string",
                        "expected a whole number from 0 on",
                    );
                let text = match path.as_str() {
                    "." | "" => text,
                    path if text.contains(&format!("`{path}`")) => text,
                    path => format!("{path}: {text}"),
                };
                Error::invalid(format!("in the query: {text}")).into()
            })
    }
}

/// A JSON body.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Api> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        require_json(&parts.headers)?;
        let bytes = body::read(body, &parts.headers, api.body_limit()).await?;
        parse(&bytes).map(Self)
    }
}

/// A JSON body that may be left out.
#[derive(Debug)]
pub(super) struct Optional<T>(pub(super) T);

impl<T: DeserializeOwned + Default> FromRequest<Api> for Optional<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = body::read(body, &parts.headers, api.body_limit()).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        require_json(&parts.headers)?;
        parse(&bytes).map(Self)
    }
}

/// The bytes of a body, as they came.
#[derive(Debug)]
pub(super) struct Raw(pub(super) Bytes);

impl FromRequest<Api> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        body::read(body, &parts.headers, api.body_limit())
            .await
            .map(Self)
    }
}

/// The bytes of large content, as they came.
#[derive(Debug)]
pub(super) struct Large(pub(super) Bytes);

impl FromRequest<Api> for Large {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        body::read(body, &parts.headers, api.content_limit())
            .await
            .map(Self)
    }
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE);
    let given = given.and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = given.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    if essence == "application/json" || essence.ends_with("+json") {
        return Ok(());
    }
    let found = if given.is_empty() { "nothing" } else { given };
    let error = Error::invalid(format!(
        "this route takes JSON: send Content-Type: application/json, not {found}"
    ));
    Err(Problem::with_status(
        error,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
    ))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Error::invalid("in the body: expected an object, not an array").into());
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let wrong = |path: String, error: &serde_json::Error| {
        let text = clearer(&error.to_string());
        let place = match path.as_str() {
            "." | "" | "?" => String::new(),
            path => format!("{path}: "),
        };
        Problem::from(Error::invalid(format!("in the body: {place}{text}")))
    };
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| wrong(error.path().to_string(), error.inner()))?;
    reader.end().map_err(|error| wrong(String::new(), &error))?;
    Ok(value)
}

/// The `wait` of a request, cut to what the service allows.
pub(super) fn cut(wait: Duration, api: &Api) -> Duration {
    wait.min(api.max_wait())
}
