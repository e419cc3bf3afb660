//! The trio of main, replica and rollback store, where one is configured.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use statehouse_contracts::{Error, Id, Kind, Result, Scope, StateKey, Transaction};
use statehouse_state::{RoleStatus, Trio, TrioStatus};
use statehouse_wire::{AppliedDoc, TrioRoleDoc, TrioStatusDoc};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::extract::{Caller, Path};
use super::headers::{op_id, precondition};
use super::problem::{Answer, json};
use super::states::{raw, written};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(previous))
        .routes(routes!(restore))
}

async fn trio(api: &Api, scope: &Scope) -> Result<Trio> {
    match &api.app().backends().trio {
        Some(trio) => trio.trio(scope).await,
        None => Err(Error::unsupported(
            "a service without backends.trio",
            "trio",
        )),
    }
}

/// The three stores as they stand.
#[utoipa::path(
    get, path = "/v1/trio", tag = "trio",
    responses((status = 200, body = TrioStatusDoc)),
)]
async fn status(State(api): State<Api>, caller: Caller) -> Answer {
    let status = trio(&api, &caller.0).await?.status().await;
    Ok(json(&document(status)))
}

/// The status as a document.
pub fn document(status: TrioStatus) -> TrioStatusDoc {
    let role = |role: RoleStatus| {
        let problem = role.reachable.err();
        TrioRoleDoc {
            reachable: problem.is_none(),
            problem,
            lag: role.lag,
        }
    };
    TrioStatusDoc {
        main: role(status.main),
        replica: role(status.replica),
        rollback: role(status.rollback),
    }
}

/// The version before the latest, as the rollback store keeps it.
#[utoipa::path(
    get, path = "/v1/states/{kind}/{id}/previous", tag = "trio",
    params(("kind" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "*/*")),
)]
async fn previous(
    State(api): State<Api>,
    caller: Caller,
    Path((kind, id)): Path<(Kind, Id)>,
) -> Answer<Response> {
    let key = StateKey::new(kind, id);
    let previous = trio(&api, &caller.0).await?.previous(&key).await?;
    let previous = previous.ok_or_else(|| {
        Error::not_found(format!(
            "the rollback store has no version of {key} before its latest"
        ))
    })?;
    Ok(raw(&previous))
}

/// Writes the version before the latest to main, as a new version.
#[utoipa::path(
    post, path = "/v1/states/{kind}/{id}/restore", tag = "trio",
    params(("kind" = String, Path), ("id" = String, Path),
        ("if-match" = Option<String>, Header, description = "The version that must be live."),
        ("if-none-match" = Option<String>, Header, description = "`*`: only when it is absent."),
        ("idempotency-key" = Option<String>, Header)),
    responses((status = 200, body = AppliedDoc)),
)]
async fn restore(
    State(api): State<Api>,
    caller: Caller,
    Path((kind, id)): Path<(Kind, Id)>,
    headers: HeaderMap,
) -> Answer {
    let key = StateKey::new(kind, id);
    let trio = trio(&api, &caller.0).await?;
    let write = trio.restoration(&key, precondition(&headers)?).await?;
    let transaction = Transaction {
        op_id: op_id(&headers)?,
        ..Transaction::of(write)
    };
    // Through the service's own handle, which knows then what it wrote.
    let applied = api
        .app()
        .states(&caller.0)
        .await?
        .update(transaction)
        .await?;
    Ok(written(applied))
}
