//! A mailbox for every agent.

mod admin;
mod producer;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dashmap::DashSet;
use serde::{Deserialize, Serialize};
use statehouse_contracts::{
    Backoff, Broadcast, BroadcastEvent, Error, ErrorKind, Expired, GroupName, GroupSpec, Message,
    Payload, Receive, Result, Sent, Topic,
};
use tokio::time::Instant;

use crate::{Incoming, Messenger};

pub use admin::{MailboxStatus, Pending};
pub use producer::MailboxProducer;

/// What happens to mail for an agent that the validator does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownAgent {
    /// It is refused; the default.
    #[default]
    Refuse,
    /// It waits until the agent comes to life, or the mail expires.
    Hold,
}

/// The promise of mailboxes. The defaults are those of a mailbox that a plain
/// [`Producer::send`](statehouse_contracts::Producer::send) makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxOptions {
    /// How long a message waits that says nothing of its own. Default 24 h.
    pub ttl: Duration,
    /// How often a message is delivered again after its first delivery, before it is a dead
    /// letter. Default 3.
    pub retries: u32,
    /// The wait before each of them. Default 1 s, doubling up to 5 min, with jitter.
    pub backoff: Backoff,
    /// For how long a delivery is lent. Default 30 s.
    pub lease: Duration,
    /// What becomes of mail that expires. Default [`Expired::Drop`].
    pub expired: Expired,
    /// What happens to mail for unknown agents, where there is a validator.
    pub unknown: UnknownAgent,
}

impl Default for MailboxOptions {
    fn default() -> Self {
        let spec = GroupSpec::new(statehouse_contracts::Pattern::ALL);
        Self {
            ttl: Duration::from_secs(24 * 60 * 60),
            retries: spec.max_deliveries - 1,
            backoff: spec.backoff,
            lease: spec.lease,
            expired: spec.expired,
            unknown: UnknownAgent::Refuse,
        }
    }
}

impl MailboxOptions {
    fn spec(&self, mailbox: &Topic) -> GroupSpec {
        GroupSpec {
            max_deliveries: self.retries.saturating_add(1),
            backoff: self.backoff,
            lease: self.lease,
            expired: self.expired,
            ..GroupSpec::new(mailbox.clone().into())
        }
    }
}

/// Knows which agents there are.
#[async_trait]
pub trait AgentValidator: Debug + Send + Sync {
    /// Whether there is an agent of this name, running or not.
    ///
    /// # Errors
    /// When it cannot be told now; then the mail is not sent.
    async fn exists(&self, agent: &str) -> Result<bool>;
}

/// Sends to agents, and receives for them.
///
/// - A recipient may be offline, busy, or not started yet: its mail waits.
/// - The higher priority comes first, then the older message. A delivery is a lease: what is not
///   acknowledged in time comes again, after a failure with a growing wait, and holds up nobody
///   meanwhile. After its retries it is a dead letter, with the reason and its history.
/// - Any agent name works. Large payloads travel by reference, see [`Messenger`].
///
/// Clones are the same mailboxes.
///
/// ```
/// use std::time::Duration;
///
/// use statehouse_contracts::{Endpoint, Factory, Message, Payload, Priority, Result, Scope};
/// use statehouse_messaging::{Mailboxes, MailboxOptions, Messenger, PolicyManager};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let backend = statehouse_memory::Memory.open(&Endpoint::parse("memory:")?).await?;
/// let scope = Scope::parse("default", "planner")?;
/// let messenger = Messenger::open(&*backend, &scope, PolicyManager::default().into()).await?;
/// let mail = Mailboxes::new(messenger, MailboxOptions::default());
///
/// mail.send(mail.letter("my-agent", Payload::text("when you have time"))).await?;
/// let urgent = Message { priority: Priority::HIGH, ..mail.letter("my-agent", Payload::text("now")) };
/// mail.send(urgent).await?;
///
/// let first = mail.receive_one("my-agent", Duration::ZERO).await?.expect("it has mail");
/// assert_eq!(first.message().bytes(), b"now");
/// mail.messenger().ack(&first).await?;
/// assert_eq!(mail.pending("my-agent", 10).await?.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Mailboxes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    messenger: Messenger,
    options: MailboxOptions,
    validator: Option<Arc<dyn AgentValidator>>,
    /// Whether a send makes mailboxes of this promise by itself.
    usual: bool,
    /// Mailboxes of another promise that are known to be declared.
    declared: DashSet<Topic>,
}

/// How many declared mailboxes are remembered.
const REMEMBERED: usize = 10_000;

impl Mailboxes {
    /// Over `messenger`; any agent name is taken.
    pub fn new(messenger: Messenger, options: MailboxOptions) -> Self {
        Self::build(messenger, options, None)
    }

    /// Over `messenger`; `validator` is asked for the recipient of each message.
    pub fn with_validator(
        messenger: Messenger,
        options: MailboxOptions,
        validator: Arc<dyn AgentValidator>,
    ) -> Self {
        Self::build(messenger, options, Some(validator))
    }

    fn build(
        messenger: Messenger,
        options: MailboxOptions,
        validator: Option<Arc<dyn AgentValidator>>,
    ) -> Self {
        let any = Topic::mailbox("any");
        let usual = options.spec(&any) == MailboxOptions::default().spec(&any);
        Self(Arc::new(Inner {
            messenger,
            options,
            validator,
            usual,
            declared: DashSet::new(),
        }))
    }

    /// The messenger beneath: acks, nacks and extends what was received.
    pub fn messenger(&self) -> &Messenger {
        &self.0.messenger
    }

