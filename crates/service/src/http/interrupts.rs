//! Interrupts: agents listen by a stream, and acknowledge what is critical.

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use futures::stream::{self, StreamExt};
use serde::Deserialize;
use statehouse_contracts::{Bytes, Error, ErrorKind, Result};
use statehouse_messaging::{Handled, Interrupt, InterruptHandler, Signal};
use statehouse_wire::{
    AgentSignalsDoc, ContentDoc, CountDoc, InterruptDoc, InterruptIdDoc, InterruptSendDoc,
    InterruptStatsDoc, ItemsDoc,
};
use tokio::sync::mpsc;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::changes::{event, sse, wants_events};
use super::extract::{Caller, Json, Path, Query};
use super::mailboxes::named;
use super::problem::{Answer, Problem, json};
use crate::app::Hub;

/// How many interrupts wait for a slow reader. More are failures; critical ones come again.
const AHEAD: usize = 1000;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(agents, broadcast))
        .routes(routes!(listen, send))
        .routes(routes!(acknowledge))
        .routes(routes!(stats))
}

/// The agents that listen to this service, and to which signals.
#[utoipa::path(
    get, path = "/v1/interrupts", tag = "interrupts",
    responses((status = 200, body = ItemsDoc<AgentSignalsDoc>)),
)]
async fn agents(State(api): State<Api>, caller: Caller) -> Answer {
    let hub = api.app().hub_with_interrupts(&caller.0.namespace).await?;
    let interrupts = hub.interrupts()?;
    let signals = |agent: &str| {
        let signals = interrupts.handlers(agent);
        signals.iter().map(Signal::to_string).collect()
    };
    let items: Vec<AgentSignalsDoc> = interrupts
        .agents()
        .into_iter()
        .map(|agent| AgentSignalsDoc {
            signals: signals(&agent),
            agent,
        })
        .collect();
    Ok(json(&ItemsDoc { items }))
}

/// Sends a signal to an agent: a critical one waits for it, others are for who listens to this
/// service now.
#[utoipa::path(
    post, path = "/v1/interrupts/{agent}", tag = "interrupts",
    params(("agent" = String, Path)),
    request_body = InterruptSendDoc,
    responses((status = 200, body = InterruptIdDoc)),
)]
async fn send(
    State(api): State<Api>,
    caller: Caller,
    Path(agent): Path<String>,
    Json(body): Json<InterruptSendDoc>,
) -> Answer {
    let (signal, payload, from) = parts(body, &caller)?;
    let hub = api.app().hub_with_interrupts(&caller.0.namespace).await?;
    let sending = hub
        .interrupts()?
        .send_from(Some(&from), signal, named(&agent)?, payload);
    Ok(json(&InterruptIdDoc { id: sending.await? }))
}

/// Sends a signal to every agent that handles it: a critical one in any service, where it waits for
/// an hour, others in this one.
#[utoipa::path(
    post, path = "/v1/interrupts", tag = "interrupts",
    request_body = InterruptSendDoc,
    responses((status = 200, body = CountDoc)),
)]
async fn broadcast(
    State(api): State<Api>,
    caller: Caller,
    Json(body): Json<InterruptSendDoc>,
) -> Answer {
    let (signal, payload, from) = parts(body, &caller)?;
    let hub = api.app().hub_with_interrupts(&caller.0.namespace).await?;
    let sending = hub.interrupts()?.broadcast(Some(&from), signal, payload);
    let count = sending.await? as u64;
    Ok(json(&CountDoc { count }))
}

fn parts(body: InterruptSendDoc, caller: &Caller) -> Result<(Signal, Bytes, String)> {
    let payload = match body.payload {
        Some(content) => content.into_parts()?.0,
        None => Bytes::new(),
    };
    let from = body.from.unwrap_or_else(|| caller.0.principal.to_string());
    Ok((body.signal.parse()?, payload, from))
}

/// To which signals.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListenParams {
    /// Their names or numbers, joined by commas.
    signals: String,
}

