//! `statehouse receive` and `statehouse subscribe`

use std::time::{Duration, Instant};

use statehouse_contracts::{
    BroadcastEvent, Consumer, ConsumerExt, Delivery, GroupName, Payload, Received, Result,
};
use statehouse_wire::{DeliveryDoc, GapDoc, ReceivedDoc};

use super::args::{Receive, Subscribe};
use super::output::preview;
use super::{Desk, Output};

pub(super) async fn receive(command: Receive, desk: &Desk, output: &Output) -> Result<()> {
    let consumer = desk.consumer().await?;
    let group = match (command.group, command.agent) {
        (Some(group), _) => group,
        (None, Some(agent)) => GroupName::mailbox(&agent),
        (None, None) => {
            return Err(statehouse_contracts::Error::invalid(
                "name an agent or a --group",
            ));
        }
    };
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
        let deliveries = consumer.receive(&group, request).await?;
        let none = deliveries.is_empty();
        for delivery in deliveries {
            show(&*consumer, delivery, command.keep, output).await?;
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
    consumer: &dyn Consumer,
    delivery: Delivery,
    keep: bool,
    output: &Output,
) -> Result<()> {
    let mut lines = line(&delivery.received);
    if delivery.attempt > 1 {
        lines.push_str(&format!("\n  attempt {}", delivery.attempt));
    }
    if keep {
        lines.push_str(&format!("\n  token {}", delivery.lease.token));
    }
    output.show(&DeliveryDoc::new(delivery.clone(), Instant::now()), || {
        lines
    })?;
    if keep {
        Ok(())
    } else {
        consumer.ack(&delivery).await
    }
}

pub(super) async fn subscribe(command: Subscribe, desk: &Desk, output: &Output) -> Result<()> {
    let consumer = desk.consumer().await?;
    let mut events = consumer.broadcast(&command.pattern).await?;
    let mut seen = 0;
    while command.count.is_none_or(|count| seen < count) {
        match events
            .next(command.idle.unwrap_or(Duration::from_secs(30)))
            .await?
        {
            None if command.idle.is_some() => return Ok(()),
            None => {}
            Some(BroadcastEvent::Message(received)) => {
                seen += 1;
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
