//! Large content.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use statehouse_config::CompressionChoice;
use statehouse_contracts::{
    Bytes, Compression, Error, Holder, PageCursor, PutContent, ReferenceId, ReferenceInfo,
    ReferenceKind, ReferenceQuery, Result, Scope,
};
use statehouse_wire::{
    CollectedDoc, HoldDoc, PageDoc, PutOutcomeDoc, ReferenceInfoDoc, ReferenceStatsDoc, RemovedDoc,
    TouchDoc, header as ours,
};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::extract::{Caller, Large, Optional, Path, Query};
use super::headers::{self, has_already, parsed, set, set_ours, set_time};
use super::problem::{Answer, Problem, json};
use super::range::{Asked, asked};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, post))
        .routes(routes!(stats))
        .routes(routes!(collect))
        .routes(routes!(get, head, put, delete))
        .routes(routes!(info))
        .routes(routes!(touch))
        .routes(routes!(retain, release))
}

/// Stores the body, and answers its reference.
#[utoipa::path(
    post, path = "/v1/references", tag = "references",
    params(
        ("statehouse-holder" = Option<String>, Header, description = "Who holds it; a new holder when not given."),
        ("statehouse-reference-kind" = Option<String>, Header, description = "`large_payload` when not given."),
        ("statehouse-ttl" = Option<String>, Header),
        ("statehouse-compression" = Option<String>, Header, description = "`auto`, `none`, `gzip`, `zstd` or `lz4`."),
        ("statehouse-cache" = Option<bool>, Header, description = "Held by nobody, may be evicted.")),
    request_body(content = Vec<u8>, content_type = "*/*"),
    responses((status = 200, body = PutOutcomeDoc), (status = 201, body = PutOutcomeDoc)),
)]
async fn post(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    Large(bytes): Large,
) -> Answer {
    store(&api, &caller.0, &headers, bytes).await
}

/// Stores the body, whose id the client has computed.
#[utoipa::path(
    put, path = "/v1/references/{id}", tag = "references",
    params(("id" = String, Path, description = "The SHA-256 of the body.")),
    request_body(content = Vec<u8>, content_type = "*/*"),
    responses((status = 200, body = PutOutcomeDoc), (status = 201, body = PutOutcomeDoc)),
)]
async fn put(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<ReferenceId>,
    headers: HeaderMap,
    Large(bytes): Large,
) -> Answer {
    let found = ReferenceId::of(&bytes);
    if found != id {
        let message = format!("the body's SHA-256 is {found}, not {id}");
        return Err(Error::invalid(message).into());
    }
    store(&api, &caller.0, &headers, bytes).await
}

async fn store(api: &Api, scope: &Scope, headers: &HeaderMap, bytes: Bytes) -> Answer {
    let content = PutContent {
        bytes,
        holder: parsed(headers, ours::HOLDER, |text| Holder::new(text))?,
        kind: parsed(headers, ours::REFERENCE_KIND, word::<ReferenceKind>)?.unwrap_or_default(),
        content_type: headers::content_type(headers)?,
        ttl: headers::ttl(headers)?,
        compression: parsed(headers, ours::COMPRESSION, word::<Compression>)?
            .unwrap_or_else(|| usual(api.app().config().references.compression)),
        cache: parsed(headers, ours::CACHE, word::<bool>)?.unwrap_or_default(),
    };
    let outcome = api.app().references(scope).await?.put(content).await?;
    let created = outcome.created;
    let mut response = json(&PutOutcomeDoc::from(outcome));
    if created {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

/// A word that stands for a value in JSON too.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    let value = match text {
        "true" => serde_json::Value::Bool(true),
        "false" => serde_json::Value::Bool(false),
        _ => serde_json::Value::String(text.to_owned()),
    };
    serde_json::from_value(value)
        .map_err(|error| Error::invalid(super::suggest::clearer(&error.to_string())))
}

fn usual(choice: CompressionChoice) -> Compression {
    match choice {
        CompressionChoice::Auto => Compression::Auto,
        CompressionChoice::None => Compression::None,
        CompressionChoice::Gzip => Compression::Gzip,
        CompressionChoice::Zstd => Compression::Zstd,
        CompressionChoice::Lz4 => Compression::Lz4,
    }
}

