//! Requests to agents, and their replies.

use axum::extract::State;
use statehouse_contracts::{
    Detail, Error, LeaseToken, Message, Payload, Settle, SettleAction, Topic,
};
use statehouse_wire::{MessageDoc, ReplyDoc, RequestDoc, SentDoc};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::extract::{Caller, Json, Path};
use super::mailboxes::named;
use super::problem::{Answer, json};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(request))
        .routes(routes!(reply))
}

/// Asks an agent, and waits for its reply. Without one in time it is 504; a later reply goes to the
/// mailbox of who asked.
#[utoipa::path(
    post, path = "/v1/requests", tag = "requests",
    request_body = RequestDoc,
    responses((status = 200, body = MessageDoc)),
)]
async fn request(State(api): State<Api>, caller: Caller, Json(body): Json<RequestDoc>) -> Answer {
    let longest = api.max_wait();
    let usual = api.app().config().messaging.requests.timeout.min(longest);
    let timeout = body.timeout.map_or(usual, Into::into);
    if timeout > longest {
        let text = format!("timeout is {timeout:?}, at most {longest:?} is allowed");
        let value = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        let limit = Detail::Limit {
            name: "max_wait",
            value,
        };
        return Err(Error::invalid(text).with_detail(limit).into());
    }
    let scope = &caller.0;
    let payload = Payload::try_from(body.payload)?;
    let mail = api.app().mail(scope).await?;
    let request = Message {
        sender: Some(body.from.unwrap_or_else(|| scope.principal.to_string())),
        kind: body.kind,
        headers: body.headers,
        priority: body.priority,
        ..mail.letter(named(&body.to)?, payload)
    };
    let hub = api.app().hub_with_requests(&scope.namespace).await?;
    let asking = hub.requests()?.request_of_sender(request, timeout);
    let stopping = api.app().draining();
    let answered = stopping.run_until_cancelled(asking).await;
    let answer = answered.unwrap_or_else(|| Err(Error::closed().with_operation("request")))?;
    Ok(json(&MessageDoc::from(answer)))
}

/// Answers a request that was received as a message. With the token of its delivery that is
/// acknowledged, once the reply is sent.
#[utoipa::path(
    post, path = "/v1/requests/{correlation_id}/reply", tag = "requests",
    params(("correlation_id" = String, Path)),
    request_body = ReplyDoc,
    responses((status = 200, body = SentDoc)),
)]
async fn reply(
    State(api): State<Api>,
    caller: Caller,
    Path(correlation_id): Path<String>,
    Json(body): Json<ReplyDoc>,
) -> Answer {
    let scope = &caller.0;
    let from = body.from.unwrap_or_else(|| scope.principal.to_string());
    let token = body.token.map(LeaseToken::new).transpose()?;
    // What a reply takes of its request.
    let request = Message {
        sender: body.to,
        recipient: Some(from.clone()),
        correlation_id: Some(correlation_id),
        reply_to: Some(body.reply_to),
        ..Message::new(Topic::mailbox(&from), Payload::text(""))
    };
    let mail = api.app().mail(scope).await?;
    let sent = mail
        .reply(&request, Payload::try_from(body.payload)?)
        .await?;
    if let Some(token) = token {
        let action = SettleAction::Ack;
        let settle = Settle { token, action };
        mail.messenger().settle_one_by_token(settle).await?;
    }
    Ok(json(&SentDoc::from(sent)))
}
