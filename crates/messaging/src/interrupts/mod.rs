//! Signals that do not wait in a mailbox.

mod buffered;
mod durable;
mod handle;
mod handler;
mod options;
mod signal;
mod stats;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use dashmap::DashMap;
use parking_lot::RwLock;
use statehouse_contracts::{Bytes, Error, ErrorKind, MessageId, Result};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::trace::{operation, traced};
use crate::{Incoming, Messenger};
pub(crate) use durable::TOPIC_PREFIX;
use handle::check_agent;
pub use handler::{Handled, Interrupt, InterruptEvent, InterruptHandler, InterruptHook};
pub use options::InterruptOptions;
pub use signal::{Signal, SignalClass};
pub use stats::InterruptStats;

/// Signals for agents, handled at once by who registered for them.
///
/// - A **critical** signal is a message of the group `interrupts.<agent>`: it waits for an agent that
///   is not there, reaches it in any process, and comes again, after a growing wait, until its
///   handler has handled it, or somebody [acknowledged](Interrupts::acknowledge) it. After its last
///   attempt it is a dead letter.
/// - All **others** are for the agents of this process. They wait in a bounded buffer for each class;
///   when that is full the newest is refused. Who sends never waits.
/// - A handler that fails, panics or takes too long has not delivered anything. Until it is done, or
///   takes too long, what is not critical of its class waits, whichever agent it is for; and so do the
///   critical ones of its own agent.
///
/// Clones are the same interrupts. Needs a tokio runtime.
///
/// ```
/// use std::sync::Arc;
///
/// use async_trait::async_trait;
/// use statehouse_contracts::{Endpoint, Factory, Result, Scope};
/// use statehouse_messaging::{
///     Handled, Interrupt, InterruptHandler, InterruptOptions, Interrupts, Messenger,
///     PolicyManager, Signal,
/// };
///
/// #[derive(Debug)]
/// struct Stop(tokio::sync::mpsc::Sender<String>);
///
/// #[async_trait]
/// impl InterruptHandler for Stop {
///     async fn handle(&self, interrupt: &Interrupt) -> Result<Handled> {
///         let _ = self.0.send(interrupt.signal.to_string()).await;
///         Ok(Handled::Done)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let backend = statehouse_memory::Memory.open(&Endpoint::parse("memory:")?).await?;
/// let scope = Scope::parse("default", "team")?;
/// let messenger = Messenger::open(&*backend, &scope, PolicyManager::default().into()).await?;
/// let interrupts = Interrupts::new(messenger, InterruptOptions::default());
///
/// // It waits until the agent is there.
/// interrupts.send(Signal::EMERGENCY_STOP, "worker-1", "fire").await?;
/// let (told, mut heard) = tokio::sync::mpsc::channel(1);
/// interrupts.register("worker-1", Signal::EMERGENCY_STOP, Arc::new(Stop(told))).await?;
/// assert_eq!(heard.recv().await.as_deref(), Some("emergency_stop"));
/// interrupts.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Interrupts(Arc<Inner>);

struct Inner {
    messenger: Messenger,
    options: InterruptOptions,
    agents: RwLock<BTreeMap<String, Agent>>,
    buffers: BTreeMap<SignalClass, mpsc::Sender<Interrupt>>,
    /// Critical interrupts that a handler has taken.
    taken: DashMap<MessageId, Incoming>,
    stats: stats::Counters,
    hook: RwLock<Option<InterruptHook>>,
    stop: CancellationToken,
    running: TaskTracker,
}

/// What an agent has registered.
#[derive(Default)]
struct Agent {
    handlers: BTreeMap<Signal, Arc<dyn InterruptHandler>>,
    /// Ends what receives its critical interrupts, if anything does.
    listening: Option<CancellationToken>,
}