    /// A message to `agent`'s mailbox, with the default ttl.
    pub fn letter(&self, agent: &str, payload: Payload) -> Message {
        Message {
            recipient: Some(agent.to_owned()),
            ttl: Some(self.0.options.ttl),
            ..Message::new(Topic::mailbox(agent), payload)
        }
    }

    /// Sends to the mailbox of the message's recipient, whatever its topic says.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) without a recipient;
    /// [`NotFound`](ErrorKind::NotFound) for one that the validator does not know, unless such mail
    /// is held; those of [`Messenger::send`].
    pub async fn send(&self, mut message: Message) -> Result<Sent> {
        let recipient = message.recipient.as_deref().unwrap_or_default();
        if recipient.is_empty() {
            return Err(Error::invalid(
                "recipient is empty; mail names the agent it is for",
            ));
        }
        self.check_known(recipient).await?;
        message.ttl = message.ttl.or(Some(self.0.options.ttl));
        self.deliver(message).await
    }

    /// Sends to the mailbox of the recipient, whom somebody knows.
    pub(crate) async fn deliver(&self, mut message: Message) -> Result<Sent> {
        message.topic = Topic::mailbox(message.recipient.as_deref().unwrap_or_default());
        self.declare(&message.topic).await?;
        self.0.messenger.send(message).await
    }

    /// The ttl of what says nothing of its own.
    pub(crate) fn ttl(&self) -> Duration {
        self.0.options.ttl
    }

    /// Takes up to `receive.max` messages of `agent`, waiting up to `receive.wait` for the first.
    ///
    /// # Errors
    /// Those of [`Messenger::receive`]; [`Conflict`](ErrorKind::Conflict) when the mailbox was made
    /// with another promise.
    pub async fn receive(&self, agent: &str, receive: Receive) -> Result<Vec<Incoming>> {
        self.receive_within(agent, receive, u64::MAX).await
    }

    /// Takes messages of `agent` with at most `budget` bytes of content by reference; see
    /// [`Messenger::receive_within`].
    ///
    /// # Errors
    /// Those of [`Mailboxes::receive`].
    pub async fn receive_within(
        &self,
        agent: &str,
        receive: Receive,
        budget: u64,
    ) -> Result<Vec<Incoming>> {
        self.declare(&Topic::mailbox(agent)).await?;
        let (messenger, group) = (&self.0.messenger, GroupName::mailbox(agent));
        messenger.receive_within(&group, receive, budget).await
    }

    /// Takes one message of `agent`, waiting up to `wait`.
    ///
    /// # Errors
    /// Those of [`Mailboxes::receive`].
    pub async fn receive_one(&self, agent: &str, wait: Duration) -> Result<Option<Incoming>> {
        Ok(self.receive(agent, Receive::new(1, wait)).await?.pop())
    }

    /// Tells of mail that arrives for `agent` from now on, sent by any process, without taking it
    /// (capability `broadcast`).
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where the backend cannot tell.
    pub async fn arrivals(&self, agent: &str) -> Result<Arrivals> {
        let topic = Topic::mailbox(agent);
        let consumer = self.0.messenger.consumer();
        Ok(Arrivals(consumer.broadcast(&topic.into()).await?))
    }

    async fn check_known(&self, recipient: &str) -> Result<()> {
        let Some(validator) = &self.0.validator else {
            return Ok(());
        };
        if validator.exists(recipient).await? {
            return Ok(());
        }
        match self.0.options.unknown {
            UnknownAgent::Refuse => {
                Err(Error::not_found(format!("agent not found: {recipient}"))
                    .with_operation("send"))
            }
            UnknownAgent::Hold => {
                tracing::info!(recipient, "mail is held for an agent that nobody knows yet");
                Ok(())
            }
        }
    }

    /// Makes the mailbox of this topic with this promise, for who sends to it or receives from it
    /// without [`Mailboxes`]. One that was made with another keeps it.
    ///
    /// # Errors
    /// Those of [`Consumer::declare`](statehouse_contracts::Consumer::declare).
    pub async fn make(&self, mailbox: &Topic) -> Result<()> {
        match self.declare(mailbox).await {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            declared => declared,
        }
    }

    /// Makes the mailbox, where it would not be made as it should be by itself.
    async fn declare(&self, mailbox: &Topic) -> Result<()> {
        if self.0.usual || self.0.declared.contains(mailbox) {
            return Ok(());
        }
        let spec = self.0.options.spec(mailbox);
        let group = GroupName::new(mailbox.as_str())?;
        self.0.messenger.consumer().declare(&group, &spec).await?;
        if self.0.declared.len() >= REMEMBERED {
            self.0.declared.clear();
        }
        self.0.declared.insert(mailbox.clone());
        Ok(())
    }
}

/// Tells of arriving mail, until it is dropped.
#[derive(Debug)]
pub struct Arrivals(Box<dyn Broadcast>);

impl Arrivals {
    /// Waits up to `wait` for mail that has arrived since the last call; answers whether some did,
    /// or may have. What arrives meanwhile is told together.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed) after the consumer was closed.
    pub async fn next(&mut self, wait: Duration) -> Result<bool> {
        let deadline = Instant::now() + wait;
        let first = self.0.next(wait).await?;
        if first.is_none() {
            return Ok(false);
        }
        while Instant::now() < deadline {
            match self.0.next(Duration::ZERO).await? {
                Some(BroadcastEvent::Message(_) | BroadcastEvent::Gap { .. }) => {}
                None => break,
            }
        }
        Ok(true)
    }
}

/// Whether a mailbox was never used: then it holds nothing.
fn unless_unknown<T: Default>(answer: Result<T>) -> Result<T> {
    match answer {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(T::default()),
        answer => answer,
    }
}

#[cfg(test)]
mod tests;
