//! States, one key at a time.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use statehouse_contracts::{
    Applied, Direction, Error, Glob, Id, Kind, ListQuery, Operation, PageCursor, Record,
    RollbackTo, Scope, StateKey, StateManagerExt, Transaction, Write,
};
use statehouse_wire::{
    AppliedDoc, ItemsDoc, KeysDoc, PageDoc, RecordDoc, RollbackDoc, header as ours,
};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::extract::{Caller, Json, Optional, Path, Query, Raw};
use super::headers::{self, describe, has_already, op_id, precondition, set, tag};
use super::problem::{Answer, json};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(get, put, delete))
        .routes(routes!(append))
        .routes(routes!(rollback))
        .routes(routes!(list))
        .routes(routes!(batch_get))
}

/// The live record, as it was put. Its fields are in the headers.
#[utoipa::path(
    get, path = "/v1/states/{kind}/{id}", tag = "states",
    params(("kind" = String, Path), ("id" = String, Path),
        ("if-none-match" = Option<String>, Header, description = "A version the client has.")),
    responses((status = 200, body = Vec<u8>, content_type = "*/*"), (status = 304)),
)]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    Path((kind, id)): Path<(Kind, Id)>,
    headers: HeaderMap,
) -> Answer {
    let key = StateKey::new(kind, id);
    let service = api.app().states(&caller.0).await?;
    let fresh = headers
        .get(header::CACHE_CONTROL)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"no-cache"));
    let found = match fresh {
        true => service.manager().get(&key).await?.map(Into::into),
        false => service.get(&key).await?,
    };
    let Some(record) = found else {
        return Err(Error::not_found(format!("there is no state {key}")).into());
    };
    if has_already(&headers, &tag(record.version)) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        set(response.headers_mut(), header::ETAG, &tag(record.version));
        return Ok(response);
    }
    Ok(raw(&record))
}

/// A record as raw bytes, described by headers.
pub(super) fn raw(record: &Record) -> Response {
    let mut response = Response::new(Body::from(record.data.clone()));
    describe(response.headers_mut(), record);
    response
}

/// Replaces the whole record by the body.
#[utoipa::path(
    put, path = "/v1/states/{kind}/{id}", tag = "states",
    params(("kind" = String, Path), ("id" = String, Path),
        ("if-match" = Option<String>, Header, description = "The version that must be live."),
        ("if-none-match" = Option<String>, Header, description = "`*`: nothing may be live."),
        ("idempotency-key" = Option<String>, Header),
        ("statehouse-ttl" = Option<String>, Header, description = "How long it lives: `30s`."),
        ("statehouse-schema" = Option<String>, Header)),
    request_body(content = Vec<u8>, content_type = "*/*"),
    responses((status = 200, body = AppliedDoc)),
)]
async fn put(
    State(api): State<Api>,
    caller: Caller,
    Path((kind, id)): Path<(Kind, Id)>,
    headers: HeaderMap,
    Raw(data): Raw,
) -> Answer {
    let operation = Operation::Put {
        data,
        content_type: headers::content_type(&headers)?,
        schema: headers::text(&headers, ours::SCHEMA)?,
        ttl: headers::ttl(&headers)?,
    };
    write(
        &api,
        &caller.0,
        StateKey::new(kind, id),
        operation,
        &headers,
    )
    .await
}

/// Deletes the record: its next version is a tombstone.
#[utoipa::path(
    delete, path = "/v1/states/{kind}/{id}", tag = "states",
    params(("kind" = String, Path), ("id" = String, Path),
        ("if-match" = Option<String>, Header, description = "The version that must be live."),
        ("idempotency-key" = Option<String>, Header)),
    responses((status = 200, body = AppliedDoc)),
)]
async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path((kind, id)): Path<(Kind, Id)>,
    headers: HeaderMap,
) -> Answer {
    let key = StateKey::new(kind, id);
    write(&api, &caller.0, key, Operation::Delete, &headers).await
}