impl Interrupts {
    /// Critical interrupts go by `messenger`.
    pub fn new(messenger: Messenger, options: InterruptOptions) -> Self {
        let (mut buffers, mut receivers) = (BTreeMap::new(), Vec::new());
        for class in SignalClass::BUFFERED {
            let (sender, receiver) = mpsc::channel(options.buffer(class));
            buffers.insert(class, sender);
            receivers.push(receiver);
        }
        let inner = Arc::new(Inner {
            messenger,
            options,
            agents: RwLock::default(),
            buffers,
            taken: DashMap::new(),
            stats: stats::Counters::default(),
            hook: RwLock::default(),
            stop: CancellationToken::new(),
            running: TaskTracker::new(),
        });
        for receiver in receivers {
            // It holds the interrupts only while it handles one, so that they end with their last
            // clone.
            let work = buffered::work(Arc::downgrade(&inner), receiver, inner.stop.clone());
            inner.running.spawn(work);
        }
        Self(inner)
    }

    /// Registers who handles a signal for an agent.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) without an agent;
    /// [`Conflict`](ErrorKind::Conflict) when somebody is registered;
    /// [`Closed`](ErrorKind::Closed); for a critical signal those of
    /// [`Consumer::declare`](statehouse_contracts::Consumer::declare).
    pub async fn register(
        &self,
        agent: &str,
        signal: Signal,
        handler: Arc<dyn InterruptHandler>,
    ) -> Result<()> {
        self.register_all(agent, &[signal], &handler).await
    }

    /// Registers who handles several signals for an agent: all of them before the first comes, or,
    /// on an error, none.
    ///
    /// # Errors
    /// Those of [`Interrupts::register`].
    pub async fn register_all(
        &self,
        agent: &str,
        signals: &[Signal],
        handler: &Arc<dyn InterruptHandler>,
    ) -> Result<()> {
        self.0.check_open()?;
        check_agent(agent)?;
        let critical = signals.iter().any(|signal| signal.is_critical());
        if critical {
            self.0.declare(agent).await?;
        }
        let mut agents = self.0.agents.write();
        let registered = agents.entry(agent.to_owned()).or_default();
        let taken = |signal: &&Signal| registered.handlers.contains_key(*signal);
        if let Some(signal) = signals.iter().find(taken) {
            let text = format!("{agent} has a handler for {signal} already; unregister it first");
            return Err(Error::new(ErrorKind::Conflict, text));
        }
        let handlers = signals.iter().map(|signal| (*signal, Arc::clone(handler)));
        registered.handlers.extend(handlers);
        if critical && registered.listening.is_none() {
            registered.listening = Some(self.0.listen(agent));
        }
        Ok(())
    }

    /// Takes a handler away; answers whether there was one. Critical interrupts wait from then on.
    pub fn unregister(&self, agent: &str, signal: Signal) -> bool {
        let mut agents = self.0.agents.write();
        let Some(registered) = agents.get_mut(agent) else {
            return false;
        };
        let removed = registered.handlers.remove(&signal).is_some();
        let listens = registered
            .handlers
            .keys()
            .any(|signal| signal.is_critical());
        if !listens && let Some(listening) = registered.listening.take() {
            listening.cancel();
        }
        if registered.handlers.is_empty() {
            agents.remove(agent);
        }
        removed
    }

    /// Sends a signal to an agent. Answers its id once it is accepted: in its class's buffer, or
    /// stored when it is critical.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when it is not critical and nobody here handles it;
    /// [`Overloaded`](ErrorKind::Overloaded) when its buffer is full; [`Closed`](ErrorKind::Closed);
    /// for a critical one those of [`Messenger::send`].
    pub async fn send(
        &self,
        signal: Signal,
        target: &str,
        payload: impl Into<Bytes> + Send,
    ) -> Result<MessageId> {
        self.send_from(None, signal, target, payload).await
    }

