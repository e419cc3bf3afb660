//! Looking after groups.

use axum::extract::State;
use axum::http::StatusCode;
use statehouse_contracts::{GroupName, GroupSpec};
use statehouse_wire::{
    AgeDoc, CountDoc, CountsDoc, DeadLetterDoc, DeclaredDoc, GroupSpecDoc, GroupStatusDoc,
    ItemsDoc, PageDoc, PeekedDoc, PurgeDoc, RedriveDoc, RemovedDoc, Span,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::extract::{Caller, Json, Optional, Path, Query};
use super::problem::{Answer, json};
use super::stacks::PeekParams;
use super::transactions::PageParams;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(groups))
        .routes(routes!(declare, delete))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(counts))
        .routes(routes!(oldest_age))
        .routes(routes!(peek))
        .routes(routes!(dead_letters))
        .routes(routes!(redrive))
        .routes(routes!(purge))
}

/// The groups, by name.
#[utoipa::path(
    get, path = "/v1/groups", tag = "groups",
    responses((status = 200, body = ItemsDoc<GroupStatusDoc>)),
)]
async fn groups(State(api): State<Api>, caller: Caller) -> Answer {
    let groups = api.app().consumer(&caller.0).await?.groups().await?;
    let items: Vec<GroupStatusDoc> = groups.into_iter().map(Into::into).collect();
    Ok(json(&ItemsDoc { items }))
}

/// Makes the group, or checks that it is there with the same promise.
#[utoipa::path(
    put, path = "/v1/groups/{group}", tag = "groups",
    params(("group" = String, Path)),
    request_body = GroupSpecDoc,
    responses((status = 200, body = DeclaredDoc)),
)]
async fn declare(
    State(api): State<Api>,
    caller: Caller,
    Path(group): Path<GroupName>,
    Json(body): Json<GroupSpecDoc>,
) -> Answer {
    let consumer = api.app().consumer(&caller.0).await?;
    let declared = consumer.declare(&group, &GroupSpec::from(body)).await?;
    Ok(json(&DeclaredDoc::from(declared)))
}

/// Deletes the group and what it holds.
#[utoipa::path(
    delete, path = "/v1/groups/{group}", tag = "groups",
    params(("group" = String, Path)),
    responses((status = 200, body = RemovedDoc)),
)]
async fn delete(State(api): State<Api>, caller: Caller, Path(group): Path<GroupName>) -> Answer {
    let consumer = api.app().consumer(&caller.0).await?;
    let removed = consumer.delete_group(&group).await?;
    Ok(json(&RemovedDoc { removed }))
}

/// Stops handing out.
#[utoipa::path(
    post, path = "/v1/groups/{group}/pause", tag = "groups",
    params(("group" = String, Path)),
    responses((status = 204)),
)]
async fn pause(
    State(api): State<Api>,
    caller: Caller,
    Path(group): Path<GroupName>,
) -> Answer<StatusCode> {
    api.app().consumer(&caller.0).await?.pause(&group).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Hands out again.
#[utoipa::path(
    post, path = "/v1/groups/{group}/resume", tag = "groups",
    params(("group" = String, Path)),
    responses((status = 204)),
)]
async fn resume(
    State(api): State<Api>,
    caller: Caller,
    Path(group): Path<GroupName>,
) -> Answer<StatusCode> {
    api.app().consumer(&caller.0).await?.resume(&group).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How many messages it holds.
#[utoipa::path(
    get, path = "/v1/groups/{group}/counts", tag = "groups",
    params(("group" = String, Path)),
    responses((status = 200, body = CountsDoc)),
)]
async fn counts(State(api): State<Api>, caller: Caller, Path(group): Path<GroupName>) -> Answer {
    let counts = api.app().consumer(&caller.0).await?.counts(&group).await?;
    Ok(json(&CountsDoc::from(counts)))
}

/// For how long the oldest ready message has been due.
#[utoipa::path(
    get, path = "/v1/groups/{group}/oldest-age", tag = "groups",
    params(("group" = String, Path)),
    responses((status = 200, body = AgeDoc)),
)]
async fn oldest_age(
    State(api): State<Api>,
    caller: Caller,
    Path(group): Path<GroupName>,
) -> Answer {
    let consumer = api.app().consumer(&caller.0).await?;
    let age = consumer.oldest_ready_age(&group).await?.map(Span);
    Ok(json(&AgeDoc { age }))
}

/// The next ready messages, in their order; changes nothing.
#[utoipa::path(
    get, path = "/v1/groups/{group}/peek", tag = "groups",
    params(("group" = String, Path), PeekParams),
    responses((status = 200, body = ItemsDoc<PeekedDoc>)),
)]
async fn peek(
    State(api): State<Api>,
    caller: Caller,
    Path(group): Path<GroupName>,
    Query(params): Query<PeekParams>,
) -> Answer {
    let consumer = api.app().consumer(&caller.0).await?;
    let peeked = consumer.peek(&group, params.max()).await?;
    let items: Vec<PeekedDoc> = peeked.into_iter().map(Into::into).collect();
    Ok(json(&ItemsDoc { items }))
}

/// A page of its dead letters, oldest first.
#[utoipa::path(
    get, path = "/v1/groups/{group}/dead-letters", tag = "groups",
    params(("group" = String, Path), PageParams),
    responses((status = 200, body = PageDoc<DeadLetterDoc>)),
)]
async fn dead_letters(
    State(api): State<Api>,
    caller: Caller,
    Path(group): Path<GroupName>,
    Query(params): Query<PageParams>,
) -> Answer {
    let consumer = api.app().consumer(&caller.0).await?;
    let after = params.after();
    let page = consumer
        .dead_letters(&group, params.limit, after.as_ref())
        .await?;
    Ok(json(&PageDoc::<DeadLetterDoc>::new(page)))
}

/// Puts dead letters back into their group; without a body all of them.
#[utoipa::path(
    post, path = "/v1/groups/{group}/redrive", tag = "groups",
    params(("group" = String, Path)),
    request_body = Option<RedriveDoc>,
    responses((status = 200, body = CountDoc)),
)]
async fn redrive(
    State(api): State<Api>,
    caller: Caller,
    Path(group): Path<GroupName>,
    Optional(body): Optional<RedriveDoc>,
) -> Answer {
    let consumer = api.app().consumer(&caller.0).await?;
    let count = consumer.redrive(&group, body.id).await?;
    Ok(json(&CountDoc { count }))
}

/// Deletes what is ready and delayed, or the dead letters instead.
#[utoipa::path(
    post, path = "/v1/groups/{group}/purge", tag = "groups",
    params(("group" = String, Path)),
    request_body = Option<PurgeDoc>,
    responses((status = 200, body = CountDoc)),
)]
async fn purge(
    State(api): State<Api>,
    caller: Caller,
    Path(group): Path<GroupName>,
    Optional(body): Optional<PurgeDoc>,
) -> Answer {
    let consumer = api.app().consumer(&caller.0).await?;
    let count = consumer.purge(&group, body.dead).await?;
    Ok(json(&CountDoc { count }))
}
