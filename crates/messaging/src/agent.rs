//! All of it in one hand.

use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{
    Backend, Message, Pattern, Payload, Result, Scope, Sent, StateManager, TaskStack, Topic,
};

use crate::{
    Bus, Incoming, MailboxOptions, Mailboxes, Messenger, PolicyManager, Published, Requests,
    SharedFeed, SharedMemory, Subscribe, Subscription, Topics, TopicsOptions,
};

/// One agent: its mailbox, its requests, topics, shared memory and tasks, under one name.
///
/// ```
/// use std::time::Duration;
///
/// use statehouse_contracts::{Endpoint, Factory, Payload, Result};
/// use statehouse_messaging::Agent;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let backend = statehouse_memory::Memory.open(&Endpoint::parse("memory:")?).await?;
/// let planner = Agent::open(&*backend, "default", "planner").await?;
/// let worker = Agent::open(&*backend, "default", "worker-1").await?;
///
/// tokio::spawn(async move {
///     while let Some(job) = worker.receive(Duration::from_secs(60)).await? {
///         worker.reply(&job, Payload::text("done")).await?;
///     }
///     worker.close().await
/// });
/// assert_eq!(planner.ask("worker-1", Payload::text("do it")).await?.bytes(), b"done");
/// planner.close().await
/// # }
/// ```
#[derive(Debug)]
pub struct Agent {
    name: String,
    mail: Mailboxes,
    requests: Requests,
    topics: Topics,
    memory: SharedMemory,
    feed: SharedFeed,
    tasks: Arc<dyn TaskStack>,
}

impl Agent {
    /// The agent `name` of a namespace, with the default policies and promises, on one backend.
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for a name that is
    /// none; [`Unsupported`](statehouse_contracts::ErrorKind::Unsupported) when the backend lacks a
    /// role; those of opening the handles.
    pub async fn open(backend: &dyn Backend, namespace: &str, name: &str) -> Result<Self> {
        let scope = Scope::parse(namespace, name)?;
        let policies = Arc::new(PolicyManager::default());
        let messenger = Messenger::open(backend, &scope, policies).await?;
        let mail = Mailboxes::new(messenger, MailboxOptions::default());
        let (state, tasks) = (backend.state(&scope).await?, backend.tasks(&scope).await?);
        Self::over(name, mail, state, tasks).await
    }