/// Listens to the signals of an agent, as long as the stream is read: events `interrupt`. Critical
/// ones come again until they are acknowledged. Needs `Accept: text/event-stream`.
#[utoipa::path(
    get, path = "/v1/interrupts/{agent}", tag = "interrupts",
    params(("agent" = String, Path), ListenParams),
    responses((status = 200, body = InterruptDoc, content_type = "text/event-stream")),
)]
async fn listen(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    Path(agent): Path<String>,
    Query(params): Query<ListenParams>,
) -> Answer {
    if !wants_events(&headers) {
        let error = Error::invalid("this route streams: send Accept: text/event-stream");
        return Err(Problem::with_status(error, StatusCode::NOT_ACCEPTABLE));
    }
    let names = params.signals.split(',');
    let signals: Result<Vec<Signal>> = names.map(|name| name.trim().parse()).collect();
    let signals = signals?;
    let hub = api.app().hub_with_interrupts(&caller.0.namespace).await?;
    let (sender, heard) = mpsc::channel(AHEAD);
    let mut listener = Listener {
        hub,
        agent: named(&agent)?.to_owned(),
        signals: Vec::new(),
        heard,
    };
    let handler: Arc<dyn InterruptHandler> = Arc::new(Forward(sender));
    let interrupts = listener.hub.interrupts()?;
    let registering = interrupts.register_all(&agent, &signals, &handler);
    registering.await?;
    // What was registered ends with the listener.
    listener.signals = signals;
    let stopping = api.app().draining().clone();
    let events = stream::unfold(listener, |mut listener| async {
        let interrupt = listener.heard.recv().await?;
        Some((event("interrupt", &document(interrupt)), listener))
    });
    Ok(sse(events.take_until(stopping.cancelled_owned())))
}

/// Who reads the stream.
struct Listener {
    hub: Arc<Hub>,
    agent: String,
    signals: Vec<Signal>,
    heard: mpsc::Receiver<Interrupt>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Ok(interrupts) = self.hub.interrupts() {
            for signal in &self.signals {
                interrupts.unregister(&self.agent, *signal);
            }
        }
    }
}

/// Hands interrupts to who reads the stream.
#[derive(Debug)]
struct Forward(mpsc::Sender<Interrupt>);

#[async_trait]
impl InterruptHandler for Forward {
    async fn handle(&self, interrupt: &Interrupt) -> Result<Handled> {
        // Others wait behind this one, so it does not wait for a reader.
        match self.0.try_send(interrupt.clone()) {
            Ok(()) => Ok(Handled::Taken),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Error::closed()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Error::new(
                ErrorKind::Overloaded,
                format!("{AHEAD} interrupts wait to be read"),
            )),
        }
    }
}

fn document(interrupt: Interrupt) -> InterruptDoc {
    InterruptDoc {
        id: interrupt.id,
        signal: interrupt.signal.to_string(),
        critical: interrupt.signal.is_critical(),
        sender: interrupt.sender,
        payload: ContentDoc::untyped(&interrupt.payload),
        attempt: interrupt.attempt,
    }
}

/// Acknowledges a critical interrupt that this service has handed out.
#[utoipa::path(
    post, path = "/v1/interrupts:acknowledge", tag = "interrupts",
    request_body = InterruptIdDoc,
    responses((status = 204)),
)]
async fn acknowledge(
    State(api): State<Api>,
    caller: Caller,
    Json(body): Json<InterruptIdDoc>,
) -> Answer<StatusCode> {
    let hub = api.app().hub_with_interrupts(&caller.0.namespace).await?;
    hub.interrupts()?.acknowledge(body.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What has happened to interrupts in this service.
#[utoipa::path(
    get, path = "/v1/interrupts:stats", tag = "interrupts",
    responses((status = 200, body = InterruptStatsDoc)),
)]
async fn stats(State(api): State<Api>, caller: Caller) -> Answer {
    let hub = api.app().hub_with_interrupts(&caller.0.namespace).await?;
    let stats = hub.interrupts()?.stats();
    Ok(json(&InterruptStatsDoc {
        sent: stats.sent,
        delivered: stats.delivered,
        failed: stats.failed,
        dropped: stats.dropped,
        persisted: stats.persisted,
        retried: stats.retried,
        acknowledged: stats.acknowledged,
        waiting: stats.waiting,
        taken: stats.taken,
    }))
}

#[cfg(test)]
mod tests {
    use statehouse_contracts::MessageId;

    use super::*;

    #[tokio::test]
    async fn a_reader_that_stands_still_holds_up_nobody() {
        let (sender, mut heard) = mpsc::channel(1);
        let forward = Forward(sender);
        let interrupt = Interrupt {
            id: MessageId::random(),
            signal: Signal::WAKEUP,
            target: "a".to_owned(),
            sender: None,
            payload: Bytes::new(),
            attempt: 1,
        };
        assert_eq!(forward.handle(&interrupt).await.unwrap(), Handled::Taken);
        let full = forward.handle(&interrupt).await.unwrap_err();
        assert_eq!(full.kind(), ErrorKind::Overloaded);
        assert_eq!(heard.recv().await.unwrap(), interrupt);
        drop(heard);
        let gone = forward.handle(&interrupt).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::Closed);
    }
}
