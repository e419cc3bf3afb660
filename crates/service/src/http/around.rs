//! Around every request: its arrival, origin, trace, measures, and the form of its errors.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use statehouse_contracts::{Error, ErrorKind};
use statehouse_wire::PROBLEM;
use tracing::Instrument;

use super::Api;
use super::extract::Arrived;
use super::problem::Problem;

/// Methods and headers that a browser may use from an allowed origin.
const METHODS: &str = "GET, HEAD, PUT, POST, DELETE";
const REQUEST_HEADERS: &str = "authorization, content-type, if-match, if-none-match, range, \
     last-event-id, idempotency-key, statehouse-namespace, statehouse-principal, statehouse-ttl, \
     statehouse-schema, statehouse-holder, statehouse-reference-kind, statehouse-compression, \
     statehouse-cache";

pub(super) async fn around(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let arrived = Instant::now();
    request.extensions_mut().insert(Arrived(arrived));
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let span = tracing::debug_span!("http", %method, route, status = tracing::field::Empty);

    let mut response = match allowed_origin(&api, request.headers()) {
        Err(problem) => problem.into_response(),
        Ok(Some(origin)) if method == Method::OPTIONS => preflight(origin),
        Ok(origin) => {
            let mut response = next.run(request).instrument(span.clone()).await;
            origin.into_iter().for_each(|origin| {
                let headers = response.headers_mut();
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                headers.insert(header::VARY, HeaderValue::from_static("origin"));
                let all = HeaderValue::from_static("*");
                headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, all);
            });
            response
        }
    };
    response = as_problem(response);
    span.record("status", response.status().as_u16());
    measure(&method, route, response.status(), arrived);
    response
}

fn measure(method: &Method, route: &str, status: StatusCode, arrived: Instant) {
    // Clients can make up methods; measures cannot have a series for each.
    let known = METHODS.split(", ").find(|known| *known == method.as_str());
    let (method, route) = (known.unwrap_or("other"), route.to_owned());
    metrics::counter!(
        "statehouse_http_requests_total",
        "method" => method, "route" => route.clone(), "status" => status.as_str().to_owned(),
    )
    .increment(1);
    metrics::histogram!("statehouse_http_request_seconds", "method" => method, "route" => route)
        .record(arrived.elapsed().as_secs_f64());
}

/// The origin of a page that may call; `None` for callers that are no browser. Other pages are
/// refused, so that no website reaches a service on the laptop of its visitor.
fn allowed_origin(api: &Api, headers: &HeaderMap) -> Result<Option<HeaderValue>, Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(None);
    };
    let allowed = &api.app().config().server.cors_origins;
    if allowed
        .iter()
        .any(|it| it == "*" || it.as_bytes() == origin.as_bytes())
    {
        return Ok(Some(origin.clone()));
    }
    let message = "pages of this origin may not call; add it to server.cors_origins";
    Err(Error::new(ErrorKind::PermissionDenied, message).into())
}

fn preflight(origin: HeaderValue) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let fixed: [(HeaderName, &'static str); 4] = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, "3600"),
        (header::VARY, "origin"),
    ];
    let headers = response.headers_mut();
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    response
}

/// Errors of the framework in the form of ours.
fn as_problem(response: Response) -> Response {
    let status = response.status();
    let ours = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes() == PROBLEM.as_bytes());
    if ours || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let message = match status {
        StatusCode::METHOD_NOT_ALLOWED => "this route has no such method; see the header Allow",
        _ => status.canonical_reason().unwrap_or("the request failed"),
    };
    let error = match status.is_client_error() {
        true => Error::invalid(message),
        false => Error::internal(message),
    };
    let mut problem = Problem::with_status(error, status);
    if let Some(allow) = response.headers().get(header::ALLOW) {
        problem = problem.and(header::ALLOW, allow.clone());
    }
    problem.into_response()
}
