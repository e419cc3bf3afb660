//! Tasks by their ids and tokens.

use axum::extract::State;
use serde::Deserialize;
use statehouse_contracts::{
    Error, PageCursor, Result, StackName, TaskId, TaskQuery, TaskSettle, TaskState,
};
use statehouse_wire::{
    CountDoc, ItemsDoc, OutcomeDoc, PageDoc, TaskDoc, TaskSettleBatchDoc, TaskSettledDoc,
};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::extract::{Arrived, Caller, Json, Path, Query};
use super::problem::{Answer, json};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(settle))
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(cancel))
}

/// Completes, fails, extends or releases claimed tasks, by their tokens.
#[utoipa::path(
    post, path = "/v1/tasks/settle", tag = "tasks",
    request_body = TaskSettleBatchDoc,
    responses((status = 200, body = ItemsDoc<OutcomeDoc<TaskSettledDoc>>)),
)]
async fn settle(
    State(api): State<Api>,
    caller: Caller,
    Arrived(arrived): Arrived,
    Json(body): Json<TaskSettleBatchDoc>,
) -> Answer {
    let batch: Result<Vec<TaskSettle>> =
        body.settles.into_iter().map(TaskSettle::try_from).collect();
    let answers = api.app().tasks(&caller.0).await?.settle(batch?).await?;
    let items: Vec<OutcomeDoc<TaskSettledDoc>> = answers
        .into_iter()
        .map(|answer| OutcomeDoc::new(answer.map(|settled| TaskSettledDoc::new(&settled, arrived))))
        .collect();
    Ok(json(&ItemsDoc { items }))
}

/// Which tasks to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TaskParams {
    /// Only of this stack.
    #[param(value_type = Option<String>)]
    stack: Option<StackName>,
    /// Only in this state: `ready`, `delayed`, `running`, `suspended`, `completed`, `failed` or
    /// `cancelled`.
    #[param(value_type = Option<String>)]
    state: Option<TaskState>,
    /// Only children of this task.
    #[param(value_type = Option<String>)]
    parent: Option<TaskId>,
    /// The most tasks.
    #[serde(default)]
    limit: usize,
    /// Where the page begins: `next` of the one before.
    cursor: Option<String>,
}

/// A page of tasks, newest first.
#[utoipa::path(
    get, path = "/v1/tasks", tag = "tasks",
    params(TaskParams),
    responses((status = 200, body = PageDoc<TaskDoc>)),
)]
async fn list(State(api): State<Api>, caller: Caller, Query(params): Query<TaskParams>) -> Answer {
    let query = TaskQuery {
        stack: params.stack,
        state: params.state,
        parent: params.parent,
        limit: params.limit,
        after: params.cursor.map(PageCursor),
    };
    let page = api.app().tasks(&caller.0).await?.list(query).await?;
    Ok(json(&PageDoc::<TaskDoc>::new(page)))
}

/// A task as it stands.
#[utoipa::path(
    get, path = "/v1/tasks/{id}", tag = "tasks",
    params(("id" = String, Path)),
    responses((status = 200, body = TaskDoc)),
)]
async fn get(State(api): State<Api>, caller: Caller, Path(id): Path<TaskId>) -> Answer {
    let task = api.app().tasks(&caller.0).await?.get(&id).await?;
    let task = task.ok_or_else(|| Error::not_found(format!("there is no task {id}")))?;
    Ok(json(&TaskDoc::from(task)))
}

/// Cancels a task and everything below it.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/cancel", tag = "tasks",
    params(("id" = String, Path)),
    responses((status = 200, body = CountDoc)),
)]
async fn cancel(State(api): State<Api>, caller: Caller, Path(id): Path<TaskId>) -> Answer {
    let count = api.app().tasks(&caller.0).await?.cancel(&id).await?;
    Ok(json(&CountDoc { count }))
}
