//! Questions and their answers.

mod dispatch;
mod recover;

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use futures::FutureExt;
use statehouse_contracts::{
    Error, ErrorKind, GroupName, GroupSpec, Message, MessageId, Payload, Priority, Result, Sent,
    Topic,
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::sync::DropGuard;
use uuid::Uuid;

use crate::Mailboxes;
use crate::trace::{operation, traced};
use dispatch::Answered;

/// Asks other agents, and waits for their answers.
///
/// - A request goes to the recipient's mailbox like any message, so the recipient may be offline,
///   and may be asked by any process on the same backend. It is answered with
///   [`Mailboxes::reply`].
/// - A request and its reply belong together by the request's correlation id, which is new for each
///   request, and by nothing else: any agent name works, and asking oneself is no special case.
/// - The first reply counts; repeated ones are ignored. A reply to a request that nobody waits for
///   any more goes to the mailbox of the agent that asked.
/// - Many requests may be under way at once; they share one consumer.
///
/// Open one per agent and process. Dropping it stops the consumer at once;
/// [`close`](Requests::close) first hands what has arrived to the mailbox.
///
/// ```
/// use std::time::Duration;
///
/// use statehouse_contracts::{Endpoint, Factory, Payload, Result, Scope};
/// use statehouse_messaging::{Mailboxes, MailboxOptions, Messenger, PolicyManager, Requests};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let backend = statehouse_memory::Memory.open(&Endpoint::parse("memory:")?).await?;
/// let scope = Scope::parse("default", "team")?;
/// let messenger = Messenger::open(&*backend, &scope, PolicyManager::default().into()).await?;
/// let mail = Mailboxes::new(messenger, MailboxOptions::default());
///
/// let worker = mail.clone();
/// tokio::spawn(async move {
///     while let Ok(Some(asked)) = worker.receive_one("worker-1", Duration::from_secs(5)).await {
///         worker.reply(asked.message(), Payload::text("42")).await.expect("it is sent");
///         worker.messenger().ack(&asked).await.expect("in time");
///     }
/// });
///
/// let requests = Requests::open(mail.clone(), "supervisor-1").await?;
/// let answer = requests.ask("worker-1", Payload::text("6 x 7?")).await?;
/// assert_eq!(answer.bytes(), b"42");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Requests {
    inner: Arc<Inner>,
    task: tokio::task::JoinHandle<()>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Inner {
    mail: Mailboxes,
    agent: String,
    topic: Topic,
    group: GroupName,
    waiting: DashMap<String, oneshot::Sender<Message>>,
    answered: Answered,
    stop: CancellationToken,
}

/// Takes a request off the list however its wait ends.
struct Waiting<'a> {
    inner: &'a Inner,
    correlation: String,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.inner.waiting.remove(&self.correlation);
    }
}

impl Requests {
    /// How long a request waits that names no timeout.
    pub const TIMEOUT: Duration = Duration::from_secs(30);

    /// For `agent`; declares the group that its replies come by. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) without an agent; those of
    /// [`Consumer::declare`](statehouse_contracts::Consumer::declare).
    pub async fn open(mail: Mailboxes, agent: &str) -> Result<Self> {
        if agent.is_empty() {
            return Err(Error::invalid("agent is empty; a request names who asks"));
        }
        let instance = Uuid::now_v7();
        let stop = CancellationToken::new();
        let inner = Arc::new(Inner {
            mail,
            agent: agent.to_owned(),
            topic: Topic::new(format!("{TOPIC_PREFIX}{instance}"))?,
            group: GroupName::new(format!("{GROUP_PREFIX}{instance}"))?,
            waiting: DashMap::new(),
            answered: Answered::default(),
            stop: stop.clone(),
        });
        inner.declare().await?;
        let task = tokio::spawn(dispatch::run(Arc::clone(&inner)));
        Ok(Self {
            inner,
            task,
            _stop: stop.drop_guard(),
        })
    }

    /// Asks `recipient`, and waits up to 30 s for the reply.
    ///
    /// # Errors
    /// Those of [`Requests::request`].
    pub async fn ask(&self, recipient: &str, payload: Payload) -> Result<Message> {
        let request = self.inner.mail.letter(recipient, payload);
        self.request(request, Self::TIMEOUT).await
    }

    /// Sends `request` to its recipient's mailbox, and waits up to `timeout` for the reply. The
    /// sender, the correlation id and where to reply are set here. Dropping the future gives the
    /// request up: its reply goes to the mailbox.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout) when no reply came in time: the request may be answered
    /// later, then the reply goes to the mailbox; [`Closed`](ErrorKind::Closed); those of
    /// [`Mailboxes::send`].
    pub async fn request(&self, mut request: Message, timeout: Duration) -> Result<Message> {
        request.sender = Some(self.inner.agent.clone());
        self.request_of_sender(request, timeout).await
    }

