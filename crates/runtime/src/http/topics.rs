//! Topics: publishing to them, and listening without a group.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::Event;
use futures::stream::{self, StreamExt};
use statehouse_contracts::{Broadcast, BroadcastEvent, Error, ErrorKind, Pattern, Result, Topic};
use statehouse_wire::{GapDoc, PublishDoc, ReceivedDoc, SentDoc};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::changes::{KEEP_ALIVE, event, failure, sse, wants_events};
use super::extract::{Caller, Json, Path};
use super::messages::send_one;
use super::problem::{Answer, Problem, json};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(publish, subscribe))
}

/// Sends a message to every group that hears the topic, and to all who listen.
#[utoipa::path(
    post, path = "/v1/topics/{topic}", tag = "messages",
    params(("topic" = String, Path)),
    request_body = PublishDoc,
    responses((status = 200, body = SentDoc)),
)]
async fn publish(
    State(api): State<Api>,
    caller: Caller,
    Path(topic): Path<Topic>,
    Json(body): Json<PublishDoc>,
) -> Answer {
    Ok(json(&send_one(&api, &caller.0, topic, body).await?))
}

/// Listens to the topics that match, from now on, at most once: events `message` and, where any
/// may be missing, `gap`. Needs `Accept: text/event-stream`.
#[utoipa::path(
    get, path = "/v1/topics/{topic}", tag = "messages",
    params(("topic" = String, Path, description = "A pattern: `*` is one word, `#` any number.")),
    responses((status = 200, body = ReceivedDoc, content_type = "text/event-stream")),
)]
async fn subscribe(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    Path(pattern): Path<Pattern>,
) -> Answer {
    if !wants_events(&headers) {
        let error = Error::invalid("this route streams: send Accept: text/event-stream");
        return Err(Problem::with_status(error, StatusCode::NOT_ACCEPTABLE));
    }
    let consumer = api.app().consumer(&caller.0).await?;
    let heard = consumer.broadcast(&pattern).await?;
    let stopping = api.app().draining().clone();
    let events = stream::unfold(Some(heard), next)
        .filter_map(|event| async { event })
        .take_until(stopping.cancelled_owned());
    Ok(sse(events))
}

type Heard = Option<Result<Event, serde_json::Error>>;

/// The next event of a subscription, or nothing when there was none for a while.
async fn next(heard: Option<Box<dyn Broadcast>>) -> Option<(Heard, Option<Box<dyn Broadcast>>)> {
    let mut heard = heard?;
    Some(match heard.next(KEEP_ALIVE).await {
        Ok(event) => (event.map(as_event), Some(heard)),
        // Listening goes on; what is missed shows as a gap.
        Err(error) if error.kind() == ErrorKind::Unavailable => (None, Some(heard)),
        Err(error) => (Some(failure(&error)), None),
    })
}

fn as_event(heard: BroadcastEvent) -> Result<Event, serde_json::Error> {
    match heard {
        BroadcastEvent::Message(received) => event("message", &ReceivedDoc::from(*received)),
        BroadcastEvent::Gap { missed } => event("gap", &GapDoc { missed }),
    }
}
