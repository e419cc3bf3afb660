//! Critical interrupts: stored until they are acknowledged.

use std::sync::{Arc, Weak};
use std::time::Duration;

use statehouse_contracts::{
    Backoff, Bytes, Error, ErrorKind, GroupName, GroupSpec, Message, MessageId, Payload, Priority,
    Receive, Result, Settle, SettleAction, Topic, escape_word,
};
use tokio_util::sync::CancellationToken;

use super::{Handled, Inner, Interrupt, InterruptEvent, Signal};
use crate::Incoming;
use crate::trace::{operation, traced};

/// Topics and groups, one of each for every agent.
pub(crate) const TOPIC_PREFIX: &str = "interrupt.";
const GROUP_PREFIX: &str = "interrupts.";

/// The header with the signal's number, and the one that a broadcast has.
const SIGNAL: &str = "signal";
const BROADCAST: &str = "broadcast";

/// How long a broadcast waits for an agent: most agents never handle most signals.
const BROADCAST_TTL: Duration = Duration::from_secs(60 * 60);

/// How long one wait for interrupts lasts, and how long one after a failure.
const WAIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(500);

impl Inner {
    /// Makes the group in which critical interrupts wait for `agent`.
    pub(super) async fn declare(&self, agent: &str) -> Result<GroupName> {
        let group = group_of(agent)?;
        let topic = topic_of(agent)?;
        let options = &self.options;
        let spec = GroupSpec {
            max_deliveries: options.max_attempts.max(1),
            // Longer than its handler may take.
            lease: options.timeout.saturating_mul(2),
            backoff: Backoff {
                initial: options.retry,
                factor: 2,
                max: options.retry_cap,
                jitter: false,
            },
            ..GroupSpec::new(topic.into())
        };
        self.messenger.consumer().declare(&group, &spec).await?;
        Ok(group)
    }

    /// Stores it for its agent, also for one that is not there.
    pub(super) async fn persist(&self, interrupt: Interrupt) -> Result<MessageId> {
        self.declare(&interrupt.target).await?;
        self.store(topic_of(&interrupt.target)?, &interrupt, false)
            .await?;
        Ok(interrupt.id)
    }

    /// Stores it for every agent that has a group.
    pub(super) async fn persist_for_all(
        &self,
        sender: Option<&str>,
        signal: Signal,
        payload: Bytes,
    ) -> Result<usize> {
        let mut stored = 0;
        for status in self.messenger.consumer().groups().await? {
            let Some(word) = status.group.as_str().strip_prefix(GROUP_PREFIX) else {
                continue;
            };
            let interrupt = Interrupt {
                id: MessageId::random(),
                signal,
                target: statehouse_contracts::unescape_word(word).unwrap_or(word.to_owned()),
                sender: sender.map(str::to_owned),
                payload: payload.clone(),
                attempt: 1,
            };
            let topic = Topic::new(format!("{TOPIC_PREFIX}{word}"))?;
            self.store(topic, &interrupt, true).await?;
            stored += 1;
        }
        Ok(stored)
    }

    async fn store(&self, topic: Topic, interrupt: &Interrupt, broadcast: bool) -> Result<()> {
        let number = interrupt.signal.number();
        let mut message = Message {
            id: interrupt.id,
            sender: interrupt.sender.clone(),
            recipient: Some(interrupt.target.clone()),
            // The lower the number, the sooner.
            priority: Priority::new(u8::try_from(number).map_or(0, |number| 9 - number.min(9)))?,
            ..Message::new(topic, Payload::bytes(interrupt.payload.clone()))
        };
        let headers = &mut message.headers;
        headers.insert(SIGNAL.to_owned(), number.to_string());
        if broadcast {
            message.ttl = Some(BROADCAST_TTL);
            headers.insert(BROADCAST.to_owned(), "true".to_owned());
        }
        let span = operation!(
            "interrupt.enqueue",
            signal = %interrupt.signal,
            target_agent = interrupt.target,
            message_id = %interrupt.id,
        );
        traced(span, self.messenger.send(message)).await?;
        self.tell(InterruptEvent::Sent, interrupt);
        self.tell(InterruptEvent::Persisted, interrupt);
        Ok(())
    }