/// The content, or with `Range` a part of it.
#[utoipa::path(
    get, path = "/v1/references/{id}", tag = "references",
    params(("id" = String, Path), ("range" = Option<String>, Header, description = "`bytes=0-1023`")),
    responses((status = 200, body = Vec<u8>, content_type = "*/*"),
        (status = 206, body = Vec<u8>, content_type = "*/*"), (status = 304)),
)]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<ReferenceId>,
    headers: HeaderMap,
) -> Answer {
    let store = api.app().references(&caller.0).await?;
    let range = headers.get(header::RANGE).and_then(|it| it.to_str().ok());
    if range.is_none() && !headers.contains_key(header::IF_NONE_MATCH) {
        let content = store.resolve(&id).await?;
        return Ok(answer(StatusCode::OK, content.bytes.into(), &content.info));
    }
    let info = store.stat(&id).await?;
    if has_already(&headers, &tag(&info)) {
        return Ok(answer(StatusCode::NOT_MODIFIED, Body::empty(), &info));
    }
    let size = info.reference.size;
    match asked(range, size) {
        Asked::All => {
            let content = store.resolve(&id).await?;
            Ok(answer(StatusCode::OK, content.bytes.into(), &content.info))
        }
        Asked::Part(range) => {
            let (first, last) = (range.start, range.end - 1);
            let bytes = store.resolve_range(&id, range).await?;
            let mut response = answer(StatusCode::PARTIAL_CONTENT, bytes.into(), &info);
            let part = format!("bytes {first}-{last}/{size}");
            set(response.headers_mut(), header::CONTENT_RANGE, &part);
            Ok(response)
        }
        Asked::Beyond => {
            let error = Error::invalid(format!("the range begins beyond the {size} bytes"));
            let mut response =
                Problem::with_status(error, StatusCode::RANGE_NOT_SATISFIABLE).into_response();
            let whole = format!("bytes */{size}");
            set(response.headers_mut(), header::CONTENT_RANGE, &whole);
            Ok(response)
        }
    }
}

/// What is known of the content, in headers.
#[utoipa::path(
    head, path = "/v1/references/{id}", tag = "references",
    params(("id" = String, Path)),
    responses((status = 200)),
)]
async fn head(State(api): State<Api>, caller: Caller, Path(id): Path<ReferenceId>) -> Answer {
    let info = api.app().references(&caller.0).await?.stat(&id).await?;
    let mut response = answer(StatusCode::OK, Body::empty(), &info);
    let size = info.reference.size.to_string();
    set(response.headers_mut(), header::CONTENT_LENGTH, &size);
    Ok(response)
}

fn tag(info: &ReferenceInfo) -> String {
    format!("\"{}\"", info.reference.id)
}

/// An answer described by what is known of the content.
fn answer(status: StatusCode, body: Body, info: &ReferenceInfo) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let content_type = info.reference.content_type.as_str();
    set(headers, header::CONTENT_TYPE, content_type);
    set(headers, header::ETAG, &tag(info));
    set(headers, header::ACCEPT_RANGES, "bytes");
    set_ours(headers, ours::REFERENCE_KIND, &name(&info.kind));
    set_ours(headers, ours::COMPRESSION, &name(&info.compression));
    set_ours(headers, ours::STORED_SIZE, &info.stored_size.to_string());
    set_ours(headers, ours::HOLDERS, &info.holders.to_string());
    set_ours(headers, ours::CACHE, &info.cache.to_string());
    set_time(headers, ours::CREATED_AT, Some(info.created_at));
    set_time(headers, ours::EXPIRES_AT, info.expires_at);
    response
}

/// The word that stands for a value in JSON.
fn name<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// What is known of the content.
#[utoipa::path(
    get, path = "/v1/references/{id}/info", tag = "references",
    params(("id" = String, Path)),
    responses((status = 200, body = ReferenceInfoDoc)),
)]
async fn info(State(api): State<Api>, caller: Caller, Path(id): Path<ReferenceId>) -> Answer {
    let info = api.app().references(&caller.0).await?.stat(&id).await?;
    Ok(json(&ReferenceInfoDoc::from(info)))
}

