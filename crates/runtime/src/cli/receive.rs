//! `statehouse receive` and `statehouse subscribe`

use std::time::{Duration, Instant};

use statehouse_contracts::{BroadcastEvent, Error, ErrorKind, Payload, Received, Result};
use statehouse_messaging::{Incoming, Messenger};
use statehouse_wire::{DeliveryDoc, GapDoc, ReceivedDoc};

use super::args::{Receive, Subscribe};
use super::output::preview;
use super::{Desk, Output};

pub(super) async fn receive(command: Receive, desk: &Desk, output: &Output) -> Result<()> {
    let mail = desk.mail().await?;
    let wait = if command.follow {
        command.wait.max(Duration::from_secs(30))
    } else {
        command.wait
    };
    let request = statehouse_contracts::Receive {
        max: command.max,
        wait,
        lease: command.lease,
    };
    loop {
        let received = match (&command.group, &command.agent) {
            (Some(group), _) => mail.messenger().receive(group, request).await?,
            (None, Some(agent)) => mail.receive(agent, request).await?,
            (None, None) => return Err(Error::invalid("name an agent or a --group")),
        };
        let none = received.is_empty();
        for incoming in received {
            show(mail.messenger(), incoming, command.keep, output).await?;
        }
        if !command.follow {
            return if none && !output.is_json() {
                output.text("no message")
            } else {
                Ok(())
            };
        }
    }
}

/// Prints a delivery, then acknowledges it unless it is kept.
async fn show(
    messenger: &Messenger,
    incoming: Incoming,
    keep: bool,
    output: &Output,
) -> Result<()> {
    let mut delivery = incoming.delivery.clone();
    delivery.lease.token = incoming.token();
    let mut lines = line(&delivery.received);
    if delivery.attempt > 1 {
        lines.push_str(&format!("\n  attempt {}", delivery.attempt));
    }
    if keep {
        lines.push_str(&format!("\n  token {}", delivery.lease.token));
    }
    output.show(&DeliveryDoc::new(delivery, Instant::now()), || lines)?;
    if keep {
        Ok(())
    } else {
        messenger.ack(&incoming).await
    }
}

pub(super) async fn subscribe(command: Subscribe, desk: &Desk, output: &Output) -> Result<()> {
    let mail = desk.mail().await?;
    let messenger = mail.messenger();
    let mut events = messenger.consumer().broadcast(&command.pattern).await?;
    let mut seen = 0;
    while command.count.is_none_or(|count| seen < count) {
        match events
            .next(command.idle.unwrap_or(Duration::from_secs(30)))
            .await?
        {
            None if command.idle.is_some() => return Ok(()),
            None => {}
            Some(BroadcastEvent::Message(mut received)) => {
                seen += 1;
                make_plain(messenger, &mut received).await?;
                let lines = line(&received);
                output.show(&ReceivedDoc::from(*received), || lines)?;
            }
            Some(BroadcastEvent::Gap { missed }) => {
                let many = missed.map_or("some".to_owned(), |missed| missed.to_string());
                output.show(&GapDoc { missed }, || format!("(missed {many} messages)"))?;
            }
        }
    }
    Ok(())
}

/// Puts the content in the place of its reference, where it is still there.
async fn make_plain(messenger: &Messenger, received: &mut Received) -> Result<()> {
    let Payload::Reference(reference) = &received.message.payload else {
        return Ok(());
    };
    match messenger.resolve(&received.message.payload).await {
        Ok(bytes) => {
            let content_type = reference.content_type.clone();
            received.message.payload = Payload::Inline {
                bytes,
                content_type,
            };
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// A message on one line: when, where, from whom, what.
pub(super) fn line(received: &Received) -> String {
    let message = &received.message;
    let content = match &message.payload {
        Payload::Inline {
            bytes,
            content_type,
        } => preview(bytes, content_type, usize::MAX),
        Payload::Reference(reference) => {
            format!("({} bytes by reference {})", reference.size, reference.id)
        }
    };
    let sender = message.sender.as_deref().unwrap_or("somebody");
    format!(
        "{:.3}  {}  from {sender}  {content}",
        received.sent_at, message.topic
    )
}
