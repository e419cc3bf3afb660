//! The service itself: what it can do, how it is.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::future::join_all;
use statehouse_contracts::{Error, ErrorKind};
use statehouse_wire::{BackendDoc, BackendInfoDoc, CapabilitiesDoc, ItemsDoc, Span};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::extract::Caller;
use super::problem::{Answer, Problem, json};

/// How long a backend may take to say that it is there.
const READY: Duration = Duration::from_secs(5);

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(capabilities))
        .routes(routes!(backends))
        .routes(routes!(namespaces))
        .routes(routes!(measures))
        .routes(routes!(alive))
        .routes(routes!(ready))
        .routes(routes!(description))
}

/// What each role can do.
#[utoipa::path(
    get, path = "/v1/capabilities", tag = "service",
    responses((status = 200, body = CapabilitiesDoc)),
)]
async fn capabilities(State(api): State<Api>, _caller: Caller) -> Response {
    let capabilities = api.app().capabilities();
    json(&CapabilitiesDoc {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        max_wait: Span(api.max_wait()),
        body_limit: api.body_limit() as u64,
        producer: capabilities.producer.map(Into::into),
        consumer: capabilities.consumer.map(Into::into),
        state: capabilities.state.map(Into::into),
        tasks: capabilities.tasks.map(Into::into),
        references: capabilities.references.map(Into::into),
    })
}

/// The backends and what they say of themselves.
#[utoipa::path(
    get, path = "/v1/backends", tag = "service",
    responses((status = 200, body = ItemsDoc<BackendDoc>)),
)]
async fn backends(State(api): State<Api>, _caller: Caller) -> Answer {
    let opened = api.app().backends().opened().iter();
    let asked = opened.map(|opened| async {
        let info = opened.backend.info().await?;
        Ok::<_, Error>(BackendDoc {
            roles: opened.roles.iter().map(|role| (*role).to_owned()).collect(),
            info: BackendInfoDoc {
                name: info.name.to_owned(),
                server: info.server,
                facts: info.facts,
            },
        })
    });
    let items: Result<Vec<_>, Error> = join_all(asked).await.into_iter().collect();
    Ok(json(&ItemsDoc { items: items? }))
}

/// The namespaces that hold anything.
#[utoipa::path(
    get, path = "/v1/namespaces", tag = "service",
    responses((status = 200, body = ItemsDoc<String>)),
)]
async fn namespaces(State(api): State<Api>, caller: Caller) -> Answer {
    let mut items = api.app().namespaces().await?;
    let Caller(scope, only) = caller;
    items.retain(|namespace| !only || *namespace == scope.namespace);
    Ok(json(&ItemsDoc { items }))
}

/// Measures, in the Prometheus text format.
#[utoipa::path(
    get, path = "/metrics", tag = "service",
    responses((status = 200, body = String, content_type = "text/plain")),
)]
async fn measures(State(api): State<Api>) -> Answer {
    let Some(metrics) = &api.0.metrics else {
        return Err(Error::not_found("metrics are off; telemetry.metrics turns them on").into());
    };
    let mut response = Response::new(Body::from(metrics.render()));
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    Ok(response)
}

/// Whether the process is there.
#[utoipa::path(get, path = "/healthz", tag = "service", responses((status = 204)))]
async fn alive() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Whether every backend can be reached, and the service is not shutting down.
#[utoipa::path(get, path = "/readyz", tag = "service", responses((status = 204)))]
async fn ready(State(api): State<Api>) -> Answer<StatusCode> {
    if api.app().draining().is_cancelled() {
        let message = "the service is shutting down";
        return Err(Error::new(ErrorKind::Unavailable, message).into());
    }
    let opened = api.app().backends().opened().iter();
    let asked = opened.map(|opened| async {
        let answer = tokio::time::timeout(READY, opened.backend.info()).await;
        let failure = match answer {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it did not answer within {READY:?}"),
        };
        Err(format!("{}: {failure}", opened.endpoint))
    });
    let failures: Vec<String> = join_all(asked)
        .await
        .into_iter()
        .filter_map(Result::err)
        .collect();
    if failures.is_empty() {
        return Ok(StatusCode::NO_CONTENT);
    }
    let message = format!("not every backend can be reached: {}", failures.join("; "));
    Err(Error::new(ErrorKind::Unavailable, message).into())
}

/// This description.
#[utoipa::path(
    get, path = "/openapi.json", tag = "service",
    responses((status = 200, content_type = "application/json")),
)]
async fn description(State(api): State<Api>) -> Response {
    let mut response = Response::new(Body::from(api.0.openapi.clone()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// There is no such route.
pub(super) async fn no_route(uri: Uri) -> Response {
    let message = format!("there is no route {}; see /openapi.json", uri.path());
    Problem::from(Error::not_found(message)).into_response()
}