    /// Asks as [`Requests::request`] does, for the agent that the message names as its sender: one
    /// `Requests` serves all agents of a process. A late reply goes to that agent's mailbox.
    ///
    /// # Errors
    /// Those of [`Requests::request`]; [`InvalidArgument`](ErrorKind::InvalidArgument) without a
    /// sender.
    pub async fn request_of_sender(
        &self,
        mut request: Message,
        timeout: Duration,
    ) -> Result<Message> {
        let inner = &*self.inner;
        if request.sender.as_deref().unwrap_or_default().is_empty() {
            return Err(Error::invalid("sender is empty; a request names who asks"));
        }
        let correlation = Uuid::now_v7().to_string();
        let recipient = request.recipient.clone().unwrap_or_default();
        request.correlation_id = Some(correlation.clone());
        request.reply_to = Some(inner.topic.clone());
        let (answer, reply) = oneshot::channel();
        inner.waiting.insert(correlation.clone(), answer);
        let _waiting = Waiting { inner, correlation };
        if inner.stop.is_cancelled() {
            return Err(Error::closed().with_operation("request"));
        }
        let span = operation!(
            "queue.send_and_receive",
            to_agent = recipient,
            from_agent = request.sender,
            message_id = %request.id,
            correlation_id = request.correlation_id,
            priority = request.priority.level(),
            timeout_seconds = timeout.as_secs_f64(),
        );
        // The wait for the reply is what counts, and the send is a part of it.
        let answered = async {
            inner.mail.send(request).await?;
            reply.await.map_err(|_| Error::closed())
        };
        let late = || Error::new(ErrorKind::Timeout, format!("no reply within {timeout:?}"));
        let answered = tokio::time::timeout(timeout, answered)
            .map(|answered| answered.unwrap_or_else(|_| Err(late())));
        let answered = traced(span, answered).await;
        answered.map_err(|error| {
            error
                .with_operation("request")
                .with_context("recipient", &recipient)
        })
    }

    /// How many requests wait for their reply.
    pub fn in_flight(&self) -> usize {
        self.inner.waiting.len()
    }

    /// Ends waiting requests with [`Closed`](ErrorKind::Closed), hands replies that nobody took to
    /// the mailbox, and removes the group of the replies: later ones go to the mailbox.
    ///
    /// # Errors
    /// Those of the backend; [`Requests::recover`] finishes what could not be done.
    pub async fn close(self) -> Result<()> {
        let Self { inner, task, _stop } = self;
        drop(_stop);
        inner.waiting.clear();
        // It ends at once; that it panicked was told where it did.
        drop(task.await);
        recover::hand_over(&inner.mail, &inner.group, &inner.topic).await
    }
}

/// Replies come by a topic and a group of their own for each open [`Requests`].
const TOPIC_PREFIX: &str = "reply.";
const GROUP_PREFIX: &str = "replies.";

impl Inner {
    async fn declare(&self) -> Result<()> {
        let spec = GroupSpec::new(self.topic.clone().into());
        let consumer = self.mail.messenger().consumer();
        consumer.declare(&self.group, &spec).await.map(drop)
    }
}

impl Mailboxes {
    /// Answers a request: to who waits for it, or when nobody does, to the mailbox of who asked.
    /// A request has one reply: another with the same payload does nothing.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a message that asks for no reply;
    /// [`Conflict`](ErrorKind::Conflict) for another reply to the same request, where the backend
    /// remembers the first; those of [`Messenger::send`](crate::Messenger::send).
    pub async fn reply(&self, request: &Message, payload: Payload) -> Result<Sent> {
        let (Some(topic), Some(correlation)) = (&request.reply_to, &request.correlation_id) else {
            return Err(
                Error::invalid("the message asks for no reply: it has no reply_to")
                    .with_context("message", request.id),
            );
        };
        let reply = Message {
            sender: request.recipient.clone(),
            recipient: request.sender.clone(),
            correlation_id: Some(correlation.clone()),
            priority: Priority::max(request.priority, Priority::NORMAL),
            idempotency_key: Some(format!("reply:{correlation}")),
            ttl: Some(self.ttl()),
            ..Message::new(topic.clone(), payload)
        };
        let sent = self.messenger().send(reply.clone()).await?;
        let nobody = sent.routed == Some(0) && reply.recipient.is_some();
        match nobody {
            true => self.forward(reply).await,
            false => Ok(sent),
        }
    }

    /// Puts a reply that nobody waits for into its recipient's mailbox.
    async fn forward(&self, reply: Message) -> Result<Sent> {
        let correlation = reply.correlation_id.as_deref().unwrap_or_default();
        let late = Message {
            id: MessageId::random(),
            idempotency_key: Some(format!("late:{correlation}")),
            ..reply
        };
        self.deliver(late).await
    }
}

#[cfg(test)]
mod tests;
