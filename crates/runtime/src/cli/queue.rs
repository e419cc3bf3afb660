//! `statehouse queue`

use std::time::Instant;

use statehouse_contracts::{
    Consumer, DeadLetter, Error, ErrorKind, Expired, GroupName, GroupSpec, Overflow, Page,
    PageCursor, Result, Settle, SettleAction,
};
use statehouse_messaging::{Mailboxes, Messenger, Requests, Swept};
use statehouse_service::http::pending_document;
use statehouse_wire::{
    CountsDoc, DeadLetterDoc, GroupStatusDoc, MailboxDoc, PageDoc, PendingDoc, ReceivedDoc,
    SettledDoc,
};

use super::args::{QueueCommand, SettleArg};
use super::output::table;
use super::receive::line;
use super::{Desk, Output, input};

pub(super) async fn run(command: QueueCommand, desk: &Desk, output: &Output) -> Result<()> {
    let mail = desk.mail().await?;
    let messenger = mail.messenger();
    let consumer = &**messenger.consumer();
    match command {
        QueueCommand::Agents => agents(&mail, output).await,
        QueueCommand::Pending { agent, max } => pending(&mail, &agent, max, output).await,
        QueueCommand::Sweep => sweep(&mail, output).await,
        QueueCommand::List => list(consumer, output).await,
        QueueCommand::Declare { .. } => declare(command, consumer, output).await,
        QueueCommand::Depth { group } => depth(consumer, group, output).await,
        QueueCommand::Peek { group, max } => peek(consumer, &group, max, output).await,
        QueueCommand::Dead {
            group,
            limit,
            after,
        } => {
            let after = after.map(PageCursor);
            let page = consumer.dead_letters(&group, limit, after.as_ref()).await?;
            dead(page, output)
        }
        QueueCommand::Redrive { group, id } => {
            let many = messenger.redrive(&group, id).await?;
            output.done(&format!("put {many} dead letters back into {group}"))
        }
        QueueCommand::Purge { group, dead } => {
            let many = match dead {
                true => messenger.purge_dead_letters(&group).await?,
                false => consumer.purge(&group, false).await?,
            };
            output.done(&format!("deleted {many} messages of {group}"))
        }
        QueueCommand::Pause { group } => {
            consumer.pause(&group).await?;
            output.done(&format!("{group} is paused"))
        }
        QueueCommand::Resume { group } => {
            consumer.resume(&group).await?;
            output.done(&format!("{group} goes on"))
        }
        QueueCommand::Delete { group } => {
            if !consumer.delete_group(&group).await? {
                return Err(Error::not_found(format!("there is no group {group}")));
            }
            output.done(&format!("deleted {group}"))
        }
        QueueCommand::Cancel { id } => {
            if !desk.producer().await?.cancel(id).await? {
                return Err(Error::not_found(format!(
                    "no message {id} waits for its time"
                )));
            }
            output.done(&format!("took {id} back"))
        }
        QueueCommand::Settle { token, action } => settle(messenger, &token, action, output).await,
    }
}

async fn list(consumer: &dyn Consumer, output: &Output) -> Result<()> {
    let groups = consumer.groups().await?;
    if output.is_json() {
        return output.document(
            &groups
                .into_iter()
                .map(GroupStatusDoc::from)
                .collect::<Vec<_>>(),
        );
    }
    let rows = groups.into_iter().map(|status| {
        [
            status.group.to_string(),
            status.spec.pattern.to_string(),
            status.spec.max_deliveries.to_string(),
            format!("{:?}", status.spec.lease),
            if status.paused { "paused" } else { "" }.to_owned(),
        ]
    });
    output.text(&table(
        ["group", "pattern", "deliveries", "lease", ""],
        rows.collect(),
    ))
}

async fn agents(mail: &Mailboxes, output: &Output) -> Result<()> {
    let agents = mail.agents_with_pending().await?;
    if output.is_json() {
        let documents = agents.into_iter();
        let documents = documents.map(|(agent, ready)| MailboxDoc { agent, ready });
        return output.document(&documents.collect::<Vec<_>>());
    }
    let rows = agents.into_iter();
    let rows = rows.map(|(agent, ready)| [agent, ready.to_string()]);
    output.text(&table(["agent", "ready"], rows.collect()))
}

async fn pending(mail: &Mailboxes, agent: &str, max: usize, output: &Output) -> Result<()> {
    let pending = mail.pending(agent, max).await?;
    let pending: Vec<PendingDoc> = pending.into_iter().map(pending_document).collect();
    if output.is_json() {
        return output.document(&pending);
    }
    let rows = pending.into_iter().map(|message| {
        [
            message.id.to_string(),
            message.sender.unwrap_or_default(),
            message.kind.map_or(String::new(), |kind| kind.to_string()),
            format!("{:.3}", message.sent_at),
            message.size.to_string(),
            message.attempts.to_string(),
        ]
    });
    output.text(&table(
        ["message", "from", "kind", "sent", "bytes", "attempts"],
        rows.collect(),
    ))
}

