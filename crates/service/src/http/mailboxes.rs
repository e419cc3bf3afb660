//! Mailboxes: payloads of any size, plain for whoever receives them.

use axum::extract::State;
use statehouse_contracts::{
    DeadLetter, Error, ErrorKind, GroupName, Message, Page, Payload, Receive, Result, Topic,
};
use statehouse_messaging::{Budget, Mailboxes, Pending};
use statehouse_wire::{
    CountDoc, DeadLetterDoc, DeliveryDoc, ItemsDoc, MailboxDoc, MailboxStatusDoc, PageDoc,
    PeekedDoc, PendingDoc, PublishDoc, ReceiveDoc, RedriveDoc, SentDoc, Span,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::extract::{Arrived, Caller, Json, Optional, Path, Query, cut};
use super::problem::{Answer, json};
use super::stacks::PeekParams;
use super::transactions::PageParams;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(mailboxes))
        .routes(routes!(status, send))
        .routes(routes!(receive))
        .routes(routes!(pending))
        .routes(routes!(peek))
        .routes(routes!(dead_letters, purge))
        .routes(routes!(redrive))
}

/// The agents for whom something is ready.
#[utoipa::path(
    get, path = "/v1/mailboxes", tag = "mailboxes",
    responses((status = 200, body = ItemsDoc<MailboxDoc>)),
)]
async fn mailboxes(State(api): State<Api>, caller: Caller) -> Answer {
    let agents = api
        .app()
        .mail(&caller.0)
        .await?
        .agents_with_pending()
        .await?;
    let items: Vec<MailboxDoc> = agents
        .into_iter()
        .map(|(agent, ready)| MailboxDoc { agent, ready })
        .collect();
    Ok(json(&ItemsDoc { items }))
}

/// How an agent's mailbox stands. One that was never used is empty.
#[utoipa::path(
    get, path = "/v1/mailboxes/{agent}", tag = "mailboxes",
    params(("agent" = String, Path)),
    responses((status = 200, body = MailboxStatusDoc)),
)]
async fn status(State(api): State<Api>, caller: Caller, Path(agent): Path<String>) -> Answer {
    let status = api
        .app()
        .mail(&caller.0)
        .await?
        .status(named(&agent)?)
        .await?;
    Ok(json(&MailboxStatusDoc {
        counts: status.counts.into(),
        oldest: status.oldest.map(Span),
    }))
}

/// Sends a message to an agent's mailbox, which is made when it is not there.
#[utoipa::path(
    post, path = "/v1/mailboxes/{agent}", tag = "mailboxes",
    params(("agent" = String, Path)),
    request_body = PublishDoc,
    responses((status = 200, body = SentDoc)),
)]
async fn send(
    State(api): State<Api>,
    caller: Caller,
    Path(agent): Path<String>,
    Json(body): Json<PublishDoc>,
) -> Answer {
    let mut message: Message = body.message(Topic::mailbox(named(&agent)?))?;
    let principal = || caller.0.principal.as_str().to_owned();
    message.sender.get_or_insert_with(principal);
    message.recipient = Some(agent);
    let sent = api.app().mail(&caller.0).await?.send(message).await?;
    Ok(json(&SentDoc::from(sent)))
}

/// How many bytes of content one answer holds that travelled by reference, or the content of one
/// message: what is beyond is told by reference.
const CONTENT: u64 = 32 << 20;

/// Takes messages of an agent's mailbox, which is made when it is not there; with `wait` it waits
/// for the first. Content beyond 32 MiB in one answer stays a reference.
#[utoipa::path(
    post, path = "/v1/mailboxes/{agent}/receive", tag = "mailboxes",
    params(("agent" = String, Path)),
    request_body = Option<ReceiveDoc>,
    responses((status = 200, body = ItemsDoc<DeliveryDoc>)),
)]
async fn receive(
    State(api): State<Api>,
    caller: Caller,
    Path(agent): Path<String>,
    Arrived(arrived): Arrived,
    Optional(body): Optional<ReceiveDoc>,
) -> Answer {
    let mut receive = Receive::from(body);
    receive.wait = cut(receive.wait, &api);
    let mail = api.app().mail(&caller.0).await?;
    let receiving = mail.receive_within(named(&agent)?, receive, CONTENT);
    let received = api.waiting(Vec::new(), receiving).await?;
    let items: Vec<DeliveryDoc> = received
        .into_iter()
        .map(|incoming| {
            let token = incoming.token();
            let mut delivery = incoming.delivery;
            delivery.lease.token = token;
            DeliveryDoc::new(delivery, arrived)
        })
        .collect();
    Ok(json(&ItemsDoc { items }))
}

/// What waits for an agent, without payloads, in the order in which it would be received.
#[utoipa::path(
    get, path = "/v1/mailboxes/{agent}/pending", tag = "mailboxes",
    params(("agent" = String, Path), PeekParams),
    responses((status = 200, body = ItemsDoc<PendingDoc>)),
)]
async fn pending(
    State(api): State<Api>,
    caller: Caller,
    Path(agent): Path<String>,
    Query(params): Query<PeekParams>,
) -> Answer {
    let mail = api.app().mail(&caller.0).await?;
    let pending = mail.pending(named(&agent)?, params.max()).await?;
    let items: Vec<PendingDoc> = pending.into_iter().map(pending_document).collect();
    Ok(json(&ItemsDoc { items }))
}

