//! What agents say to each other: mailboxes and shared memory by scope, topics and requests by
//! namespace.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use statehouse_config::{Config, UnknownAgents};
use statehouse_contracts::{
    Consumer, Error, ErrorKind, Id, Kind, Namespace, Producer, ReferenceStore, Result, Scope,
    StateKey, StateManager, StateManagerExt, Topic,
};
use statehouse_messaging::{
    AgentValidator, Bus, BusOptions, InterruptOptions, Interrupts, MailboxOptions, MailboxProducer,
    Mailboxes, Messenger, MessengerOptions, PolicyManager, Requests, SharedMemory, Topics,
    TopicsOptions,
};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{App, Capabilities, service_principal};
use crate::backends::Backends;

/// Who asks for those who ask over HTTP; their own names stand in the messages.
const ASKER: &str = "statehouse";

/// How mailboxes are opened, here and on the command line.
#[derive(Clone, Debug)]
pub struct MailPlan {
    policies: Arc<PolicyManager>,
    options: MailboxOptions,
    validates: bool,
}

impl MailPlan {
    /// As `config` says.
    pub fn new(config: &Config) -> Self {
        Self {
            policies: Arc::new(PolicyManager::new(&config.policy())),
            options: config.mailbox_options(),
            validates: config.messaging.mailbox.unknown_agents != UnknownAgents::Accept,
        }
    }

    /// Whether a backend makes mailboxes of this promise by itself.
    fn is_usual(&self) -> bool {
        let usual = MailboxOptions::default();
        let ours = MailboxOptions {
            ttl: usual.ttl,
            unknown: usual.unknown,
            ..self.options
        };
        ours == usual
    }

    /// Whether [`MailPlan::mail`] needs the state, to know which agents there are.
    pub fn validates(&self) -> bool {
        self.validates
    }

    /// Mailboxes over these handles. Without `references` every payload travels inline; with
    /// `state` its records of the kind `agent` are the agents that are known.
    pub fn mail(
        &self,
        producer: Arc<dyn Producer>,
        consumer: Arc<dyn Consumer>,
        references: Option<Arc<dyn ReferenceStore>>,
        state: Option<Arc<dyn StateManager>>,
    ) -> Mailboxes {
        let messenger = match references {
            None => Messenger::inline(producer, consumer),
            Some(references) => Messenger::new(
                producer,
                consumer,
                references,
                Arc::clone(&self.policies),
                MessengerOptions::default(),
            ),
        };
        match state {
            None => Mailboxes::new(messenger, self.options),
            Some(state) => {
                let known = Arc::new(KnownAgents(state));
                Mailboxes::with_validator(messenger, self.options, known)
            }
        }
    }
}

/// The agents that have a state record of the kind `agent`.
#[derive(Debug)]
struct KnownAgents(Arc<dyn StateManager>);

#[async_trait]
impl AgentValidator for KnownAgents {
    async fn exists(&self, agent: &str) -> Result<bool> {
        let Ok(id) = Id::new(agent) else {
            return Ok(false);
        };
        let key = StateKey::new(Kind::new("agent")?, id);
        Ok(self.0.get(&key).await?.is_some())
    }
}

/// What agents say to each other, in all namespaces.
#[derive(Debug)]
pub(super) struct Messaging {
    plan: MailPlan,
    bus: BusOptions,
    keep: Duration,
    hubs: Mutex<HashMap<Namespace, Arc<Hub>>>,
}

/// What the agents of one namespace share in this process, each opened when it is first used.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    topics: OnceCell<Topics>,
    requests: OnceCell<Requests>,
    interrupts: OnceCell<Interrupts>,
}

