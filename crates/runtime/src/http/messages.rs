//! Sending, receiving and settling.

use axum::extract::State;
use statehouse_contracts::{
    Error, GroupName, Message, MessageId, ProducerExt, Receive, Result, Scope, Settle, Topic,
};
use statehouse_wire::{
    CancelledDoc, DeliveryDoc, ItemsDoc, OutcomeDoc, PublishDoc, ReceiveDoc, SendDoc, SentDoc,
    SettleBatchDoc, SettledDoc,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::extract::{Arrived, Caller, Json, Optional, Path, cut};
use super::problem::{Answer, json};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(send))
        .routes(routes!(cancel))
        .routes(routes!(receive))
        .routes(routes!(settle))
        .routes(routes!(send_to_mailbox))
        .routes(routes!(receive_from_mailbox))
}

/// Sends messages; one answer per message, in order.
#[utoipa::path(
    post, path = "/v1/messages", tag = "messages",
    request_body = SendDoc,
    responses((status = 200, body = ItemsDoc<OutcomeDoc<SentDoc>>)),
)]
async fn send(State(api): State<Api>, caller: Caller, Json(body): Json<SendDoc>) -> Answer {
    let (batch, options) = body.into_parts()?;
    let producer = api.app().producer(&caller.0).await?;
    let answers = producer.send(batch, options).await?;
    let items: Vec<OutcomeDoc<SentDoc>> = answers.into_iter().map(OutcomeDoc::new).collect();
    Ok(json(&ItemsDoc { items }))
}

/// Sends one message.
pub(super) async fn send_one(
    api: &Api,
    scope: &Scope,
    topic: Topic,
    body: PublishDoc,
) -> Result<SentDoc> {
    let mut message: Message = body.message(topic)?;
    if message.sender.is_none() {
        message.sender = Some(scope.principal.as_str().to_owned());
    }
    let producer = api.app().producer(scope).await?;
    producer.send_one(message).await.map(Into::into)
}

/// Takes back a message that is not due yet.
#[utoipa::path(
    delete, path = "/v1/messages/{id}", tag = "messages",
    params(("id" = String, Path)),
    responses((status = 200, body = CancelledDoc)),
)]
async fn cancel(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Answer {
    let id: MessageId = id.parse()?;
    let cancelled = api.app().producer(&caller.0).await?.cancel(id).await?;
    Ok(json(&CancelledDoc { cancelled }))
}

/// Takes messages of a group; with `wait` it waits for the first.
#[utoipa::path(
    post, path = "/v1/groups/{group}/receive", tag = "messages",
    params(("group" = String, Path)),
    request_body = Option<ReceiveDoc>,
    responses((status = 200, body = ItemsDoc<DeliveryDoc>)),
)]
async fn receive(
    State(api): State<Api>,
    caller: Caller,
    Path(group): Path<GroupName>,
    arrived: Arrived,
    Optional(body): Optional<ReceiveDoc>,
) -> Answer {
    deliveries(&api, &caller.0, &group, body.into(), arrived).await
}

async fn deliveries(
    api: &Api,
    scope: &Scope,
    group: &GroupName,
    mut receive: Receive,
    Arrived(arrived): Arrived,
) -> Answer {
    receive.wait = cut(receive.wait, api);
    let consumer = api.app().consumer(scope).await?;
    let receiving = consumer.receive(group, receive);
    let received = api.waiting(Vec::new(), receiving).await?;
    let items: Vec<DeliveryDoc> = received
        .into_iter()
        .map(|delivery| DeliveryDoc::new(delivery, arrived))
        .collect();
    Ok(json(&ItemsDoc { items }))
}

/// Settles deliveries, by their tokens; one answer per item, in order.
#[utoipa::path(
    post, path = "/v1/deliveries/settle", tag = "messages",
    request_body = SettleBatchDoc,
    responses((status = 200, body = ItemsDoc<OutcomeDoc<SettledDoc>>)),
)]
async fn settle(
    State(api): State<Api>,
    caller: Caller,
    Arrived(arrived): Arrived,
    Json(body): Json<SettleBatchDoc>,
) -> Answer {
    let batch: Result<Vec<Settle>> = body.settles.into_iter().map(Settle::try_from).collect();
    let answers = api.app().consumer(&caller.0).await?.settle(batch?).await?;
    let items: Vec<OutcomeDoc<SettledDoc>> = answers
        .into_iter()
        .map(|answer| OutcomeDoc::new(answer.map(|settled| SettledDoc::new(&settled, arrived))))
        .collect();
    Ok(json(&ItemsDoc { items }))
}

/// Sends a message to an agent's mailbox, which is made when it is not there.
#[utoipa::path(
    post, path = "/v1/mailboxes/{agent}", tag = "messages",
    params(("agent" = String, Path)),
    request_body = PublishDoc,
    responses((status = 200, body = SentDoc)),
)]
async fn send_to_mailbox(
    State(api): State<Api>,
    caller: Caller,
    Path(agent): Path<String>,
    Json(body): Json<PublishDoc>,
) -> Answer {
    let (topic, _) = mailbox(&agent)?;
    Ok(json(&send_one(&api, &caller.0, topic, body).await?))
}

/// Takes messages of an agent's mailbox, which is made when it is not there.
#[utoipa::path(
    post, path = "/v1/mailboxes/{agent}/receive", tag = "messages",
    params(("agent" = String, Path)),
    request_body = Option<ReceiveDoc>,
    responses((status = 200, body = ItemsDoc<DeliveryDoc>)),
)]
async fn receive_from_mailbox(
    State(api): State<Api>,
    caller: Caller,
    Path(agent): Path<String>,
    arrived: Arrived,
    Optional(body): Optional<ReceiveDoc>,
) -> Answer {
    let (_, group) = mailbox(&agent)?;
    deliveries(&api, &caller.0, &group, body.into(), arrived).await
}

/// The topic and the group of an agent's mailbox.
fn mailbox(agent: &str) -> Result<(Topic, GroupName)> {
    if agent.is_empty() || agent.contains(char::is_control) {
        return Err(Error::invalid(
            "the name of an agent is not empty and has no control characters",
        ));
    }
    Ok((Topic::mailbox(agent), GroupName::mailbox(agent)))
}
