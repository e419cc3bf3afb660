//! Followers of the change log.

use axum::extract::State;
use axum::http::StatusCode;
use statehouse_contracts::{Cursor, FollowerName};
use statehouse_wire::{AdvanceDoc, FollowDoc, FollowerDoc, ItemsDoc, RemovedDoc};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::extract::{Caller, Json, Optional, Path};
use super::problem::{Answer, json};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(followers))
        .routes(routes!(follow, unfollow))
        .routes(routes!(advance))
}

/// The followers, by name.
#[utoipa::path(
    get, path = "/v1/changes/followers", tag = "changes",
    responses((status = 200, body = ItemsDoc<FollowerDoc>)),
)]
async fn followers(State(api): State<Api>, caller: Caller) -> Answer {
    let followers = api.app().state(&caller.0).await?.followers().await?;
    let items: Vec<FollowerDoc> = followers.into_iter().map(Into::into).collect();
    Ok(json(&ItemsDoc { items }))
}

/// Makes the follower, or finds it as it is.
#[utoipa::path(
    put, path = "/v1/changes/followers/{name}", tag = "changes",
    params(("name" = String, Path)),
    request_body = Option<FollowDoc>,
    responses((status = 200, body = FollowerDoc)),
)]
async fn follow(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<FollowerName>,
    Optional(body): Optional<FollowDoc>,
) -> Answer {
    let state = api.app().state(&caller.0).await?;
    let follower = state.follow(&name, body.into()).await?;
    Ok(json(&FollowerDoc::from(follower)))
}

/// Moves the follower on; backwards does nothing.
#[utoipa::path(
    post, path = "/v1/changes/followers/{name}/advance", tag = "changes",
    params(("name" = String, Path)),
    request_body = AdvanceDoc,
    responses((status = 204)),
)]
async fn advance(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<FollowerName>,
    Json(body): Json<AdvanceDoc>,
) -> Answer<StatusCode> {
    let state = api.app().state(&caller.0).await?;
    state.advance(&name, &Cursor(body.cursor)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes the follower.
#[utoipa::path(
    delete, path = "/v1/changes/followers/{name}", tag = "changes",
    params(("name" = String, Path)),
    responses((status = 200, body = RemovedDoc)),
)]
async fn unfollow(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<FollowerName>,
) -> Answer {
    let removed = api.app().state(&caller.0).await?.unfollow(&name).await?;
    Ok(json(&RemovedDoc { removed }))
}
