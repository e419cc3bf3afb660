//! The change log: by pages, or as a stream of events.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream, StreamExt};
use serde::{Deserialize, Serialize};
use statehouse_contracts::{
    Change, ChangePage, Cursor, Error, Glob, Kind, Result, StateManager, Trim,
};
use statehouse_state::{Watch, WatchFilter};
use statehouse_wire::{
    ChangeDoc, ChangePageDoc, CountDoc, CursorDoc, ErrorDocument, Span, TrimDoc,
};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::extract::{Caller, Json, Query, cut};
use super::headers::text;
use super::problem::{Answer, json};

/// How often a stream without events says that it is alive.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(changes))
        .routes(routes!(head))
        .routes(routes!(oldest))
        .routes(routes!(trim))
}

/// Which changes to read.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ChangeParams {
    /// Changes after this cursor. Not given: from the oldest, or of a stream from now.
    after: Option<String>,
    /// The most changes of a page.
    #[serde(default)]
    limit: usize,
    /// How long to wait for the first: `30s`.
    #[serde(default)]
    wait: Span,
    /// Only of this kind.
    #[param(value_type = Option<String>)]
    kind: Option<Kind>,
    /// Only of ids that match: `*`, `?`, `[a-z]`.
    glob: Option<String>,
}

impl ChangeParams {
    fn filter(&self) -> Result<WatchFilter> {
        Ok(WatchFilter {
            kind: self.kind.clone(),
            glob: self.glob.as_deref().map(Glob::new).transpose()?,
        })
    }
}

/// Changes after a cursor. With `Accept: text/event-stream` a stream of events, which resumes from
/// `Last-Event-ID`.
#[utoipa::path(
    get, path = "/v1/changes", tag = "changes",
    params(ChangeParams, ("last-event-id" = Option<String>, Header)),
    responses((status = 200, content((ChangePageDoc = "application/json"), (ChangeDoc = "text/event-stream")))),
)]
async fn changes(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    Query(params): Query<ChangeParams>,
) -> Answer {
    let state = api.app().state(&caller.0).await?;
    let filter = params.filter()?;
    if wants_events(&headers) {
        let last = text(&headers, "last-event-id")?.or(params.after);
        let after = match last {
            Some(cursor) => Cursor(cursor),
            None => state.head().await?,
        };
        return follow(api, Watch::new(state, filter, after)).await;
    }
    let after = match params.after.clone() {
        Some(cursor) => Cursor(cursor),
        None => state.oldest().await?,
    };
    let nothing = ChangePage {
        changes: Vec::new(),
        next: after.clone(),
    };
    let wait = cut(params.wait.into(), &api);
    let reading = page(&*state, &filter, after, params.limit, wait);
    let page = api.waiting(nothing, reading).await?;
    Ok(json(&ChangePageDoc::from(page)))
}

/// A page of what the filter lets through; waits on while it lets nothing through.
async fn page(
    state: &dyn StateManager,
    filter: &WatchFilter,
    mut after: Cursor,
    limit: usize,
    wait: Duration,
) -> Result<ChangePage> {
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let mut page = state.changes(&after, limit, left).await?;
        let none = page.changes.is_empty();
        page.changes.retain(|change| filter.matches(change));
        if !page.changes.is_empty() || none || left.is_zero() {
            return Ok(page);
        }
        after = page.next;
    }
}

/// Whether the client asks for a stream of events.
pub(super) fn wants_events(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/event-stream"))
}

/// Streams the changes of `watch`. A cursor that cannot be resumed from is refused before the
/// stream begins.
async fn follow(api: Api, mut watch: Watch) -> Answer {
    let first = watch.next(Duration::ZERO).await?;
    let stopping = api.app().draining().clone();
    let rest = stream::unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next(KEEP_ALIVE).await {
            Ok(changes) => Some((Ok(changes), Some(watch))),
            Err(error) => Some((Err(error), None)),
        }
    });
    let pages = stream::once(async { Ok(first) }).chain(rest);
    let events = pages
        .flat_map(|page| stream::iter(events(page)))
        .take_until(stopping.cancelled_owned());
    Ok(sse(events))
}

fn events(page: Result<Vec<Change>>) -> Vec<Result<Event, serde_json::Error>> {
    match page {
        Ok(changes) => changes
            .into_iter()
            .map(|change| {
                let id = change.cursor.0.clone();
                Ok(event("change", &ChangeDoc::from(change))?.id(id))
            })
            .collect(),
        Err(error) => vec![failure(&error)],
    }
}

/// The last event of a stream that fails.
pub(super) fn failure(error: &Error) -> Result<Event, serde_json::Error> {
    event("error", &ErrorDocument::from(error))
}

/// An event with a document.
pub(super) fn event<T: Serialize>(name: &str, document: &T) -> Result<Event, serde_json::Error> {
    let text = serde_json::to_string(document)?;
    Ok(Event::default().event(name).data(text))
}

/// A stream of events that says from time to time that it is alive.
pub(super) fn sse(
    events: impl Stream<Item = Result<Event, serde_json::Error>> + Send + 'static,
) -> Response {
    let alive = KeepAlive::new().interval(KEEP_ALIVE);
    Sse::new(events).keep_alive(alive).into_response()
}

/// The end of the log now.
#[utoipa::path(
    get, path = "/v1/changes/head", tag = "changes",
    responses((status = 200, body = CursorDoc)),
)]
async fn head(State(api): State<Api>, caller: Caller) -> Answer {
    let head = api.app().state(&caller.0).await?.head().await?;
    Ok(json(&CursorDoc::from(head)))
}

/// The oldest place that can be resumed from.
#[utoipa::path(
    get, path = "/v1/changes/oldest", tag = "changes",
    responses((status = 200, body = CursorDoc)),
)]
async fn oldest(State(api): State<Api>, caller: Caller) -> Answer {
    let oldest = api.app().state(&caller.0).await?.oldest().await?;
    Ok(json(&CursorDoc::from(oldest)))
}

/// Trims the log, as far as its followers allow.
#[utoipa::path(
    post, path = "/v1/changes/trim", tag = "changes",
    request_body = TrimDoc,
    responses((status = 200, body = CountDoc)),
)]
async fn trim(State(api): State<Api>, caller: Caller, Json(body): Json<TrimDoc>) -> Answer {
    let state = api.app().state(&caller.0).await?;
    let count = state.trim(Trim::from(body)).await?;
    Ok(json(&CountDoc { count }))
}