/// Appends the body to the record.
#[utoipa::path(
    post, path = "/v1/states/{kind}/{id}/append", tag = "states",
    params(("kind" = String, Path), ("id" = String, Path),
        ("if-match" = Option<String>, Header, description = "The version that must be live."),
        ("if-none-match" = Option<String>, Header, description = "`*`: nothing may be live."),
        ("idempotency-key" = Option<String>, Header)),
    request_body(content = Vec<u8>, content_type = "*/*"),
    responses((status = 200, body = AppliedDoc)),
)]
async fn append(
    State(api): State<Api>,
    caller: Caller,
    Path((kind, id)): Path<(Kind, Id)>,
    headers: HeaderMap,
    Raw(data): Raw,
) -> Answer {
    let key = StateKey::new(kind, id);
    write(&api, &caller.0, key, Operation::Append { data }, &headers).await
}

/// Goes back to an earlier version, as a new one; without a body to the previous.
#[utoipa::path(
    post, path = "/v1/states/{kind}/{id}/rollback", tag = "states",
    params(("kind" = String, Path), ("id" = String, Path),
        ("if-match" = Option<String>, Header, description = "The version that must be live."),
        ("idempotency-key" = Option<String>, Header)),
    request_body = Option<RollbackDoc>,
    responses((status = 200, body = AppliedDoc)),
)]
async fn rollback(
    State(api): State<Api>,
    caller: Caller,
    Path((kind, id)): Path<(Kind, Id)>,
    headers: HeaderMap,
    Optional(body): Optional<Option<RollbackDoc>>,
) -> Answer {
    let to = body.map_or(RollbackTo::Previous, |body| body.to);
    let key = StateKey::new(kind, id);
    write(&api, &caller.0, key, Operation::Rollback { to }, &headers).await
}

async fn write(
    api: &Api,
    scope: &Scope,
    key: StateKey,
    operation: Operation,
    headers: &HeaderMap,
) -> Answer {
    let transaction = Transaction {
        op_id: op_id(headers)?,
        ..Transaction::of(Write {
            key,
            operation,
            precondition: precondition(headers)?,
        })
    };
    let applied = api.app().states(scope).await?.update(transaction).await?;
    Ok(written(applied))
}

/// The answer to a transaction of one write.
pub(super) fn written(applied: Applied) -> Response {
    let version = applied.versions.first().copied().unwrap_or_default();
    let mut response = json(&AppliedDoc::from(applied));
    if version > 0 {
        set(response.headers_mut(), header::ETAG, &tag(version));
    }
    response
}

/// Which records to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Only ids that begin so.
    prefix: Option<String>,
    /// Only ids that match: `*`, `?`, `[a-z]`.
    glob: Option<String>,
    /// `ascending` (default) or `descending` byte order of the id.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    direction: Direction,
    /// Whether tombstones are listed as well.
    #[serde(default)]
    tombstones: bool,
    /// The most records.
    #[serde(default)]
    limit: usize,
    /// Where the page begins: `next` of the one before.
    cursor: Option<String>,
}

/// A page of the live records of a kind.
#[utoipa::path(
    get, path = "/v1/states/{kind}", tag = "states",
    params(("kind" = String, Path), ListParams),
    responses((status = 200, body = PageDoc<RecordDoc>)),
)]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path(kind): Path<Kind>,
    Query(params): Query<ListParams>,
) -> Answer {
    let query = ListQuery {
        kind,
        prefix: params.prefix,
        glob: params.glob.as_deref().map(Glob::new).transpose()?,
        direction: params.direction,
        tombstones: params.tombstones,
        limit: params.limit,
        after: params.cursor.map(PageCursor),
    };
    let page = api.app().state(&caller.0).await?.list(query).await?;
    Ok(json(&PageDoc::<RecordDoc>::new(page)))
}

/// The live records of these keys, in their order; `null` for what is absent.
#[utoipa::path(
    post, path = "/v1/states:batchGet", tag = "states",
    request_body = KeysDoc,
    responses((status = 200, body = ItemsDoc<Option<RecordDoc>>)),
)]
async fn batch_get(State(api): State<Api>, caller: Caller, Json(body): Json<KeysDoc>) -> Answer {
    let keys: Vec<StateKey> = body.keys.into_iter().map(Into::into).collect();
    let records = api.app().state(&caller.0).await?.get_many(&keys).await?;
    let items: Vec<Option<RecordDoc>> = records
        .into_iter()
        .map(|record| record.map(Into::into))
        .collect();
    Ok(json(&ItemsDoc { items }))
}