impl Messaging {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            plan: MailPlan::new(config),
            bus: config.bus_options(),
            keep: config.messaging.bus.keep,
            hubs: Mutex::default(),
        }
    }

    fn hub(&self, namespace: &Namespace) -> Arc<Hub> {
        let mut hubs = self.hubs.lock();
        Arc::clone(hubs.entry(namespace.clone()).or_default())
    }

    /// Ends subscriptions and requests; replies that nobody took go to the mailbox.
    pub(super) async fn close(&self) {
        let hubs = std::mem::take(&mut *self.hubs.lock());
        for (namespace, hub) in hubs {
            let Some(hub) = Arc::into_inner(hub) else {
                tracing::warn!(%namespace, "requests are given up; their replies wait");
                continue;
            };
            if let Some(interrupts) = hub.interrupts.into_inner() {
                interrupts.close().await;
            }
            if let Some(topics) = hub.topics.into_inner() {
                topics.bus().close();
                topics.close().await;
            }
            if let Some(requests) = hub.requests.into_inner()
                && let Err(error) = requests.close().await
            {
                tracing::warn!(%namespace, %error, "replies wait for the next service");
            }
        }
    }
}

impl Hub {
    /// Topics, once [`App::hub_with_topics`] has opened them.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed) before that.
    pub(crate) fn topics(&self) -> Result<&Topics> {
        self.topics.get().ok_or_else(Error::closed)
    }

    /// Requests, once [`App::hub_with_requests`] has opened them.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed) before that.
    pub(crate) fn requests(&self) -> Result<&Requests> {
        self.requests.get().ok_or_else(Error::closed)
    }

    /// Interrupts, once [`App::hub_with_interrupts`] has opened them.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed) before that.
    pub(crate) fn interrupts(&self) -> Result<&Interrupts> {
        self.interrupts.get().ok_or_else(Error::closed)
    }
}

impl App {
    /// Mailboxes, and the messenger beneath them.
    ///
    /// # Errors
    /// Those of the backends.
    pub async fn mail(&self, scope: &Scope) -> Result<Mailboxes> {
        // Starts what looks after the namespace.
        self.0.services.of(&scope.namespace);
        let session = self.session(scope);
        let open = || async {
            let plan = &self.0.messaging.plan;
            let references = match self.0.capabilities.references {
                Some(_) => Some(self.references(scope).await?),
                None => None,
            };
            let state = match plan.validates() {
                true => Some(self.state(scope).await?),
                false => None,
            };
            let (producer, consumer) = (self.producer(scope).await?, self.consumer(scope).await?);
            Ok(plan.mail(producer, consumer, references, state))
        };
        session.mail.get_or_try_init(open).await.cloned()
    }

    /// Makes the mailboxes among `topics` as the configuration says, before something else does by
    /// sending to them or receiving from them.
    ///
    /// # Errors
    /// Those of the backends.
    pub(crate) async fn make_mailboxes<'a>(
        &self,
        scope: &Scope,
        topics: impl Iterator<Item = &'a Topic> + Send,
    ) -> Result<()> {
        if self.0.messaging.plan.is_usual() {
            return Ok(());
        }
        for mailbox in topics.filter(|topic| topic.is_mailbox()) {
            self.mail(scope).await?.make(mailbox).await?;
        }
        Ok(())
    }

    /// What agents share. Private values are those of the scope's principal.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn shared(&self, scope: &Scope) -> Result<SharedMemory> {
        let session = self.session(scope);
        let open =
            || async { SharedMemory::new(self.state(scope).await?, scope.principal.as_str()) };
        session.shared.get_or_try_init(open).await.cloned()
    }

    /// What the namespace shares, with topics.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where the backend has no broadcasts; those of
    /// [`Topics::open`].
    pub(crate) async fn hub_with_topics(&self, namespace: &Namespace) -> Result<Arc<Hub>> {
        let hub = self.0.messaging.hub(namespace);
        let open = || async {
            let options = TopicsOptions {
                keep: self.0.messaging.keep,
                ..TopicsOptions::default()
            };
            let mail = self.mail(&service_scope(namespace)?).await?;
            let bus = Bus::new(self.0.messaging.bus);
            Topics::open(mail.messenger().clone(), bus, options).await
        };
        hub.topics.get_or_try_init(open).await?;
        Ok(hub)
    }

    /// What the namespace shares, with requests.
    ///
    /// # Errors
    /// Those of [`Requests::open`].
    pub(crate) async fn hub_with_requests(&self, namespace: &Namespace) -> Result<Arc<Hub>> {
        let hub = self.0.messaging.hub(namespace);
        let open = || async {
            let mail = self.mail(&service_scope(namespace)?).await?;
            Requests::open(mail, ASKER).await
        };
        hub.requests.get_or_try_init(open).await?;
        Ok(hub)
    }

    /// What the namespace shares, with interrupts.
    ///
    /// # Errors
    /// Those of the backends.
    pub(crate) async fn hub_with_interrupts(&self, namespace: &Namespace) -> Result<Arc<Hub>> {
        let hub = self.0.messaging.hub(namespace);
        let open = || async {
            let mail = self.mail(&service_scope(namespace)?).await?;
            let options = InterruptOptions::default();
            Ok::<_, Error>(Interrupts::new(mail.messenger().clone(), options))
        };
        hub.interrupts.get_or_try_init(open).await?;
        Ok(hub)
    }
}

