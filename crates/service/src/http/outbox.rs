//! The outbox, for relays and operators.

use axum::extract::State;
use axum::http::StatusCode;
use statehouse_contracts::LeaseToken;
use statehouse_wire::{
    CountDoc, ItemsDoc, LeaseDoc, OutboxEntryDoc, OutboxExtendDoc, OutboxLeaseDoc, OutboxReadDoc,
    OutboxReleaseDoc, OutboxSettleBatchDoc, PageDoc,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::extract::{Arrived, Caller, Json, Path, Query, cut};
use super::problem::{Answer, json};
use super::transactions::PageParams;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(lease))
        .routes(routes!(extend))
        .routes(routes!(release))
        .routes(routes!(read))
        .routes(routes!(settle))
        .routes(routes!(depth))
        .routes(routes!(parked))
        .routes(routes!(unpark))
        .routes(routes!(discard))
}

/// Takes the lease; `null` while another owner holds it.
#[utoipa::path(
    post, path = "/v1/outbox/lease", tag = "outbox",
    request_body = OutboxLeaseDoc,
    responses((status = 200, body = Option<LeaseDoc>)),
)]
async fn lease(
    State(api): State<Api>,
    caller: Caller,
    Arrived(arrived): Arrived,
    Json(body): Json<OutboxLeaseDoc>,
) -> Answer {
    let state = api.app().state(&caller.0).await?;
    let lease = state.outbox_lease(&body.owner, body.lease.into()).await?;
    Ok(json(&lease.map(|lease| LeaseDoc::new(&lease, arrived))))
}

/// Makes the lease last from now, under the same token.
#[utoipa::path(
    post, path = "/v1/outbox/extend", tag = "outbox",
    request_body = OutboxExtendDoc,
    responses((status = 200, body = LeaseDoc)),
)]
async fn extend(
    State(api): State<Api>,
    caller: Caller,
    Arrived(arrived): Arrived,
    Json(body): Json<OutboxExtendDoc>,
) -> Answer {
    let token = LeaseToken::new(body.token)?;
    let state = api.app().state(&caller.0).await?;
    let lease = state.outbox_extend(&token, body.lease.into()).await?;
    Ok(json(&LeaseDoc::new(&lease, arrived)))
}

/// Gives the lease back.
#[utoipa::path(
    post, path = "/v1/outbox/release", tag = "outbox",
    request_body = OutboxReleaseDoc,
    responses((status = 204)),
)]
async fn release(
    State(api): State<Api>,
    caller: Caller,
    Json(body): Json<OutboxReleaseDoc>,
) -> Answer<StatusCode> {
    let token = LeaseToken::new(body.token)?;
    let state = api.app().state(&caller.0).await?;
    state.outbox_release(&token).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Entries to send, in order.
#[utoipa::path(
    post, path = "/v1/outbox/read", tag = "outbox",
    request_body = OutboxReadDoc,
    responses((status = 200, body = ItemsDoc<OutboxEntryDoc>)),
)]
async fn read(State(api): State<Api>, caller: Caller, Json(body): Json<OutboxReadDoc>) -> Answer {
    let token = LeaseToken::new(body.token)?;
    let state = api.app().state(&caller.0).await?;
    let wait = cut(body.wait.into(), &api);
    let reading = state.outbox_read(&token, body.after, body.limit, wait);
    let entries = api.waiting(Vec::new(), reading).await?;
    let items: Vec<OutboxEntryDoc> = entries.into_iter().map(Into::into).collect();
    Ok(json(&ItemsDoc { items }))
}

/// Settles entries; what is settled already is passed over.
#[utoipa::path(
    post, path = "/v1/outbox/settle", tag = "outbox",
    request_body = OutboxSettleBatchDoc,
    responses((status = 204)),
)]
async fn settle(
    State(api): State<Api>,
    caller: Caller,
    Json(body): Json<OutboxSettleBatchDoc>,
) -> Answer<StatusCode> {
    let token = LeaseToken::new(body.token)?;
    let settles = body.settles.into_iter().map(Into::into).collect();
    let state = api.app().state(&caller.0).await?;
    state.outbox_settle(&token, settles).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How many entries wait, parked ones not counted.
#[utoipa::path(
    get, path = "/v1/outbox/depth", tag = "outbox",
    responses((status = 200, body = CountDoc)),
)]
async fn depth(State(api): State<Api>, caller: Caller) -> Answer {
    let count = api.app().state(&caller.0).await?.outbox_depth().await?;
    Ok(json(&CountDoc { count }))
}

/// A page of parked entries, in order.
#[utoipa::path(
    get, path = "/v1/outbox/parked", tag = "outbox",
    params(PageParams),
    responses((status = 200, body = PageDoc<OutboxEntryDoc>)),
)]
async fn parked(
    State(api): State<Api>,
    caller: Caller,
    Query(params): Query<PageParams>,
) -> Answer {
    let state = api.app().state(&caller.0).await?;
    let after = params.after();
    let page = state.outbox_parked(params.limit, after.as_ref()).await?;
    Ok(json(&PageDoc::<OutboxEntryDoc>::new(page)))
}

/// Lets a parked entry be sent again, at its old place.
#[utoipa::path(
    post, path = "/v1/outbox/parked/{position}/release", tag = "outbox",
    params(("position" = u64, Path)),
    responses((status = 204)),
)]
async fn unpark(
    State(api): State<Api>,
    caller: Caller,
    Path(position): Path<u64>,
) -> Answer<StatusCode> {
    let state = api.app().state(&caller.0).await?;
    state.outbox_unpark(position).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Drops a parked entry.
#[utoipa::path(
    delete, path = "/v1/outbox/parked/{position}", tag = "outbox",
    params(("position" = u64, Path)),
    responses((status = 204)),
)]
async fn discard(
    State(api): State<Api>,
    caller: Caller,
    Path(position): Path<u64>,
) -> Answer<StatusCode> {
    let state = api.app().state(&caller.0).await?;
    state.outbox_discard(position).await?;
    Ok(StatusCode::NO_CONTENT)
}
