//! Shared memory. The private scope is that of the request's principal.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures::stream::{self, StreamExt};
use serde::Deserialize;
use statehouse_contracts::{Error, ErrorKind, PageCursor};
use statehouse_messaging::{
    PutShared, SharedEvent, SharedScope, SharedStats, SharedValue, SharedWatch,
};
use statehouse_wire::{
    ContentDoc, CountDoc, PageDoc, RemovedDoc, SharedGoneDoc, SharedStatsDoc, SharedValueDoc,
    SharedWrittenDoc, header as ours,
};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::changes::{KEEP_ALIVE, event, failure, sse, wants_events};
use super::extract::{Caller, Path, Query, Raw};
use super::headers::{self, has_already, precondition, set, set_ours, set_time, tag};
use super::problem::{Answer, json};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(get, put, delete))
        .routes(routes!(list, clear))
        .routes(routes!(stats))
}

/// The value of a key, as it was put. What is known of it stands in the headers.
#[utoipa::path(
    get, path = "/v1/shared-memory/{scope}/{key}", tag = "shared memory",
    params(("scope" = String, Path), ("key" = String, Path),
        ("if-none-match" = Option<String>, Header, description = "A version the client has.")),
    responses((status = 200, body = Vec<u8>, content_type = "*/*"), (status = 304)),
)]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    Path((scope, key)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let memory = api.app().shared(&caller.0).await?;
    let name = memory.key(&scope.parse()?, &key)?;
    let Some(value) = memory.get(&name).await? else {
        return Err(Error::not_found(format!("there is no value {key} in {scope}")).into());
    };
    if has_already(&headers, &tag(value.version)) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        set(response.headers_mut(), header::ETAG, &tag(value.version));
        return Ok(response);
    }
    Ok(raw(&value))
}

fn raw(value: &SharedValue) -> Response {
    let mut response = Response::new(Body::from(value.value.clone()));
    let headers = response.headers_mut();
    set(headers, header::ETAG, &tag(value.version));
    set(headers, header::CONTENT_TYPE, value.content_type.as_str());
    set(headers, header::CACHE_CONTROL, "no-cache");
    set_ours(headers, ours::VERSION, &value.version.to_string());
    set_ours(headers, ours::CHECKSUM, &value.checksum.to_string());
    set_time(headers, ours::CREATED_AT, Some(value.created_at));
    set_ours(headers, ours::CREATED_BY, value.created_by.as_str());
    set_time(headers, ours::UPDATED_AT, Some(value.updated_at));
    set_ours(headers, ours::UPDATED_BY, value.updated_by.as_str());
    set_time(headers, ours::EXPIRES_AT, value.expires_at);
    response
}

/// Stores a value.
#[utoipa::path(
    put, path = "/v1/shared-memory/{scope}/{key}", tag = "shared memory",
    params(("scope" = String, Path), ("key" = String, Path),
        ("if-match" = Option<String>, Header, description = "The version that it must have."),
        ("if-none-match" = Option<String>, Header, description = "`*`: there may be none."),
        ("statehouse-ttl" = Option<String>, Header, description = "How long it lives: `30s`.")),
    request_body(content = Vec<u8>, content_type = "*/*"),
    responses((status = 200, body = SharedWrittenDoc)),
)]
async fn put(
    State(api): State<Api>,
    caller: Caller,
    Path((scope, key)): Path<(String, String)>,
    headers: HeaderMap,
    Raw(value): Raw,
) -> Answer {
    let rules = &api.app().config().messaging.shared_memory;
    rules.check(value.len())?;
    let memory = api.app().shared(&caller.0).await?;
    let key = memory.key(&scope.parse()?, &key)?;
    let put = PutShared {
        content_type: headers::content_type(&headers)?,
        precondition: precondition(&headers)?,
        ttl: headers::ttl(&headers)?.or(rules.ttl),
        ..PutShared::new(value)
    };
    let written = memory.put(&key, put).await?;
    if let Some(cache) = api.app().cache(&caller.0.namespace) {
        cache.heard(key.record(), written.version);
    }
    let mut response = json(&SharedWrittenDoc {
        version: written.version,
        checksum: written.checksum,
        stored_size: written.stored_size,
    });
    set(response.headers_mut(), header::ETAG, &tag(written.version));
    Ok(response)
}

/// Deletes a value.
#[utoipa::path(
    delete, path = "/v1/shared-memory/{scope}/{key}", tag = "shared memory",
    params(("scope" = String, Path), ("key" = String, Path),
        ("if-match" = Option<String>, Header, description = "The version that it must have.")),
    responses((status = 200, body = RemovedDoc)),
)]
async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path((scope, key)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let memory = api.app().shared(&caller.0).await?;
    let key = memory.key(&scope.parse()?, &key)?;
    let ended = memory.end(&key, precondition(&headers)?).await?;
    if let (Some(version), Some(cache)) = (ended, api.app().cache(&caller.0.namespace)) {
        cache.heard(key.record(), version);
    }
    let removed = ended.is_some();
    Ok(json(&RemovedDoc { removed }))
}