    /// The agent `name` over handles of any backends.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for an empty name;
    /// those of [`Requests::open`] and [`Topics::open`].
    pub async fn over(
        name: &str,
        mail: Mailboxes,
        state: Arc<dyn StateManager>,
        tasks: Arc<dyn TaskStack>,
    ) -> Result<Self> {
        let memory = SharedMemory::new(state, name)?;
        let messenger = mail.messenger().clone();
        let topics = Topics::open(messenger, Bus::default(), TopicsOptions::default()).await?;
        let feed = SharedFeed::start(memory.clone()).await?;
        // Last: what it declares stays where something else fails.
        let requests = Requests::open(mail.clone(), name).await?;
        Ok(Self {
            name: name.to_owned(),
            mail,
            requests,
            topics,
            memory,
            feed,
            tasks,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Mailboxes, its own and others'.
    pub fn mail(&self) -> &Mailboxes {
        &self.mail
    }

    /// Requests, for timeouts of their own.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// What agents share, and what is private to this one.
    pub fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    /// Its tasks, and those of the other agents of the namespace.
    pub fn tasks(&self) -> &Arc<dyn TaskStack> {
        &self.tasks
    }

    /// Sends to another agent's mailbox.
    ///
    /// # Errors
    /// Those of [`Mailboxes::send`].
    pub async fn send(&self, to: &str, payload: Payload) -> Result<Sent> {
        let letter = Message {
            sender: Some(self.name.clone()),
            ..self.mail.letter(to, payload)
        };
        self.mail.send(letter).await
    }

    /// The next message of its mailbox, waiting up to `wait`. Settle it by
    /// [`done`](Agent::done), [`failed`](Agent::failed) or [`reply`](Agent::reply).
    ///
    /// # Errors
    /// Those of [`Mailboxes::receive`].
    pub async fn receive(&self, wait: Duration) -> Result<Option<Incoming>> {
        self.mail.receive_one(&self.name, wait).await
    }

    /// Done with a message.
    ///
    /// # Errors
    /// Those of [`Messenger::ack`].
    pub async fn done(&self, message: &Incoming) -> Result<()> {
        self.mail.messenger().ack(message).await
    }

    /// Not done with a message: it comes again after its backoff, or is a dead letter.
    ///
    /// # Errors
    /// Those of [`Messenger::nack`].
    pub async fn failed(&self, message: &Incoming, error: impl Into<String> + Send) -> Result<()> {
        self.mail.messenger().nack(message, error).await
    }

    /// Asks another agent, and waits up to 30 s for its reply.
    ///
    /// # Errors
    /// Those of [`Requests::request`].
    pub async fn ask(&self, to: &str, payload: Payload) -> Result<Message> {
        self.requests.ask(to, payload).await
    }

    /// Answers a request, and is done with it.
    ///
    /// # Errors
    /// Those of [`Mailboxes::reply`] and [`Messenger::ack`].
    pub async fn reply(&self, request: &Incoming, payload: Payload) -> Result<()> {
        self.mail.reply(request.message(), payload).await?;
        self.done(request).await
    }

    /// Publishes to who listens, in any process.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for a topic that is
    /// none; those of [`Topics::publish`].
    pub async fn publish(&self, topic: &str, payload: Payload) -> Result<Published> {
        let message = Message {
            sender: Some(self.name.clone()),
            ..Message::new(Topic::new(topic)?, payload)
        };
        self.topics.publish(message).await
    }

    /// Listens to topics, from now on: `*` is one word, `#` any number.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for a pattern that is
    /// none; those of [`Topics::subscribe`].
    pub fn subscribe(&self, pattern: &str) -> Result<Subscription> {
        let pattern = Pattern::new(pattern)?;
        self.topics.subscribe(Subscribe::new(&self.name, pattern))
    }

    /// Stops listening, and hands replies that nobody took to the mailbox. The handles beneath stay
    /// open.
    ///
    /// # Errors
    /// Those of [`Requests::close`].
    pub async fn close(self) -> Result<()> {
        self.topics.close().await;
        self.feed.stop().await;
        self.requests.close().await
    }
}

#[cfg(test)]
mod tests {
    use statehouse_contracts::{Endpoint, Factory};

    use super::*;
    use crate::{PutShared, SharedScope};

    const WAIT: Duration = Duration::from_secs(10);

    async fn two() -> (Agent, Agent) {
        let endpoint = Endpoint::parse("memory:").unwrap();
        let backend = statehouse_memory::Memory.open(&endpoint).await.unwrap();
        let backend = statehouse_layers::guard(backend);
        let open = async |name| Agent::open(&*backend, "default", name).await.unwrap();
        (open("ada").await, open("bob-2").await)
    }

    #[tokio::test]
    async fn two_agents_use_all_of_it() {
        let (ada, bob) = two().await;
        ada.send("bob-2", Payload::text("hello")).await.unwrap();
        let got = bob.receive(WAIT).await.unwrap().unwrap();
        assert_eq!(got.message().sender.as_deref(), Some("ada"));
        bob.done(&got).await.unwrap();

        let mut jobs = bob.subscribe("job.*").unwrap();
        ada.publish("job.new", Payload::text("1")).await.unwrap();
        let heard = tokio::time::timeout(WAIT, jobs.recv()).await.unwrap();
        assert_eq!(heard.unwrap().sender.as_deref(), Some("ada"));

        let shared = ada.memory().key(&SharedScope::Global, "plan").unwrap();
        ada.memory()
            .put(&shared, PutShared::new("x"))
            .await
            .unwrap();
        let same = bob.memory().key(&SharedScope::Global, "plan").unwrap();
        assert_eq!(bob.memory().get(&same).await.unwrap().unwrap().value, "x");

        let answering = async {
            let asked = bob.receive(WAIT).await.unwrap().unwrap();
            bob.reply(&asked, Payload::text("42")).await.unwrap();
        };
        let (answer, ()) = tokio::join!(ada.ask("bob-2", Payload::text("?")), answering);
        assert_eq!(answer.unwrap().bytes(), b"42");
        let status = bob.mail().status("bob-2").await.unwrap();
        assert_eq!((status.counts.ready, status.counts.in_flight), (0, 0));
        ada.close().await.unwrap();
        bob.close().await.unwrap();
    }

    #[tokio::test]
    async fn what_failed_comes_again() {
        let (ada, bob) = two().await;
        ada.send("bob-2", Payload::text("hello")).await.unwrap();
        let got = bob.receive(WAIT).await.unwrap().unwrap();
        bob.failed(&got, "not now").await.unwrap();
        let again = bob.receive(WAIT).await.unwrap().unwrap();
        assert_eq!(again.delivery.attempt, 2);
    }
}
