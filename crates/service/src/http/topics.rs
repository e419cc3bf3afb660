//! Topics: publishing to them, and listening without a group.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::response::sse::Event;
use futures::stream::{self, StreamExt};
use serde::Deserialize;
use statehouse_contracts::{
    Broadcast, BroadcastEvent, Error, ErrorKind, Glob, Message, Pattern, Payload, Result, Scope,
    SendOptions, Topic,
};
use statehouse_messaging::{
    BusFilter, BusOverflow, BusPattern, Published, Subscribe, Subscription, TopicStats,
};
use statehouse_wire::{
    GapDoc, HeardDoc, ItemsDoc, MessageDoc, PublishDoc, PublishedDoc, ReceivedDoc, TopicStatsDoc,
};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::changes::{KEEP_ALIVE, event, failure, sse, wants_events};
use super::extract::{Caller, Json, Path, Query};
use super::problem::{Answer, Problem, json};
use crate::app::Hub;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(topics))
        .routes(routes!(publish, subscribe))
        .routes(routes!(statistics))
}

/// Sends a message to every group that hears the topic, and to all who listen. It does not wait for
/// who listens.
#[utoipa::path(
    post, path = "/v1/topics/{topic}", tag = "topics",
    params(("topic" = String, Path)),
    request_body = PublishDoc,
    responses((status = 200, body = PublishedDoc)),
)]
async fn publish(
    State(api): State<Api>,
    caller: Caller,
    Path(topic): Path<Topic>,
    Json(body): Json<PublishDoc>,
) -> Answer {
    let scope = &caller.0;
    let mut message: Message = body.message(topic)?;
    let topics = std::iter::once(&message.topic);
    api.app().make_mailboxes(scope, topics).await?;
    let principal = || scope.principal.as_str().to_owned();
    message.sender.get_or_insert_with(principal);
    let options = SendOptions::default();
    let (sent, here) = match api.app().hub_with_topics(&scope.namespace).await {
        Ok(hub) => hub.topics()?.publish_with(message, options).await?,
        // Nobody can listen here, but groups can hear.
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            let keep = api.app().config().messaging.bus.keep;
            let mail = api.app().mail(scope).await?;
            let (sent, _) = mail.messenger().publish(message, options, keep).await?;
            (sent, Published::default())
        }
        Err(error) => return Err(error.into()),
    };
    Ok(json(&PublishedDoc {
        id: sent.id,
        routed: sent.routed,
        duplicate_of: sent.duplicate_of,
        delivered: here.delivered,
        dropped: here.dropped,
    }))
}

/// How to read a pattern.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Dialect {
    /// `*` is one word, `#` any number.
    #[default]
    Words,
    /// `*` is any run of characters, `?` one, `[a-z]` one of a set.
    Glob,
}

/// What to hear, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListenParams {
    /// How to read the pattern: `words` (default: `*` is one word, `#` any number) or `glob` (`*` is
    /// any run of characters, `?` one, `[a-z]` one of a set).
    #[serde(default)]
    #[param(value_type = Option<String>)]
    dialect: Dialect,
    /// Only messages of these senders, joined by commas.
    from: Option<String>,
    /// Only messages with these headers, a JSON object: `{"priority":"high"}`.
    headers: Option<String>,
    /// Only payloads of at least so many bytes.
    min_size: Option<u64>,
    /// Only payloads of at most so many bytes.
    max_size: Option<u64>,
    /// How many messages wait for a slow reader; `bus.buffer` when not given.
    #[serde(default)]
    buffer: usize,
    /// What is dropped then: `drop_newest` or `drop_oldest`; `bus.overflow` when not given.
    #[param(value_type = Option<String>)]
    overflow: Option<BusOverflow>,
    /// Whether to hear what the backend broadcasts, as it travels: mail as well, and large payloads
    /// as references. Takes no other parameter.
    #[serde(default)]
    raw: bool,
}

impl ListenParams {
    fn subscribe(self, agent: &str, pattern: &str) -> Result<Subscribe> {
        let pattern: BusPattern = match self.dialect {
            Dialect::Words => Pattern::new(pattern)?.into(),
            Dialect::Glob => Glob::new(pattern)?.into(),
        };
        let metadata: BTreeMap<String, String> = match &self.headers {
            Some(text) => serde_json::from_str(text).map_err(|error| {
                Error::invalid(format!("headers is no JSON object of texts: {error}"))
            })?,
            None => BTreeMap::new(),
        };
        let names = self.from.as_deref().unwrap_or_default().split(',');
        let names = names.filter(|name| !name.is_empty());
        Ok(Subscribe {
            filter: BusFilter {
                from_agents: names.map(str::to_owned).collect(),
                metadata,
                min_size: self.min_size,
                max_size: self.max_size,
            },
            buffer: self.buffer,
            overflow: self.overflow,
            ..Subscribe::new(agent, pattern)
        })
    }
}

