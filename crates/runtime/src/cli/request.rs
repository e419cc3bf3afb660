//! `statehouse request`, `statehouse reply` and `statehouse interrupt`

use std::time::Instant;

use statehouse_contracts::{Error, Message, Payload, Result, Settle, SettleAction};
use statehouse_messaging::{InterruptOptions, Interrupts, Requests};
use statehouse_wire::{CountDoc, DeliveryDoc, InterruptIdDoc, MessageDoc, SentDoc};

use super::args::{Reply, Request, SendInterrupt};
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
    let shown = answered.and_then(|answer| show(answer, output));
    // What came too late goes to the mailbox.
    if let Err(error) = requests.close().await {
        tracing::warn!(%error, "what comes too late waits for the next service");
    }
    shown
}

fn show(answer: Message, output: &Output) -> Result<()> {
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

/// Sends a critical signal, which waits for its agent.
pub(super) async fn interrupt(command: SendInterrupt, desk: &Desk, output: &Output) -> Result<()> {
    let payload = input::content(&command.payload)?;
    let (signal, principal) = (command.signal, desk.scope().principal.as_str());
    let mail = desk.mail().await?;
    let interrupts = Interrupts::new(mail.messenger().clone(), InterruptOptions::default());
    let Some(agent) = command.agent else {
        let count = interrupts.broadcast(Some(principal), signal, payload);
        let count = count.await? as u64;
        return output.show(&CountDoc { count }, || {
            format!("sent {signal} to {count} agents")
        });
    };
    let sending = interrupts.send_from(Some(principal), signal, &agent, payload);
    let id = sending.await?;
    output.show(&InterruptIdDoc { id }, || {
        format!("sent {signal} to {agent}, as {id}")
    })
}

fn payload(argument: &str, content_type: Option<&str>) -> Result<Payload> {
    let bytes = input::content(argument)?;
    let content_type = input::content_type(content_type, &bytes)?;
    Ok(Payload::Inline {
        bytes,
        content_type,
    })
}