async fn sweep(mail: &Mailboxes, output: &Output) -> Result<()> {
    let groups = Requests::recover(mail).await?;
    let Swept {
        kept,
        forgotten,
        released,
    } = match mail.messenger().sweep().await {
        // Without a store of references nothing travels by one.
        Err(error) if error.kind() == ErrorKind::Unsupported => Swept::default(),
        swept => swept?,
    };
    if output.is_json() {
        return output.document(&serde_json::json!({
            "kept": kept, "forgotten": forgotten, "released": released, "groups": groups,
        }));
    }
    output.text(&format!(
        "let go of {released} contents and of {groups} groups for replies; {forgotten} messages by \
         reference are done with, {kept} need theirs or are too young to tell"
    ))
}

async fn declare(command: QueueCommand, consumer: &dyn Consumer, output: &Output) -> Result<()> {
    let QueueCommand::Declare {
        group,
        pattern,
        unordered,
        no_priorities,
        max_deliveries,
        lease,
        max_length,
        drop_oldest,
        keep_expired,
    } = command
    else {
        return Err(Error::internal("not a declaration"));
    };
    let spec = GroupSpec {
        ordering: !unordered,
        priorities: !no_priorities,
        max_deliveries,
        lease,
        max_length,
        overflow: if drop_oldest {
            Overflow::DropOldest
        } else {
            Overflow::Reject
        },
        expired: if keep_expired {
            Expired::DeadLetter
        } else {
            Expired::Drop
        },
        ..GroupSpec::new(pattern)
    };
    let declared = consumer.declare(&group, &spec).await?;
    let is = if declared.created {
        "declared"
    } else {
        "was declared before"
    };
    output.done(&format!("{group} {is}, hears {}", spec.pattern))
}

async fn depth(consumer: &dyn Consumer, group: Option<GroupName>, output: &Output) -> Result<()> {
    let groups = match group {
        Some(group) => vec![group],
        None => consumer
            .groups()
            .await?
            .into_iter()
            .map(|status| status.group)
            .collect(),
    };
    let mut rows = Vec::new();
    for group in groups {
        let counts = consumer.counts(&group).await?;
        let oldest = consumer.oldest_ready_age(&group).await?;
        if output.is_json() {
            let oldest_ms = oldest.map(|age| age.as_millis());
            let counts = CountsDoc::from(counts);
            output.document(&serde_json::json!({
                "group": group, "counts": counts, "oldest_ready_ms": oldest_ms,
            }))?;
        }
        rows.push([
            group.to_string(),
            counts.ready.to_string(),
            counts.delayed.to_string(),
            counts.in_flight.to_string(),
            counts.dead.to_string(),
            oldest.map_or(String::new(), |age| format!("{:.1} s", age.as_secs_f64())),
        ]);
    }
    if output.is_json() {
        return Ok(());
    }
    output.text(&table(
        ["group", "ready", "delayed", "in flight", "dead", "oldest"],
        rows,
    ))
}

async fn peek(
    consumer: &dyn Consumer,
    group: &GroupName,
    max: usize,
    output: &Output,
) -> Result<()> {
    let next = consumer.peek(group, max).await?;
    if output.is_json() {
        let items = next
            .into_iter()
            .map(|(received, _)| ReceivedDoc::from(received))
            .collect();
        return output.document(&PageDoc { items, next: None });
    }
    let lines: Vec<String> = next.iter().map(|(received, _)| line(received)).collect();
    output.text(
        if lines.is_empty() {
            "none".to_owned()
        } else {
            lines.join("\n")
        }
        .as_str(),
    )
}

fn dead(page: Page<DeadLetter>, output: &Output) -> Result<()> {
    let row = |letter: &DeadLetter| {
        let last = letter.errors.last();
        [
            letter.received.message.id.to_string(),
            format!("{:.3}", letter.at),
            letter.attempts.to_string(),
            letter.reason.clone(),
            last.map_or(String::new(), |error| error.error.clone()),
        ]
    };
    let header = ["message", "at", "attempts", "reason", "last error"];
    let letters = &page.items;
    let documents = || letters.iter().cloned().map(DeadLetterDoc::from).collect();
    output.page(documents, page.next, || {
        table(header, letters.iter().map(row).collect())
    })
}

async fn settle(
    messenger: &Messenger,
    token: &str,
    action: SettleArg,
    output: &Output,
) -> Result<()> {
    let action = match action {
        SettleArg::Ack => SettleAction::Ack,
        SettleArg::Nack { error, delay } => {
            let error = Some(error).filter(|error| !error.is_empty());
            SettleAction::Nack { delay, error }
        }
        SettleArg::Dead { reason } => SettleAction::DeadLetter { reason },
        SettleArg::Extend { lease } => SettleAction::Extend { lease },
    };
    let settled = messenger
        .settle_one_by_token(Settle {
            token: input::token(token)?,
            action,
        })
        .await?;
    let lease = settled
        .lease
        .as_ref()
        .map(|lease| format!(", token {}", lease.token));
    let line = format!("settled{}", lease.unwrap_or_default());
    output.show(&SettledDoc::new(&settled, Instant::now()), || line)
}