fn service_scope(namespace: &Namespace) -> Result<Scope> {
    Ok(Scope::new(namespace.clone(), service_principal()?))
}

/// Looks after the messages of namespaces: content that crashes left behind, and replies to
/// processes that are gone.
#[derive(Debug)]
pub(super) struct Housekeeping {
    plan: MailPlan,
    sweeps: bool,
    sweep: Duration,
    recover: Duration,
}

impl Housekeeping {
    /// `None` where there are no messages.
    pub(super) fn new(config: &Config, capabilities: &Capabilities) -> Option<Self> {
        let has_messages = capabilities.producer.is_some() && capabilities.consumer.is_some();
        has_messages.then(|| Self {
            plan: MailPlan::new(config),
            sweeps: capabilities.references.is_some(),
            sweep: config.messaging.communication.sweep_interval,
            recover: config.messaging.requests.recover_interval,
        })
    }

    /// The mailboxes of one namespace.
    ///
    /// # Errors
    /// Those of the backends.
    pub(super) async fn mail(&self, backends: &Backends, scope: &Scope) -> Result<Mailboxes> {
        let references = match self.sweeps {
            true => Some(backends.references.references(scope).await?),
            false => None,
        };
        let producer = backends.messages.producer(scope).await?;
        let consumer = backends.messages.consumer(scope).await?;
        Ok(self.plan.mail(producer, consumer, references, None))
    }

    /// A producer for what others wrote: the mailboxes it sends to are made as configured.
    pub(super) fn making_mailboxes(
        &self,
        mail: &Mailboxes,
        producer: Arc<dyn Producer>,
    ) -> Arc<dyn Producer> {
        match self.plan.is_usual() {
            true => producer,
            false => Arc::new(MailboxProducer::new(mail.clone(), producer)),
        }
    }

    /// Starts it.
    pub(super) fn start(&self, mail: Mailboxes, running: &TaskTracker, stop: &CancellationToken) {
        if self.sweeps {
            let (mail, stop) = (mail.clone(), stop.clone());
            let sweep = repeat(self.sweep, "sweep", move || {
                let messenger = mail.messenger().clone();
                async move { messenger.sweep().await.map(|swept| swept.released) }
            });
            running.spawn(stop.run_until_cancelled_owned(sweep));
        }
        let recover = repeat(self.recover, "recover", move || {
            let mail = mail.clone();
            async move { Requests::recover(&mail).await }
        });
        running.spawn(stop.clone().run_until_cancelled_owned(recover));
    }
}

/// Does `work` every so often, until it can't be done here at all.
async fn repeat<F, W>(every: Duration, name: &'static str, work: F)
where
    F: Fn() -> W,
    W: Future<Output = Result<u64>>,
{
    loop {
        // sleep: the interval of the work
        tokio::time::sleep(every).await;
        match work().await {
            Ok(0) => {}
            Ok(done) => tracing::info!(work = name, done, "looked after messages"),
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Closed) => {
                tracing::debug!(work = name, %error, "messages cannot be looked after here");
                return;
            }
            Err(error) => {
                tracing::warn!(work = name, %error, "messages cannot be looked after now");
            }
        }
    }
}
