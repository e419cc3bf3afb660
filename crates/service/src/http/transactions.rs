//! Transactions, and what concerns all states of a namespace.

use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;
use statehouse_contracts::{
    Error, MessageDelivery, PageCursor, Prune, Record, Result, StateKey, Transaction,
};
use statehouse_wire::{
    AppliedDoc, ImportDoc, ItemsDoc, PageDoc, PruneDoc, PrunedDoc, RecordDoc, TransactionDoc,
};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::extract::{Caller, Json, Query};
use super::headers::op_id;
use super::problem::{Answer, json};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(apply))
        .routes(routes!(prune))
        .routes(routes!(export))
        .routes(routes!(import))
}

/// Where a page begins, and how long it is.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageParams {
    /// The most entries.
    #[serde(default)]
    pub(super) limit: usize,
    /// Where the page begins: `next` of the one before.
    cursor: Option<String>,
}

impl PageParams {
    pub(super) fn after(&self) -> Option<PageCursor> {
        self.cursor.clone().map(PageCursor)
    }
}

/// Applies writes and messages, all or nothing.
#[utoipa::path(
    post, path = "/v1/apply", tag = "states",
    params(("idempotency-key" = Option<String>, Header)),
    request_body = TransactionDoc,
    responses((status = 200, body = AppliedDoc)),
)]
async fn apply(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    Json(body): Json<TransactionDoc>,
) -> Answer {
    let mut transaction = Transaction::try_from(body)?;
    transaction.op_id = one_identity(op_id(&headers)?, transaction.op_id)?;
    if transaction.delivery == MessageDelivery::Local {
        // What goes by the outbox is sent by the relay, which makes them itself.
        let topics = transaction.messages.iter().map(|message| &message.topic);
        api.app().make_mailboxes(&caller.0, topics).await?;
    }
    let states = api.app().states(&caller.0).await?;
    Ok(json(&AppliedDoc::from(states.update(transaction).await?)))
}

/// The op_id of the header or of the body.
///
/// # Errors
/// `InvalidArgument` when both are given and differ.
pub(super) fn one_identity<T: PartialEq>(header: Option<T>, body: Option<T>) -> Result<Option<T>> {
    match (header, body) {
        (Some(header), Some(body)) if header != body => Err(Error::invalid(
            "Idempotency-Key and op_id are both given and differ",
        )),
        (header, body) => Ok(header.or(body)),
    }
}

/// Forgets old versions.
#[utoipa::path(
    post, path = "/v1/prune", tag = "states",
    request_body = PruneDoc,
    responses((status = 200, body = PrunedDoc)),
)]
async fn prune(State(api): State<Api>, caller: Caller, Json(body): Json<PruneDoc>) -> Answer {
    let state = api.app().state(&caller.0).await?;
    let pruned = state.prune(Prune::try_from(body)?).await?;
    Ok(json(&PrunedDoc::from(pruned)))
}

/// A page of the current records of all kinds, tombstones included.
#[utoipa::path(
    get, path = "/v1/export", tag = "states",
    params(PageParams),
    responses((status = 200, body = PageDoc<RecordDoc>)),
)]
async fn export(
    State(api): State<Api>,
    caller: Caller,
    Query(params): Query<PageParams>,
) -> Answer {
    let state = api.app().state(&caller.0).await?;
    let page = state.export(params.limit, params.after().as_ref()).await?;
    Ok(json(&PageDoc::<RecordDoc>::new(page)))
}

/// Writes records as they are, each where its key is unknown or at a lower version.
#[utoipa::path(
    post, path = "/v1/import", tag = "states",
    request_body = ImportDoc,
    responses((status = 200, body = ItemsDoc<bool>)),
)]
async fn import(State(api): State<Api>, caller: Caller, Json(body): Json<ImportDoc>) -> Answer {
    let records: Result<Vec<Record>> = body.records.into_iter().map(Record::try_from).collect();
    let records = records?;
    let versions: Vec<(StateKey, u64)> = records
        .iter()
        .map(|record| (record.key.clone(), record.version))
        .collect();
    let state = api.app().state(&caller.0).await?;
    let items = state.import(records).await?;
    if let Some(cache) = api.app().cache(&caller.0.namespace) {
        for (key, version) in versions {
            cache.heard(&key, version);
        }
    }
    Ok(json(&ItemsDoc { items }))
}
