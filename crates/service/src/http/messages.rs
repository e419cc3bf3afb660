//! Sending, receiving and settling.

use axum::extract::State;
use statehouse_contracts::{GroupName, MessageId, Receive, Result, Settle, Topic};
use statehouse_wire::{
    CancelledDoc, DeliveryDoc, ItemsDoc, OutcomeDoc, ReceiveDoc, SendDoc, SentDoc, SettleBatchDoc,
    SettledDoc,
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
}

/// Sends messages; one answer per message, in order.
#[utoipa::path(
    post, path = "/v1/messages", tag = "messages",
    request_body = SendDoc,
    responses((status = 200, body = ItemsDoc<OutcomeDoc<SentDoc>>)),
)]
async fn send(State(api): State<Api>, caller: Caller, Json(body): Json<SendDoc>) -> Answer {
    let (batch, options) = body.into_parts()?;
    let topics = batch.iter().map(|message| &message.topic);
    api.app().make_mailboxes(&caller.0, topics).await?;
    let producer = api.app().producer(&caller.0).await?;
    let answers = producer.send(batch, options).await?;
    let items: Vec<OutcomeDoc<SentDoc>> = answers.into_iter().map(OutcomeDoc::new).collect();
    Ok(json(&ItemsDoc { items }))
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
    Arrived(arrived): Arrived,
    Optional(body): Optional<ReceiveDoc>,
) -> Answer {
    let mut receive = Receive::from(body);
    receive.wait = cut(receive.wait, &api);
    if group.is_mailbox() {
        let mailbox = Topic::new(group.as_str())?;
        let topics = std::iter::once(&mailbox);
        api.app().make_mailboxes(&caller.0, topics).await?;
    }
    let consumer = api.app().consumer(&caller.0).await?;
    let receiving = consumer.receive(&group, receive);
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
    let mail = api.app().mail(&caller.0).await?;
    let answers = mail.messenger().settle_by_token(batch?).await?;
    let items: Vec<OutcomeDoc<SettledDoc>> = answers
        .into_iter()
        .map(|answer| OutcomeDoc::new(answer.map(|settled| SettledDoc::new(&settled, arrived))))
        .collect();
    Ok(json(&ItemsDoc { items }))
}