/// Removes the content, whoever holds it.
#[utoipa::path(
    delete, path = "/v1/references/{id}", tag = "references",
    params(("id" = String, Path)),
    responses((status = 200, body = RemovedDoc)),
)]
async fn delete(State(api): State<Api>, caller: Caller, Path(id): Path<ReferenceId>) -> Answer {
    let removed = api.app().references(&caller.0).await?.delete(&id).await?;
    Ok(json(&RemovedDoc { removed }))
}

/// Adds a holder, or renews it.
#[utoipa::path(
    put, path = "/v1/references/{id}/holders/{holder}", tag = "references",
    params(("id" = String, Path), ("holder" = String, Path)),
    request_body = Option<HoldDoc>,
    responses((status = 204)),
)]
async fn retain(
    State(api): State<Api>,
    caller: Caller,
    Path((id, holder)): Path<(ReferenceId, Holder)>,
    Optional(body): Optional<HoldDoc>,
) -> Answer<StatusCode> {
    let expires = body.expires.map(Into::into);
    let store = api.app().references(&caller.0).await?;
    store.retain(&id, &holder, expires).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a holder.
#[utoipa::path(
    delete, path = "/v1/references/{id}/holders/{holder}", tag = "references",
    params(("id" = String, Path), ("holder" = String, Path)),
    responses((status = 200, body = RemovedDoc)),
)]
async fn release(
    State(api): State<Api>,
    caller: Caller,
    Path((id, holder)): Path<(ReferenceId, Holder)>,
) -> Answer {
    let store = api.app().references(&caller.0).await?;
    let removed = store.release(&id, &holder).await?;
    Ok(json(&RemovedDoc { removed }))
}

/// Sets the life of the content anew, counted from now.
#[utoipa::path(
    post, path = "/v1/references/{id}/touch", tag = "references",
    params(("id" = String, Path)),
    request_body = Option<TouchDoc>,
    responses((status = 204)),
)]
async fn touch(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<ReferenceId>,
    Optional(body): Optional<TouchDoc>,
) -> Answer<StatusCode> {
    let store = api.app().references(&caller.0).await?;
    store.touch(&id, body.ttl.map(Into::into)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which content to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ReferenceParams {
    /// Only of this kind.
    #[param(value_type = Option<String>)]
    kind: Option<ReferenceKind>,
    /// Only what this holder holds.
    #[param(value_type = Option<String>)]
    holder: Option<Holder>,
    /// The most entries.
    #[serde(default)]
    limit: usize,
    /// Where the page begins: `next` of the one before.
    cursor: Option<String>,
}

/// A page of what is stored, in the order of ids.
#[utoipa::path(
    get, path = "/v1/references", tag = "references",
    params(ReferenceParams),
    responses((status = 200, body = PageDoc<ReferenceInfoDoc>)),
)]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(params): Query<ReferenceParams>,
) -> Answer {
    let query = ReferenceQuery {
        kind: params.kind,
        holder: params.holder,
        limit: params.limit,
        after: params.cursor.map(PageCursor),
    };
    let page = api.app().references(&caller.0).await?.list(query).await?;
    Ok(json(&PageDoc::<ReferenceInfoDoc>::new(page)))
}

/// Sums over the namespace.
#[utoipa::path(
    get, path = "/v1/references/stats", tag = "references",
    responses((status = 200, body = ReferenceStatsDoc)),
)]
async fn stats(State(api): State<Api>, caller: Caller) -> Answer {
    let stats = api.app().references(&caller.0).await?.stats().await?;
    Ok(json(&ReferenceStatsDoc::from(stats)))
}

/// Removes what has expired and what nobody holds, now.
#[utoipa::path(
    post, path = "/v1/references/gc", tag = "references",
    responses((status = 200, body = CollectedDoc)),
)]
async fn collect(State(api): State<Api>, caller: Caller) -> Answer {
    let store = api.app().references(&caller.0).await?;
    Ok(json(&CollectedDoc::from(store.collect_garbage().await?)))
}