/// Which values.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ValueParams {
    /// Only names that match: `*` is any run of characters, `?` one, `[a-z]` one of a set.
    pattern: Option<String>,
    /// The most values of a page.
    #[serde(default)]
    limit: usize,
    /// Where the page begins: `next` of the one before.
    cursor: Option<String>,
    /// Of a stream: whether the values that are there come first.
    #[serde(default)]
    include_initial: bool,
}

/// A page of the values of a scope, by name. With `Accept: text/event-stream` a stream of what
/// happens to them from now on: events `put` and `gone`.
#[utoipa::path(
    get, path = "/v1/shared-memory/{scope}", tag = "shared memory",
    params(("scope" = String, Path), ValueParams),
    responses((status = 200, content(
        (PageDoc<SharedValueDoc> = "application/json"), (SharedValueDoc = "text/event-stream")))),
)]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    Path(scope): Path<String>,
    Query(params): Query<ValueParams>,
) -> Answer {
    let memory = api.app().shared(&caller.0).await?;
    let scope: SharedScope = scope.parse()?;
    let pattern = params.pattern.as_deref().unwrap_or("*");
    if wants_events(&headers) {
        let watch = memory
            .watch(&scope, pattern, params.include_initial)
            .await?;
        return Ok(follow(&api, watch));
    }
    let after = params.cursor.map(PageCursor);
    let page = memory.list(&scope, pattern, params.limit, after).await?;
    let values = page.items.iter();
    Ok(json(&PageDoc {
        items: values
            .map(|(key, value)| document(key.name(), value))
            .collect(),
        next: page.next.map(|next| next.0),
    }))
}

/// Deletes all values of a scope.
#[utoipa::path(
    delete, path = "/v1/shared-memory/{scope}", tag = "shared memory",
    params(("scope" = String, Path)),
    responses((status = 200, body = CountDoc)),
)]
async fn clear(State(api): State<Api>, caller: Caller, Path(scope): Path<String>) -> Answer {
    let memory = api.app().shared(&caller.0).await?;
    let scope = scope.parse()?;
    let cache = api.app().cache(&caller.0.namespace);
    let clearing = memory.clear_telling(&scope, |key, version| {
        if let Some(cache) = &cache {
            cache.heard(key.record(), version);
        }
    });
    let count = clearing.await?;
    Ok(json(&CountDoc { count }))
}

/// Of which scope.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StatsParams {
    /// `global`, `agent`, or `workflow:`, `swarm:`, `debate:` or `session:` and which one.
    scope: String,
}

/// Numbers of a scope.
#[utoipa::path(
    get, path = "/v1/shared-memory:stats", tag = "shared memory",
    params(StatsParams),
    responses((status = 200, body = SharedStatsDoc)),
)]
async fn stats(
    State(api): State<Api>,
    caller: Caller,
    Query(params): Query<StatsParams>,
) -> Answer {
    let memory = api.app().shared(&caller.0).await?;
    Ok(json(&numbers(memory.stats(&params.scope.parse()?).await?)))
}

/// Numbers of a scope as a document.
pub fn numbers(stats: SharedStats) -> SharedStatsDoc {
    SharedStatsDoc {
        keys: stats.keys,
        stored_bytes: stats.stored_bytes,
        reads: stats.reads,
        writes: stats.writes,
        conflicts: stats.conflicts,
        watches: stats.watches,
    }
}

/// Streams what a watch sees. A damaged value is told as an error, and passed over; any other error
/// ends the stream.
fn follow(api: &Api, watch: SharedWatch) -> Response {
    let stopping = api.app().draining().clone();
    let events = stream::unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        Some(match watch.next(KEEP_ALIVE).await {
            Ok(seen) => (seen.map(|seen| told(&seen)), Some(watch)),
            Err(error) if error.kind() == ErrorKind::Corrupted => {
                (Some(failure(&error)), Some(watch))
            }
            Err(error) => (Some(failure(&error)), None),
        })
    });
    let events = events.filter_map(|event| async { event });
    sse(events.take_until(stopping.cancelled_owned()))
}

fn told(seen: &SharedEvent) -> Result<Event, serde_json::Error> {
    match seen {
        SharedEvent::Put { key, value } => event("put", &document(key.name(), value)),
        SharedEvent::Gone {
            key,
            version,
            expired,
        } => event("gone", &gone(key.name(), *version, *expired)),
    }
}

/// A value as a document.
pub fn document(key: &str, value: &SharedValue) -> SharedValueDoc {
    SharedValueDoc {
        key: key.to_owned(),
        version: value.version,
        data: ContentDoc::new(&value.value, value.content_type.clone()),
        checksum: value.checksum,
        created_at: value.created_at,
        created_by: value.created_by.clone(),
        updated_at: value.updated_at,
        updated_by: value.updated_by.clone(),
        expires_at: value.expires_at,
    }
}

/// The end of a value as a document.
pub fn gone(key: &str, version: u64, expired: bool) -> SharedGoneDoc {
    SharedGoneDoc {
        key: key.to_owned(),
        version,
        expired,
    }
}
