//! `statehouse request` and `statehouse reply`

use std::time::Instant;

use statehouse_contracts::{Error, Message, Payload, Result, Settle, SettleAction};
use statehouse_messaging::Requests;
use statehouse_wire::{DeliveryDoc, MessageDoc, SentDoc};

use super::args::{Reply, Request};
use super::output::preview;
use super::{Desk, Output, input};

/// Asks, and prints the answer.
pub(super) async fn request(command: Request, desk: &Desk, output: &Output) -> Result<()> {
    let payload = payload(&command.payload, command.content_type.as_deref())?;
    let mail = desk.mail().await?;
    let request = Message {
        kind: command.kind,
        priority: command.priority.unwrap_or_default(),
        headers: command.headers.into_iter().collect(),
        ..mail.letter(&command.agent, payload)
    };
    let timeout = command.timeout.unwrap_or(desk.request_timeout());
    let requests = Requests::open(mail, desk.scope().principal.as_str()).await?;
    let answered = requests.request(request, timeout).await;
    // What came too late goes to the mailbox.
    requests.close().await?;
    let answer = answered?;
    let content_type = match &answer.payload {
        Payload::Inline { content_type, .. } => content_type.clone(),
        Payload::Reference(reference) => reference.content_type.clone(),
    };
    let shown = preview(answer.bytes(), &content_type, usize::MAX);
    output.show(&MessageDoc::from(answer), || shown)
}

/// Answers a request that was received with `--keep`.
pub(super) async fn reply(command: Reply, desk: &Desk, output: &Output) -> Result<()> {
    let request = input::content(&command.request)?;
    let request: DeliveryDoc = serde_json::from_slice(&request).map_err(|error| {
        Error::invalid(format!(
            "the request is not what `receive --keep --json` printed: {error}"
        ))
    })?;
    let request = request.delivery(Instant::now())?;
    let payload = payload(&command.payload, command.content_type.as_deref())?;
    let mail = desk.mail().await?;
    let sent = mail.reply(request.message(), payload).await?;
    let settle = Settle {
        token: request.lease.token,
        action: SettleAction::Ack,
    };
    mail.messenger().settle_one_by_token(settle).await?;
    output.show(&SentDoc::from(sent), || format!("answered, by {}", sent.id))
}

fn payload(argument: &str, content_type: Option<&str>) -> Result<Payload> {
    let bytes = input::content(argument)?;
    let content_type = input::content_type(content_type, &bytes)?;
    Ok(Payload::Inline {
        bytes,
        content_type,
    })
}