/// Listens to the topics that match, from now on, at most once: events `message` and, where any
/// may be missing, `gap`. Needs `Accept: text/event-stream`.
#[utoipa::path(
    get, path = "/v1/topics/{topic}", tag = "topics",
    params(("topic" = String, Path, description = "A pattern: `*` is one word, `#` any number."),
        ListenParams),
    responses((status = 200, body = HeardDoc, content_type = "text/event-stream")),
)]
async fn subscribe(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    Path(pattern): Path<String>,
    Query(params): Query<ListenParams>,
) -> Answer {
    if !wants_events(&headers) {
        let error = Error::invalid("this route streams: send Accept: text/event-stream");
        return Err(Problem::with_status(error, StatusCode::NOT_ACCEPTABLE));
    }
    let scope = &caller.0;
    if params.raw {
        return broadcast(&api, scope, &pattern).await;
    }
    let subscribe = params.subscribe(scope.principal.as_str(), &pattern)?;
    let hub = api.app().hub_with_topics(&scope.namespace).await?;
    let topics = hub.topics()?;
    let listener = Listener {
        subscription: topics.subscribe(subscribe)?,
        dropped: 0,
        gaps: topics.gaps(),
        hub,
    };
    let stopping = api.app().draining().clone();
    let events = stream::unfold(listener, Listener::next)
        .flat_map(stream::iter)
        .take_until(stopping.cancelled_owned());
    Ok(sse(events))
}

type Events = Vec<Result<Event, serde_json::Error>>;

/// Who listens by the bus.
struct Listener {
    hub: Arc<Hub>,
    subscription: Subscription,
    /// What it was told of already.
    dropped: u64,
    gaps: u64,
}

impl Listener {
    /// What there is to tell next; nothing when there was nothing for a while.
    async fn next(mut self) -> Option<(Events, Self)> {
        let heard = tokio::time::timeout(KEEP_ALIVE, self.subscription.recv()).await;
        let mut events = self.gaps();
        match heard {
            Ok(Some(message)) => events.push(self.tell(&message).await),
            Ok(None) => return None,
            Err(_) => {}
        }
        Some((events, self))
    }

    /// What may be missing since the last look.
    fn gaps(&mut self) -> Events {
        let mut events = Vec::new();
        let dropped = self.subscription.info().dropped;
        if dropped > self.dropped {
            let missed = Some(dropped - self.dropped);
            events.push(event("gap", &GapDoc { missed }));
            self.dropped = dropped;
        }
        let gaps = self.hub.topics().map_or(self.gaps, |topics| topics.gaps());
        if gaps > self.gaps {
            events.push(event("gap", &GapDoc { missed: None }));
            self.gaps = gaps;
        }
        events
    }

    /// The message with its plain payload, where that can be had.
    async fn tell(&self, message: &Message) -> Result<Event, serde_json::Error> {
        let mut message = message.clone();
        if let Payload::Reference(reference) = &message.payload
            && let Ok(topics) = self.hub.topics()
        {
            let content_type = reference.content_type.clone();
            match topics.resolve(&message).await {
                Ok(bytes) => {
                    message.payload = Payload::Inline {
                        bytes,
                        content_type,
                    };
                }
                Err(error) => tracing::debug!(message = %message.id, %error, "told as it travels"),
            }
        }
        let message = MessageDoc::from(message);
        event("message", &HeardDoc { message })
    }
}

/// What the backend broadcasts.
async fn broadcast(api: &Api, scope: &Scope, pattern: &str) -> Answer {
    let consumer = api.app().consumer(scope).await?;
    let heard = consumer.broadcast(&Pattern::new(pattern)?).await?;
    let stopping = api.app().draining().clone();
    let events = stream::unfold(Some(heard), next)
        .filter_map(|event| async { event })
        .take_until(stopping.cancelled_owned());
    let response: Response = sse(events);
    Ok(response)
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

/// The topics that had a message lately, with their statistics in this service.
#[utoipa::path(
    get, path = "/v1/topics", tag = "topics",
    responses((status = 200, body = ItemsDoc<TopicStatsDoc>)),
)]
async fn topics(State(api): State<Api>, caller: Caller) -> Answer {
    let hub = api.app().hub_with_topics(&caller.0.namespace).await?;
    let bus = hub.topics()?.bus();
    let stats = bus.topics().into_iter();
    // One that went meanwhile is no longer one of them.
    let stats = stats.filter_map(|topic| bus.topic_stats(&topic).ok());
    let items: Vec<TopicStatsDoc> = stats.map(document).collect();
    Ok(json(&ItemsDoc { items }))
}

/// The statistics of a topic in this service.
#[utoipa::path(
    get, path = "/v1/topics/{topic}/stats", tag = "topics",
    params(("topic" = String, Path)),
    responses((status = 200, body = TopicStatsDoc)),
)]
async fn statistics(State(api): State<Api>, caller: Caller, Path(topic): Path<Topic>) -> Answer {
    let hub = api.app().hub_with_topics(&caller.0.namespace).await?;
    let stats = hub.topics()?.bus().topic_stats(&topic)?;
    Ok(json(&document(stats)))
}

fn document(stats: TopicStats) -> TopicStatsDoc {
    TopicStatsDoc {
        topic: stats.topic,
        published: stats.published,
        delivered: stats.delivered,
        dropped: stats.dropped,
        subscribers: stats.subscribers,
        created_at: stats.created_at,
        last_published_at: stats.last_published_at,
    }
}