    /// Sends a signal in somebody's name.
    ///
    /// # Errors
    /// Those of [`Interrupts::send`].
    pub async fn send_from(
        &self,
        sender: Option<&str>,
        signal: Signal,
        target: &str,
        payload: impl Into<Bytes> + Send,
    ) -> Result<MessageId> {
        let interrupt = Interrupt {
            id: MessageId::random(),
            signal,
            target: target.to_owned(),
            sender: sender.map(str::to_owned),
            payload: payload.into(),
            attempt: 1,
        };
        let span = operation!(
            "interrupt.send",
            signal = %signal,
            target_agent = target,
            from_agent = sender,
            message_id = %interrupt.id,
        );
        traced(span, self.0.accept(interrupt)).await
    }

    /// Sends a signal to every agent that handles it, in this process; a critical one to every agent
    /// that has ever been sent or has handled a critical one, in any process, where it waits for an
    /// hour for who handles it. Answers how many agents it was accepted for.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed); for a critical one those of [`Messenger::send`], when some of
    /// them may have it.
    pub async fn broadcast(
        &self,
        sender: Option<&str>,
        signal: Signal,
        payload: impl Into<Bytes> + Send,
    ) -> Result<usize> {
        let span = operation!("interrupt.broadcast", signal = %signal, from_agent = sender);
        traced(span, self.send_to_all(sender, signal, payload.into())).await
    }

    async fn send_to_all(
        &self,
        sender: Option<&str>,
        signal: Signal,
        payload: Bytes,
    ) -> Result<usize> {
        self.0.check_open()?;
        if signal.is_critical() {
            return self.0.persist_for_all(sender, signal, payload).await;
        }
        let mut accepted = 0;
        for target in self.agents_for(signal) {
            let sent = self.send_from(sender, signal, &target, payload.clone());
            match sent.await {
                Ok(_) => accepted += 1,
                Err(error) if error.kind() == ErrorKind::Closed => return Err(error),
                // It was told as dropped.
                Err(error) => tracing::debug!(target, %signal, %error, "not accepted"),
            }
        }
        Ok(accepted)
    }

    /// Done with a critical interrupt that a handler of this process has in hand or has
    /// [taken](Handled::Taken).
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for one that nobody has here, or that was acknowledged;
    /// [`LeaseLost`](ErrorKind::LeaseLost) when it comes again already.
    pub async fn acknowledge(&self, id: MessageId) -> Result<()> {
        let Some((_, incoming)) = self.0.taken.remove(&id) else {
            return Err(Error::not_found(format!(
                "no interrupt {id} waits to be acknowledged here"
            )));
        };
        self.0.ack(&incoming).await
    }

    /// The signals that an agent handles here.
    pub fn handlers(&self, agent: &str) -> Vec<Signal> {
        let agents = self.0.agents.read();
        let registered = agents.get(agent);
        registered.map_or_else(Vec::new, |found| found.handlers.keys().copied().collect())
    }

    /// The agents that handle anything here, by name.
    pub fn agents(&self) -> Vec<String> {
        self.0.agents.read().keys().cloned().collect()
    }

    /// Sets who is told of everything that happens, or nobody.
    pub fn set_hook(&self, hook: Option<InterruptHook>) {
        *self.0.hook.write() = hook;
    }

    /// What has happened in this process, and what waits here.
    pub fn stats(&self) -> InterruptStats {
        let buffers = self.0.buffers.values();
        let waiting = buffers.map(|buffer| buffer.max_capacity() - buffer.capacity());
        self.0.stats.read(waiting.sum(), self.0.taken.len())
    }

    /// Ends every handler after what it handles now. What waits in a buffer is dropped, and told so;
    /// critical interrupts wait for the next process. Idempotent.
    pub async fn close(&self) {
        self.0.stop.cancel();
        self.0.running.close();
        self.0.running.wait().await;
        self.0.agents.write().clear();
        self.0.taken.clear();
    }

    fn agents_for(&self, signal: Signal) -> Vec<String> {
        let agents = self.0.agents.read();
        let handling = agents
            .iter()
            .filter(|(_, agent)| agent.handlers.contains_key(&signal));
        handling.map(|(name, _)| name.clone()).collect()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("options", &self.options)
            .field("agents", &self.agents.read().keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
