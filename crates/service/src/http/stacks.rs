//! Stacks of tasks.

use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;
use statehouse_contracts::StackName;
use statehouse_wire::{
    ClaimDoc, ClaimRequestDoc, ItemsDoc, PushDoc, PushedDoc, StackDepthDoc, TaskDoc,
};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::extract::{Arrived, Caller, Json, Path, Query, cut};
use super::headers::op_id;
use super::problem::{Answer, json};
use super::transactions::one_identity;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(stacks))
        .routes(routes!(push))
        .routes(routes!(claim))
        .routes(routes!(peek))
        .routes(routes!(depth))
}

/// The stacks that hold unfinished tasks, by name.
#[utoipa::path(
    get, path = "/v1/stacks", tag = "tasks",
    responses((status = 200, body = ItemsDoc<String>)),
)]
async fn stacks(State(api): State<Api>, caller: Caller) -> Answer {
    let items = api.app().tasks(&caller.0).await?.stacks().await?;
    Ok(json(&ItemsDoc { items }))
}

/// Pushes tasks, all or none; the last is the newest.
#[utoipa::path(
    post, path = "/v1/stacks/{stack}/tasks", tag = "tasks",
    params(("stack" = String, Path), ("idempotency-key" = Option<String>, Header)),
    request_body = PushDoc,
    responses((status = 200, body = ItemsDoc<PushedDoc>)),
)]
async fn push(
    State(api): State<Api>,
    caller: Caller,
    Path(stack): Path<StackName>,
    headers: HeaderMap,
    Json(body): Json<PushDoc>,
) -> Answer {
    let mut push = body.push(stack)?;
    push.op_id = one_identity(op_id(&headers)?, push.op_id)?;
    let pushed = api.app().tasks(&caller.0).await?.push(push).await?;
    let items: Vec<PushedDoc> = pushed.into_iter().map(Into::into).collect();
    Ok(json(&ItemsDoc { items }))
}

/// Claims the newest ready tasks; with `wait` it waits for the first.
#[utoipa::path(
    post, path = "/v1/stacks/{stack}/claim", tag = "tasks",
    params(("stack" = String, Path)),
    request_body = ClaimRequestDoc,
    responses((status = 200, body = ItemsDoc<ClaimDoc>)),
)]
async fn claim(
    State(api): State<Api>,
    caller: Caller,
    Path(stack): Path<StackName>,
    Arrived(arrived): Arrived,
    Json(body): Json<ClaimRequestDoc>,
) -> Answer {
    let mut request = body.request(stack);
    request.wait = cut(request.wait, &api);
    let tasks = api.app().tasks(&caller.0).await?;
    let claims = api.waiting(Vec::new(), tasks.claim(request)).await?;
    let items: Vec<ClaimDoc> = claims
        .into_iter()
        .map(|claim| ClaimDoc::new(claim, arrived))
        .collect();
    Ok(json(&ItemsDoc { items }))
}

/// How many to look at.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PeekParams {
    /// The most entries. Default 10.
    max: Option<usize>,
}

impl PeekParams {
    pub(super) fn max(&self) -> usize {
        self.max.unwrap_or(10)
    }
}

/// The next ready tasks, in the order of their claims; changes nothing.
#[utoipa::path(
    get, path = "/v1/stacks/{stack}/peek", tag = "tasks",
    params(("stack" = String, Path), PeekParams),
    responses((status = 200, body = ItemsDoc<TaskDoc>)),
)]
async fn peek(
    State(api): State<Api>,
    caller: Caller,
    Path(stack): Path<StackName>,
    Query(params): Query<PeekParams>,
) -> Answer {
    let tasks = api.app().tasks(&caller.0).await?;
    let peeked = tasks.peek(&stack, params.max()).await?;
    let items: Vec<TaskDoc> = peeked.into_iter().map(Into::into).collect();
    Ok(json(&ItemsDoc { items }))
}

/// How many tasks a stack holds.
#[utoipa::path(
    get, path = "/v1/stacks/{stack}/depth", tag = "tasks",
    params(("stack" = String, Path)),
    responses((status = 200, body = StackDepthDoc)),
)]
async fn depth(State(api): State<Api>, caller: Caller, Path(stack): Path<StackName>) -> Answer {
    let depth = api.app().tasks(&caller.0).await?.depth(&stack).await?;
    Ok(json(&StackDepthDoc::from(depth)))
}
