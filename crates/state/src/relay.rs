//! The relay: sends what was committed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{
    Change, Cursor, Error, ErrorKind, FollowerName, FollowerSpec, Lease, Message, Namespace,
    OutboxEntry, OutboxOutcome, OutboxSettle, Producer, Result, Retry, SendOptions, StateManager,
    Transaction,
};
use tokio_util::sync::CancellationToken;

use crate::StateEvent;
use crate::pause::Pauses;

/// How the relay works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayOptions {
    /// Who holds the outbox's lease: unique among the processes.
    pub owner: String,
    /// How long the lease lasts: how long another process waits when this one dies.
    pub lease: Duration,
    /// How many messages are sent at once; fewer where the producer or the store takes fewer.
    pub batch: usize,
    /// The most bytes of data that an event carries; fewer where the producer or the store takes
    /// smaller messages.
    pub inline: usize,
    /// The longest pause after a failure. The first is 100 ms; each doubles until something works.
    pub backoff: Duration,
}

impl RelayOptions {
    /// A lease of 10 s, batches of 256, 10,240 bytes inline, at most 5 s between attempts.
    pub fn new(owner: impl Into<String>) -> Self {
        Self {
            owner: owner.into(),
            lease: Duration::from_secs(10),
            batch: 256,
            inline: 10_240,
            backoff: Duration::from_secs(5),
        }
    }
}

/// Sends the messages of the outbox, and an event of every change of state, of one namespace. Of
/// several relays one works, the holder of the outbox's lease; another takes over when it ends.
///
/// - A message is sent at least once, with its id, so that the producer recognises a repeat.
/// - Messages of one ordering key go in the order of their commits. What cannot be sent now holds
///   up only its key.
/// - What the producer refuses for good is parked in the outbox with the reason.
/// - Kinds that begin with `statehouse.` are the services' own records: they have no events.
/// - The event of a change that cannot be sent moves to the outbox, with the later ones of its key
///   behind it, so that the change log can be followed on.
#[derive(Debug)]
pub struct Relay {
    state: Arc<dyn StateManager>,
    producer: Arc<dyn Producer>,
    namespace: Namespace,
    follower: FollowerName,
    options: RelayOptions,
}

/// What is to be done with a message that the producer answered.
enum Verdict {
    Sent,
    Later,
    Refused(String),
}

impl Relay {
    /// The follower of the change log that the relay keeps its place with.
    pub const FOLLOWER: &'static str = "statehouse.relay";

    /// A relay of `namespace` from `state` to `producer`.
    ///
    /// # Errors
    /// Never in practice: the follower's fixed name is valid.
    pub fn new(
        state: Arc<dyn StateManager>,
        producer: Arc<dyn Producer>,
        namespace: Namespace,
        options: RelayOptions,
    ) -> Result<Self> {
        let follower = FollowerName::new(Self::FOLLOWER)?;
        Ok(Self {
            state,
            producer,
            namespace,
            follower,
            options,
        })
    }

    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut pauses = Pauses::up_to(self.options.backoff);
        while !stop.is_cancelled() {
            let worked = tokio::select! {
                () = stop.cancelled() => break,
                worked = self.work_under_lease(&mut pauses) => worked,
            };
            let pause = match worked {
                Ok(()) => self.options.lease / 4,
                Err(error) if error.kind() == ErrorKind::Closed => break,
                Err(error) => {
                    tracing::warn!(namespace = %self.namespace, %error, "the relay pauses");
                    pauses.next()
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)) => {}
            }
        }
        // A lease that cannot be given back runs out by itself.
        let _ = self.give_back().await;
    }

    async fn give_back(&self) -> Result<()> {
        let lease = self
            .state
            .outbox_lease(&self.options.owner, self.options.lease)
            .await?;
        match lease {
            Some(lease) => self.state.outbox_release(&lease.token).await,
            None => Ok(()),
        }
    }

    /// Works while it holds the lease; `Ok` when another relay does. Work that is done resets
    /// `pauses`.
    async fn work_under_lease(&self, pauses: &mut Pauses) -> Result<()> {
        let Some(lease) = self
            .state
            .outbox_lease(&self.options.owner, self.options.lease)
            .await?
        else {
            return Ok(());
        };
        let follower = self
            .state
            .follow(&self.follower, FollowerSpec::default())
            .await?;
        let mut work = Work {
            relay: self,
            lease,
            events: follower.cursor,
            detoured: HashSet::new(),
            held: HashSet::new(),
            pass: Pass::default(),
            ended: Pass::default(),
            retries: Pauses::up_to(self.options.backoff.min(self.options.lease / 4)),
        };
        work.find_detoured().await?;
        loop {
            work.keep_lease().await?;
            let looked_at = work.outbox().await? + work.events().await?;
            pauses.reset();
            if looked_at == 0 {
                work.rest().await?;
            }
        }
    }
}

