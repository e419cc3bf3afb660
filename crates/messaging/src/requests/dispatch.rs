//! Taking replies to who waits for them.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use statehouse_contracts::{ErrorKind, Message, Payload, Receive, Result};

use super::Inner;
use crate::Incoming;

/// The most replies taken at once.
const BATCH: usize = 64;

/// The most bytes of content that are taken at once; what is more is taken one by one.
pub(super) const CONTENT: u64 = 32 << 20;

/// How long one wait for replies lasts.
const WAIT: Duration = Duration::from_secs(30);

/// The wait after a failure.
const PAUSE: Duration = Duration::from_millis(500);

/// The latest requests that were answered: a further reply to one of them is a repeat.
#[derive(Debug, Default)]
pub(super) struct Answered(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    known: HashSet<String>,
    order: VecDeque<String>,
}

impl Answered {
    const MOST: usize = 8_192;

    fn insert(&self, correlation: &str) {
        let mut recent = self.0.lock();
        if recent.known.insert(correlation.to_owned()) {
            recent.order.push_back(correlation.to_owned());
        }
        if recent.order.len() > Self::MOST
            && let Some(oldest) = recent.order.pop_front()
        {
            recent.known.remove(&oldest);
        }
    }

    fn contains(&self, correlation: &str) -> bool {
        self.0.lock().known.contains(correlation)
    }
}

/// Runs until it is stopped or the consumer is closed.
pub(super) async fn run(inner: Arc<Inner>) {
    let work = async {
        loop {
            match round(&inner).await {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Closed => break,
                Err(error) => {
                    tracing::warn!(group = %inner.group, %error, "replies cannot be received now");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    inner.stop.run_until_cancelled(work).await;
    inner.stop.cancel();
    inner.waiting.clear();
}

async fn round(inner: &Inner) -> Result<()> {
    let messenger = inner.mail.messenger();
    let receive = Receive::new(BATCH, WAIT);
    let received = messenger
        .receive_within(&inner.group, receive, CONTENT)
        .await;
    let replies = match received {
        // Somebody took it for abandoned: later replies come here again.
        Err(error) if error.kind() == ErrorKind::NotFound => return inner.declare().await,
        received => received?,
    };
    let is_plain = |reply: &Incoming| matches!(reply.message().payload, Payload::Inline { .. });
    let (plain, large): (Vec<_>, Vec<_>) = replies.into_iter().partition(is_plain);
    hand_out(inner, plain).await?;
    for reply in large {
        let reply = messenger.complete(reply).await;
        hand_out(inner, reply.into_iter().collect()).await?;
    }
    Ok(())
}

async fn hand_out(inner: &Inner, replies: Vec<Incoming>) -> Result<()> {
    let mut done = Vec::with_capacity(replies.len());
    for reply in replies {
        match deliver(inner, &reply).await {
            Ok(()) => done.push(reply),
            Err(error) => {
                tracing::warn!(message = %reply.message().id, %error, "a late reply comes back");
            }
        }
    }
    for acknowledged in inner.mail.messenger().ack_all(&done).await? {
        if let Err(error) = acknowledged {
            tracing::debug!(%error, "a reply comes again, and is ignored then");
        }
    }
    Ok(())
}

async fn deliver(inner: &Inner, reply: &Incoming) -> Result<()> {
    let message = reply.message();
    let correlation = message.correlation_id.as_deref().unwrap_or_default();
    let late: Message = match inner.waiting.remove(correlation) {
        Some((_, waiter)) => match waiter.send(message.clone()) {
            Ok(()) => {
                inner.answered.insert(correlation);
                return Ok(());
            }
            Err(message) => message,
        },
        None if inner.answered.contains(correlation) => return Ok(()),
        None => message.clone(),
    };
    inner.mail.forward(late).await.map(drop)
}
