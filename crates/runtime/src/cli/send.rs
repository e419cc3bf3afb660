//! `statehouse send` and `statehouse publish`

use statehouse_contracts::{Message, Payload, Result, SendOptions, Sent, Topic};
use statehouse_wire::SentDoc;

use super::args::{MessageArgs, Publish, Send};
use super::{Desk, Output, input};

pub(super) async fn send(command: Send, desk: &Desk, output: &Output) -> Result<()> {
    let mut message = message(Topic::mailbox(&command.agent), command.message, desk)?;
    message.recipient = Some(command.agent);
    let topic = message.topic.clone();
    let sent = desk.mail().await?.send(message).await?;
    show(&topic, sent, output)
}

pub(super) async fn publish(command: Publish, desk: &Desk, output: &Output) -> Result<()> {
    let message = message(command.topic, command.message, desk)?;
    let topic = message.topic.clone();
    let options = SendOptions {
        require_route: command.require_route,
        ..SendOptions::default()
    };
    let mail = desk.mail().await?;
    let publishing = mail.messenger().publish(message, options, desk.keep());
    let (sent, _) = publishing.await?;
    show(&topic, sent, output)
}

fn message(topic: Topic, args: MessageArgs, desk: &Desk) -> Result<Message> {
    let bytes = input::content(&args.payload)?;
    let content_type = input::content_type(args.content_type.as_deref(), &bytes)?;
    Ok(Message {
        kind: args.kind,
        sender: Some(desk.scope().principal.to_string()),
        headers: args.headers.into_iter().collect(),
        correlation_id: args.correlation_id,
        priority: args.priority.unwrap_or_default(),
        delay: args.delay.unwrap_or_default(),
        ttl: args.ttl,
        ordering_key: args.ordering_key,
        idempotency_key: args.idempotency_key,
        ..Message::new(
            topic,
            Payload::Inline {
                bytes,
                content_type,
            },
        )
    })
}

fn show(topic: &Topic, sent: Sent, output: &Output) -> Result<()> {
    let line = match (sent.duplicate_of, sent.routed) {
        (Some(first), _) => format!("sent before, as {first}"),
        (None, Some(0)) => format!("sent {} to {topic}; no group hears it", sent.id),
        (None, Some(groups)) => format!("sent {} to {topic}, groups: {groups}", sent.id),
        (None, None) => format!("sent {} to {topic}", sent.id),
    };
    output.show(&SentDoc::from(sent), || line)
}
