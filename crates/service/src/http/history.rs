//! Versions of states.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use statehouse_contracts::{HistoryQuery, Id, Kind, StateKey, Version};
use statehouse_wire::{ItemsDoc, RecordDoc};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::extract::{Caller, Path, Query};
use super::problem::{Answer, json};
use super::states::raw;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(history))
        .routes(routes!(version))
}

/// Which versions to read.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HistoryParams {
    /// Only versions below this one.
    before: Option<Version>,
    /// The most versions.
    #[serde(default)]
    limit: usize,
    /// Whether their data is read. Default true.
    data: Option<bool>,
}

/// The versions that are kept, newest first, tombstones included.
#[utoipa::path(
    get, path = "/v1/states/{kind}/{id}/versions", tag = "states",
    params(("kind" = String, Path), ("id" = String, Path), HistoryParams),
    responses((status = 200, body = ItemsDoc<RecordDoc>)),
)]
async fn history(
    State(api): State<Api>,
    caller: Caller,
    Path((kind, id)): Path<(Kind, Id)>,
    Query(params): Query<HistoryParams>,
) -> Answer {
    let query = HistoryQuery {
        before: params.before,
        limit: params.limit,
        data: params.data.unwrap_or(true),
    };
    let key = StateKey::new(kind, id);
    let state = api.app().state(&caller.0).await?;
    let versions = state.history(&key, query).await?;
    let items: Vec<RecordDoc> = versions.into_iter().map(Into::into).collect();
    Ok(json(&ItemsDoc { items }))
}

/// One version, as it was put; a tombstone is empty and says so in a header.
#[utoipa::path(
    get, path = "/v1/states/{kind}/{id}/versions/{version}", tag = "states",
    params(("kind" = String, Path), ("id" = String, Path), ("version" = u64, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "*/*")),
)]
async fn version(
    State(api): State<Api>,
    caller: Caller,
    Path((kind, id, version)): Path<(Kind, Id, Version)>,
) -> Answer<Response> {
    let key = StateKey::new(kind, id);
    let state = api.app().state(&caller.0).await?;
    Ok(raw(&state.read_version(&key, version).await?))
}