/// The next messages of an agent, in their order; changes nothing. Content beyond 32 MiB in one
/// answer stays a reference.
#[utoipa::path(
    get, path = "/v1/mailboxes/{agent}/peek", tag = "mailboxes",
    params(("agent" = String, Path), PeekParams),
    responses((status = 200, body = ItemsDoc<PeekedDoc>)),
)]
async fn peek(
    State(api): State<Api>,
    caller: Caller,
    Path(agent): Path<String>,
    Query(params): Query<PeekParams>,
) -> Answer {
    let mail = api.app().mail(&caller.0).await?;
    let mut peeked = mail.peek(named(&agent)?, params.max()).await?;
    let messages = peeked.iter_mut().map(|(received, _)| &mut received.message);
    make_plain(&mail, messages).await?;
    let items: Vec<PeekedDoc> = peeked.into_iter().map(Into::into).collect();
    Ok(json(&ItemsDoc { items }))
}

/// A page of an agent's dead letters, oldest first. Content beyond 32 MiB in one answer stays a
/// reference.
#[utoipa::path(
    get, path = "/v1/mailboxes/{agent}/dead-letters", tag = "mailboxes",
    params(("agent" = String, Path), PageParams),
    responses((status = 200, body = PageDoc<DeadLetterDoc>)),
)]
async fn dead_letters(
    State(api): State<Api>,
    caller: Caller,
    Path(agent): Path<String>,
    Query(params): Query<PageParams>,
) -> Answer {
    let mail = api.app().mail(&caller.0).await?;
    let (group, after) = (GroupName::mailbox(named(&agent)?), params.after());
    let consumer = mail.messenger().consumer();
    let asked = consumer.dead_letters(&group, params.limit, after.as_ref());
    let mut page: Page<DeadLetter> = match asked.await {
        Err(error) if error.kind() == ErrorKind::NotFound => Page {
            items: Vec::new(),
            next: None,
        },
        page => page?,
    };
    let letters = page.items.iter_mut();
    make_plain(&mail, letters.map(|letter| &mut letter.received.message)).await?;
    Ok(json(&PageDoc::<DeadLetterDoc>::new(page)))
}

/// Deletes an agent's dead letters, with their content.
#[utoipa::path(
    delete, path = "/v1/mailboxes/{agent}/dead-letters", tag = "mailboxes",
    params(("agent" = String, Path)),
    responses((status = 200, body = CountDoc)),
)]
async fn purge(State(api): State<Api>, caller: Caller, Path(agent): Path<String>) -> Answer {
    let mail = api.app().mail(&caller.0).await?;
    let count = mail.purge_dead_letters(named(&agent)?).await?;
    Ok(json(&CountDoc { count }))
}

/// Puts dead letters back into an agent's mailbox; without a body all of them.
#[utoipa::path(
    post, path = "/v1/mailboxes/{agent}/redrive", tag = "mailboxes",
    params(("agent" = String, Path)),
    request_body = Option<RedriveDoc>,
    responses((status = 200, body = CountDoc)),
)]
async fn redrive(
    State(api): State<Api>,
    caller: Caller,
    Path(agent): Path<String>,
    Optional(body): Optional<RedriveDoc>,
) -> Answer {
    let mail = api.app().mail(&caller.0).await?;
    let count = mail.redrive(named(&agent)?, body.id).await?;
    Ok(json(&CountDoc { count }))
}

/// The name of an agent that can have a mailbox.
pub(super) fn named(agent: &str) -> Result<&str> {
    if agent.is_empty() || agent.contains(char::is_control) {
        return Err(Error::invalid(
            "the name of an agent is not empty and has no control characters",
        ));
    }
    Ok(agent)
}

/// Puts contents in the place of their references, where they are still there and not too much.
async fn make_plain<'a>(
    mail: &Mailboxes,
    messages: impl Iterator<Item = &'a mut Message>,
) -> Result<()> {
    let mut budget = Budget::new(CONTENT);
    for message in messages {
        let Payload::Reference(reference) = &message.payload else {
            continue;
        };
        if !budget.fits(reference.size) {
            continue;
        }
        let content_type = reference.content_type.clone();
        match mail.resolve(message).await {
            Ok(bytes) => {
                budget.spend(bytes.len());
                message.payload = Payload::Inline {
                    bytes,
                    content_type,
                };
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupted) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A message that waits as a document.
pub fn pending_document(pending: Pending) -> PendingDoc {
    PendingDoc {
        id: pending.id,
        sender: pending.sender,
        kind: pending.kind,
        sent_at: pending.sent_at,
        expires_at: pending.expires_at,
        priority: pending.priority,
        size: pending.size,
        content_type: pending.content_type,
        attempts: pending.attempts,
    }
}
