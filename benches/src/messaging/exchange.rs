//! Sending, receiving, asking, over the memory adapter.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use statehouse_contracts::{ConsumerExt, GroupName, Message, Payload, ProducerExt};
use statehouse_messaging::{MailboxOptions, Mailboxes, Messenger, PolicyManager, Requests};
use tokio::runtime::Runtime;

use super::{Timed, memory, message, single};
use crate::Result;

/// Whose mailbox it is, as a topic.
const MAILBOX: &str = "mailbox.bench";

/// A message of 1 KiB sent, received and acknowledged by the adapter alone.
///
/// # Errors
/// Those of the adapter.
pub fn by_hand() -> Result<Timed> {
    let runtime = Runtime::new()?;
    let (backend, scope) = runtime.block_on(memory())?;
    let producer = runtime.block_on(backend.producer(&scope))?;
    let consumer = runtime.block_on(backend.consumer(&scope))?;
    let mailbox = GroupName::mailbox("bench");
    let message = message(MAILBOX)?;
    Ok(repeated(runtime, async move || {
        producer.send_one(fresh(&message)).await?;
        let got = consumer.receive_one(&mailbox, Duration::ZERO).await?;
        consumer.ack(&got.ok_or("it was sent")?).await?;
        Ok(())
    }))
}

/// The same by a messenger, which looks whether it travels by reference.
///
/// # Errors
/// Those of the messenger.
pub fn by_messenger() -> Result<Timed> {
    let runtime = Runtime::new()?;
    let (backend, scope) = runtime.block_on(memory())?;
    let policies = Arc::new(PolicyManager::default());
    let messenger = runtime.block_on(Messenger::open(&*backend, &scope, policies))?;
    let mailbox = GroupName::mailbox("bench");
    let message = message(MAILBOX)?;
    Ok(repeated(runtime, async move || {
        messenger.send(fresh(&message)).await?;
        let got = messenger.receive_one(&mailbox, Duration::ZERO).await?;
        messenger.ack(&got.ok_or("it was sent")?).await?;
        Ok(())
    }))
}

/// A request to another agent of the same process, until its reply is there.
///
/// # Errors
/// Those of requests.
pub fn round_trip() -> Result<Timed> {
    let runtime = single()?;
    let (backend, scope) = runtime.block_on(memory())?;
    let policies = Arc::new(PolicyManager::default());
    let messenger = runtime.block_on(Messenger::open(&*backend, &scope, policies))?;
    let mail = Mailboxes::new(messenger, MailboxOptions::default());
    runtime.spawn(answer(mail.clone()));
    let requests = runtime.block_on(Requests::open(mail, "asker"))?;
    Ok(repeated(runtime, async move || {
        requests.ask("worker", Payload::bytes(&b"?"[..])).await?;
        Ok(())
    }))
}

/// Does `once` as often as it is asked to, one after another.
fn repeated(runtime: Runtime, once: impl AsyncFn() -> Result<()> + 'static) -> Timed {
    Box::new(move |times| {
        runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..times {
                once().await?;
            }
            Ok(start.elapsed())
        })
    })
}

async fn answer(mail: Mailboxes) -> Result<()> {
    let wait = Duration::from_secs(60);
    while let Some(asked) = mail.receive_one("worker", wait).await? {
        let payload = asked.message().payload.clone();
        mail.reply(asked.message(), payload).await?;
        mail.messenger().ack(&asked).await?;
    }
    Ok(())
}

/// Another message to the same mailbox with the same content.
fn fresh(message: &Message) -> Message {
    Message::new(message.topic.clone(), message.payload.clone())
}