    /// Receives an agent's critical interrupts until the answer is cancelled, or everything stops.
    pub(super) fn listen(self: &Arc<Self>, agent: &str) -> CancellationToken {
        let stop = self.stop.child_token();
        let listening = listen(Arc::downgrade(self), agent.to_owned(), stop.clone());
        self.running.spawn(listening);
        stop
    }

    async fn receive(&self, agent: &str, stop: &CancellationToken) -> Result<()> {
        let group = group_of(agent)?;
        let receiving = self.messenger.receive(&group, Receive::new(1, WAIT));
        let Some(received) = stop.run_until_cancelled(receiving).await else {
            return Ok(());
        };
        let received = match received {
            // Somebody deleted it; what comes from now on waits again.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return self.declare(agent).await.map(drop);
            }
            received => received?,
        };
        for incoming in received {
            self.deliver(agent, incoming, stop).await?;
        }
        Ok(())
    }

    /// For whoever listens next: nobody does here any more.
    async fn give_back(&self, incoming: &Incoming) -> Result<()> {
        let settle = Settle {
            token: incoming.delivery.lease.token.clone(),
            action: SettleAction::Nack {
                delay: Some(Duration::ZERO),
                error: Some("who listened has left".to_owned()),
            },
        };
        let settled = self.messenger.settle_one_by_token(settle).await;
        settled.map(drop)
    }

    /// Hands a stored interrupt to its handler, and settles it accordingly. One without a handler
    /// here fails: another process of the agent may have it, or this one soon.
    async fn deliver(
        &self,
        agent: &str,
        incoming: Incoming,
        stop: &CancellationToken,
    ) -> Result<()> {
        let interrupt = match read(agent, &incoming) {
            Ok(interrupt) => interrupt,
            Err(error) => {
                return self
                    .messenger
                    .dead_letter(&incoming, error.to_string())
                    .await;
            }
        };
        if stop.is_cancelled() && self.handler(&interrupt).is_none() {
            return self.give_back(&incoming).await;
        }
        if interrupt.attempt > 1 {
            self.tell(InterruptEvent::Retried, &interrupt);
        }
        // Before its handler has it, so that it can be acknowledged at once.
        self.taken.insert(interrupt.id, incoming);
        let handled = self.handle(&interrupt).await;
        if matches!(handled, Ok(Handled::Taken)) {
            return Ok(());
        }
        let Some((_, incoming)) = self.taken.remove(&interrupt.id) else {
            return Ok(());
        };
        match handled {
            Ok(_) => self.ack(&incoming).await,
            Err(error) => self.messenger.nack(&incoming, error.to_string()).await,
        }
    }

    /// Done with a critical interrupt.
    pub(super) async fn ack(&self, incoming: &Incoming) -> Result<()> {
        self.messenger.ack(incoming).await?;
        if let Ok(interrupt) = read(
            incoming.message().recipient.as_deref().unwrap_or(""),
            incoming,
        ) {
            self.tell(InterruptEvent::Acknowledged, &interrupt);
        }
        Ok(())
    }

    /// Forgets what was taken and comes again by itself.
    fn forget_expired(&self) {
        let now = std::time::Instant::now();
        self.taken
            .retain(|_, incoming| incoming.delivery.lease.deadline > now);
    }
}

/// Receives for `agent` while there is anybody to handle it.
async fn listen(inner: Weak<Inner>, agent: String, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let Some(inner) = inner.upgrade() else {
            return;
        };
        inner.forget_expired();
        match inner.receive(&agent, &stop).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Closed => return,
            Err(error) => {
                tracing::warn!(agent, %error, "interrupts cannot be received now");
                drop(inner);
                stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
            }
        }
    }
}

fn group_of(agent: &str) -> Result<GroupName> {
    GroupName::new(format!("{GROUP_PREFIX}{}", escape_word(agent)))
}

fn topic_of(agent: &str) -> Result<Topic> {
    Topic::new(format!("{TOPIC_PREFIX}{}", escape_word(agent)))
}

fn read(agent: &str, incoming: &Incoming) -> Result<Interrupt> {
    let message = incoming.message();
    let signal = message.headers.get(SIGNAL);
    let signal = signal.ok_or_else(|| Error::invalid("the message has no signal"))?;
    Ok(Interrupt {
        id: message.id,
        signal: signal.parse()?,
        target: agent.to_owned(),
        sender: message.sender.clone(),
        payload: Bytes::copy_from_slice(message.bytes()),
        attempt: incoming.delivery.attempt,
    })
}