/// One tenure of the relay.
struct Work<'r> {
    relay: &'r Relay,
    lease: Lease,
    /// The place in the change log.
    events: Cursor,
    /// Ordering keys whose events go through the outbox, because earlier ones are there.
    detoured: HashSet<String>,
    /// Ordering keys with a message that could not be sent in this pass over the outbox.
    held: HashSet<String>,
    pass: Pass,
    /// The last pass that came to its end.
    ended: Pass,
    /// Until what could not be sent is tried again.
    retries: Pauses,
}

/// A pass over the outbox.
#[derive(Clone, Copy, Debug, Default)]
struct Pass {
    /// How far it is.
    place: u64,
    /// How many entries could not be sent.
    unsent: usize,
}

impl Work<'_> {
    fn state(&self) -> &dyn StateManager {
        &*self.relay.state
    }

    /// How many entries or changes are taken at once: as many as both sides take, also when the
    /// events of a page of changes go to the outbox in one transaction.
    fn batch(&self) -> usize {
        let (producer, state) = (self.relay.producer.capability(), self.state().capability());
        let limits = [producer.max_batch, state.max_writes, state.max_page];
        let most = limits
            .into_iter()
            .fold(self.relay.options.batch, usize::min);
        most.max(1)
    }

    /// The most bytes of data in an event that both sides take.
    fn inline(&self) -> usize {
        let producer = self.relay.producer.capability().max_payload;
        let outbox = self.state().capability().max_message;
        self.relay.options.inline.min(producer).min(outbox)
    }

    async fn keep_lease(&mut self) -> Result<()> {
        let length = self.relay.options.lease;
        if self.lease.remaining() < length / 2 {
            self.lease = self
                .state()
                .outbox_extend(&self.lease.token, length)
                .await?;
        }
        Ok(())
    }

    /// Finds the keys whose events wait in the outbox, after a restart.
    async fn find_detoured(&mut self) -> Result<()> {
        self.detoured = self.parked_keys().await?;
        let mut after = 0;
        loop {
            let page = self.pending(after).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.position;
            self.detoured.extend(
                page.into_iter()
                    .filter_map(|entry| entry.message.ordering_key),
            );
        }
    }

    async fn pending(&self, after: u64) -> Result<Vec<OutboxEntry>> {
        self.state()
            .outbox_read(&self.lease.token, after, self.batch(), Duration::ZERO)
            .await
    }

    async fn parked_keys(&self) -> Result<HashSet<String>> {
        let mut keys = HashSet::new();
        let mut after = None;
        loop {
            let page = self
                .state()
                .outbox_parked(self.batch(), after.as_ref())
                .await?;
            keys.extend(
                page.items
                    .into_iter()
                    .filter_map(|entry| entry.message.ordering_key),
            );
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(keys),
            }
        }
    }

    /// Sends a batch of the outbox; answers how many entries it looked at, 0 at the end of a pass.
    async fn outbox(&mut self) -> Result<usize> {
        if self.pass.place == 0 {
            // What is released amid a pass is behind its place: its key waits for the next pass.
            self.held = self.parked_keys().await?;
        }
        let page = self.pending(self.pass.place).await?;
        let Some(last) = page.last().map(|entry| entry.position) else {
            self.ended = std::mem::take(&mut self.pass);
            self.held.clear();
            return Ok(0);
        };
        self.pass.place = last;
        let looked_at = page.len();
        let free: Vec<OutboxEntry> = page
            .into_iter()
            .filter(|entry| !self.is_held(entry.message.ordering_key.as_ref()))
            .collect();
        let messages = free.iter().map(|entry| entry.message.clone()).collect();
        let verdicts = self.send(messages).await?;
        let mut settles = Vec::with_capacity(free.len());
        for (entry, verdict) in free.into_iter().zip(verdicts) {
            let position = entry.position;
            match verdict {
                Verdict::Sent => settles.push(OutboxSettle {
                    position,
                    outcome: OutboxOutcome::Sent,
                }),
                Verdict::Refused(reason) if !self.is_held(entry.message.ordering_key.as_ref()) => {
                    tracing::warn!(position, %reason, "parked a message that the producer refuses");
                    self.held.extend(entry.message.ordering_key);
                    settles.push(OutboxSettle {
                        position,
                        outcome: OutboxOutcome::Parked { reason },
                    });
                }
                Verdict::Refused(_) | Verdict::Later => {
                    self.held.extend(entry.message.ordering_key)
                }
            }
        }
        metrics::counter!("statehouse_relay_outbox_total").increment(settles.len() as u64);
        self.pass.unsent += looked_at - settles.len();
        if !settles.is_empty() {
            self.retries.reset();
            self.state()
                .outbox_settle(&self.lease.token, settles)
                .await?;
        }
        Ok(looked_at)
    }

    fn is_held(&self, key: Option<&String>) -> bool {
        key.is_some_and(|key| self.held.contains(key))
    }

    /// Sends the events of a page of changes; answers how many changes there were.
    async fn events(&mut self) -> Result<usize> {
        let page = self
            .state()
            .changes(&self.events, self.batch(), Duration::ZERO)
            .await?;
        if page.changes.is_empty() && page.next == self.events {
            return Ok(0);
        }
        let (mut straight, mut detour) = (Vec::new(), Vec::new());
        for change in page.changes.iter().filter(|change| has_event(change)) {
            let inline = self.inline();
            let event = StateEvent::message(change, &self.relay.namespace, inline)?;
            let behind = event
                .ordering_key
                .as_ref()
                .is_some_and(|key| self.detoured.contains(key));
            if behind {
                detour.push(event)
            } else {
                straight.push(event)
            }
        }
        let verdicts = self.send(straight.clone()).await?;
        for (event, verdict) in straight.into_iter().zip(verdicts) {
            let behind = event
                .ordering_key
                .as_ref()
                .is_some_and(|key| self.detoured.contains(key));
            if behind || !matches!(verdict, Verdict::Sent) {
                self.detoured.extend(event.ordering_key.clone());
                detour.push(event);
            }
        }
        if !detour.is_empty() {
            let transaction = Transaction {
                messages: detour,
                ..Transaction::default()
            };
            self.state().apply(transaction).await?;
        }
        self.state()
            .advance(&self.relay.follower, &page.next)
            .await?;
        self.events = page.next;
        metrics::counter!("statehouse_relay_events_total").increment(page.changes.len() as u64);
        Ok(page.changes.len())
    }

    /// Sends messages. An error of the whole is one that may pass: nothing is settled then.
    async fn send(&self, messages: Vec<Message>) -> Result<Vec<Verdict>> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let options = SendOptions {
            admission: Duration::ZERO,
            require_route: false,
        };
        let answers = self.relay.producer.send(messages, options).await?;
        Ok(answers
            .into_iter()
            .map(|answer| answer.map_or_else(verdict, |_| Verdict::Sent))
            .collect())
    }

    /// Nothing more to send in this pass: waits for a change or a message, and for what could not
    /// be sent to be tried again. Entries behind a parked one need no look until it is released.
    async fn rest(&mut self) -> Result<()> {
        let (seen, wait) = match self.ended {
            Pass { unsent: 0, .. } => (0, self.relay.options.lease / 4),
            Pass { place, .. } => (place, self.retries.next()),
        };
        if self.ended.unsent == 0 && self.pending(0).await?.is_empty() {
            // All that is there is parked, or behind what is.
            self.detoured = self.parked_keys().await?;
        }
        let (state, token) = (self.state(), &self.lease.token);
        tokio::select! {
            page = state.changes(&self.events, 1, wait) => page.map(|_| ()),
            read = state.outbox_read(token, seen, 1, wait) => read.map(|_| ()),
        }
    }
}

/// What the services keep for themselves is nobody else's event; a consumer that marks what it hears
/// would hear of its own marks.
fn has_event(change: &Change) -> bool {
    !change.key.kind.as_str().starts_with("statehouse.")
}

fn verdict(error: Error) -> Verdict {
    let passing = error.is_ambiguous()
        || !matches!(error.retry(), Retry::Never)
        || matches!(error.kind(), ErrorKind::Closed | ErrorKind::Timeout);
    if passing {
        Verdict::Later
    } else {
        Verdict::Refused(error.to_string())
    }
}
