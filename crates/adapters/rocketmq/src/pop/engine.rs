//! One group in this process: what is leased to it, and who waits for more.

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cheetah_string::CheetahString;
use parking_lot::Mutex;
use statehouse_contracts::{
    AttemptError, Delivery, Error, ErrorKind, Lease, MessageId, Receive, Received, Result,
    SettleAction,
};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::count::Counted;
use crate::groups::Group;
use crate::pop::buffer::Buffer;
use crate::pop::fetch::Fetched;
use crate::pop::held::{Held, Verdict};
use crate::pop::leases::Leases;
use crate::pop::source::{MOST, Source};
use crate::pop::token::Token;
use crate::pop::watch::Watched;

/// The shortest and the longest lease.
pub(crate) const MIN_LEASE: Duration = Duration::from_millis(500);
pub(crate) const MAX_LEASE: Duration = Duration::from_secs(12 * 3600);

/// How long a message may lie here before it is handed out; then it is given back. For so much
/// longer than its lease the broker keeps it to this process.
pub(crate) const HOLD: Duration = Duration::from_millis(500);

/// All groups of a backend, as far as this process receives from them.
#[derive(Debug)]
pub(crate) struct Pop {
    pub(crate) cluster: Arc<Cluster>,
    pub(super) leases: Leases,
    engines: Mutex<HashMap<CheetahString, Arc<Engine>>>,
}

impl Pop {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Arc<Self> {
        Arc::new(Self {
            cluster,
            leases: Leases::default(),
            engines: Mutex::default(),
        })
    }

    /// What this process has of the group.
    pub(crate) fn engine(self: &Arc<Self>, group: &Arc<Group>) -> Arc<Engine> {
        let mut engines = self.engines.lock();
        let engine = engines
            .entry(group.native.clone())
            .or_insert_with(|| Engine::new(self.cluster.clone(), group));
        if engine.incarnation != group.incarnation {
            *engine = Engine::new(self.cluster.clone(), group);
        }
        engine.clone()
    }

    /// Forgets what this process has of a group that was deleted.
    pub(crate) fn forget(&self, native: &CheetahString) {
        if let Some(engine) = self.engines.lock().remove(native) {
            engine.state.lock().buffer.drain();
            engine.poke();
        }
    }

    /// Hands out nothing of what is here, but gives it back; for a group that is paused.
    pub(crate) async fn give_back(&self, group: &Arc<Group>) {
        let engine = self.engines.lock().get(&group.native).cloned();
        if let Some(engine) = engine {
            engine.give_back_all(group).await;
        }
    }

    /// Gives back everything that was not handed out.
    pub(crate) async fn close(&self) {
        let engines: Vec<_> = self.engines.lock().drain().map(|(_, e)| e).collect();
        for engine in engines {
            let group = engine.group.lock().clone();
            engine.give_back_all(&group).await;
        }
    }

    /// Receives from a group.
    pub(crate) async fn receive(
        self: &Arc<Self>,
        group: &Arc<Group>,
        receive: Receive,
        closing: &CancellationToken,
    ) -> Result<Vec<Delivery>> {
        let engine = self.engine(group);
        engine.receive(&self.leases, group, receive, closing).await
    }

    /// Looks once at what the group has, so that what used up its deliveries is given up.
    pub(crate) async fn sweep(self: &Arc<Self>, group: &Arc<Group>) -> Result<()> {
        let lease = group.spec.lease;
        self.engine(group).fetch(group.clone(), 0, lease).await
    }

    pub(crate) fn check_lease(&self, action: &SettleAction) -> Result<()> {
        match action {
            SettleAction::Extend { lease } => check_lease(*lease),
            _ => Ok(()),
        }
    }
}

/// # Errors
/// [`InvalidArgument`](ErrorKind::InvalidArgument) for a lease outside the limits.
pub(crate) fn check_lease(lease: Duration) -> Result<()> {
    let limit = match lease {
        lease if lease < MIN_LEASE => ("min_lease", MIN_LEASE),
        lease if lease > MAX_LEASE => ("max_lease", MAX_LEASE),
        _ => return Ok(()),
    };
    let (name, value) = limit;
    Err(Error::beyond_limit(
        "the lease in milliseconds",
        lease.as_millis() as u64,
        name,
        value.as_millis() as u64,
    ))
}

/// One group in this process.
pub(crate) struct Engine {
    pub(super) cluster: Arc<Cluster>,
    /// The group as it was last seen.
    pub(super) group: Mutex<Arc<Group>>,
    incarnation: u64,
    pub(super) state: Mutex<State>,
    /// One question for messages at a time: the broker answers only one of a group and topic.
    pub(super) asking: Semaphore,
    /// Changes when there may be something to receive.
    pub(super) news: watch::Sender<u64>,
    pub(super) watched: Watched,
    /// How many messages this process dropped because they had expired.
    pub(super) expired: AtomicU64,
    /// How many messages those want together who are receiving.
    wanted: AtomicUsize,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) buffer: Buffer,
    /// This process gave something back that may belong before what is in the buffer.
    behind: bool,
    /// Sources that had nothing, until when they need not be asked along with others.
    pub(super) quiet: HashMap<Source, Instant>,
    /// When the last question began that found nothing.
    pub(super) nothing_since: Option<Instant>,
    /// Whether somebody looks after what lies in the buffer for too long.
    pub(super) tidying: bool,
    /// The errors of messages with an ordering key, which come again in their place.
    pub(super) errors: HashMap<MessageId, Vec<AttemptError>>,
}

impl State {
    /// Whether something was given back that may belong before what is in the buffer.
    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }
}

impl Engine {
    fn new(cluster: Arc<Cluster>, group: &Arc<Group>) -> Arc<Self> {
        Arc::new(Self {
            cluster,
            group: Mutex::new(group.clone()),
            incarnation: group.incarnation,
            state: Mutex::default(),
            asking: Semaphore::new(1),
            news: watch::Sender::new(0),
            watched: Watched::default(),
            expired: AtomicU64::new(0),
            wanted: AtomicUsize::new(0),
        })
    }

    /// There may be something to receive.
    pub(crate) fn poke(&self) {
        self.state.lock().quiet.clear();
        self.news.send_modify(|news| *news += 1);
    }

    /// A message was given back by this process, to come after `wait`.
    pub(crate) fn given_back(&self, wait: Duration) {
        if wait.is_zero() {
            self.state.lock().behind = true;
        }
        self.poke();
    }

    /// What lies here and was not handed out, with the number of its last attempt.
    pub(crate) fn in_buffer(&self) -> Vec<(Received, u32)> {
        let state = self.state.lock();
        let held = state.buffer.held();
        held.map(|held| (held.received.clone(), held.content.attempt - 1))
            .collect()
    }

    /// Receives; see the contract.
    async fn receive(
        self: &Arc<Self>,
        leases: &Leases,
        group: &Arc<Group>,
        receive: Receive,
        closing: &CancellationToken,
    ) -> Result<Vec<Delivery>> {
        *self.group.lock() = group.clone();
        let lease = receive.lease.unwrap_or(group.spec.lease);
        let _wanted = Counted::new(&self.wanted, receive.max);
        let end = Instant::now().checked_add(receive.wait);
        let mut news = self.news.subscribe();
        let mut waiting = None;
        loop {
            news.borrow_and_update();
            let mut found = self.take(leases, group, receive.max, lease).await?;
            if found.is_empty() {
                let fetch = self.clone().fetch(group.clone(), receive.max, lease);
                // A task of its own: nothing that the broker hands out is lost with this call.
                let fetched = closing.run_until_cancelled(tokio::spawn(fetch)).await;
                fetched
                    .ok_or_else(Error::closed)?
                    .map_err(|error| Error::internal(format!("receiving failed: {error}")))??;
                found = self.take(leases, group, receive.max, lease).await?;
            }
            if !found.is_empty() || end.is_some_and(|end| Instant::now() >= end) {
                return Ok(found);
            }
            waiting.get_or_insert_with(|| self.wait());
            tokio::select! {
                () = closing.cancelled() => return Err(Error::closed()),
                () = sleep_until(end) => return Ok(Vec::new()),
                _ = news.changed() => {}
            }
        }
    }

    /// Hands out what is here.
    async fn take(
        self: &Arc<Self>,
        leases: &Leases,
        group: &Arc<Group>,
        max: usize,
        lease: Duration,
    ) -> Result<Vec<Delivery>> {
        let (ready, stale) = self.choose(group, max, lease);
        if !stale.is_empty() {
            let renew = self.clone().renew(group.clone(), stale, lease);
            // A task of its own, as for receiving.
            let _ = tokio::spawn(renew).await;
        }
        ready
            .into_iter()
            .map(|held| hand_out(leases, group, held, lease))
            .collect()
    }

    /// What can be handed out, and what the broker would give to others before the lease's end.
    fn choose(
        self: &Arc<Self>,
        group: &Arc<Group>,
        max: usize,
        lease: Duration,
    ) -> (Vec<Held>, Vec<Held>) {
        let (mut ready, mut stale, mut done) = (Vec::new(), Vec::new(), Vec::new());
        let mut state = self.state.lock();
        if state.behind {
            return (ready, stale);
        }
        while ready.len() + stale.len() < max
            && let Some(held) = state.buffer.take()
        {
            let verdict = held.verdict(group);
            if verdict != Verdict::Deliver {
                done.push((held, verdict));
            } else if held.until.saturating_duration_since(Instant::now()) < lease {
                stale.push(held);
            } else {
                ready.push(held);
            }
        }
        drop(state);
        if !done.is_empty() {
            tokio::spawn(self.clone().dispose(group.clone(), done));
        }
        (ready, stale)
    }

    /// The last question for messages is to find what was given back.
    pub(super) fn caught_up(&self) -> bool {
        std::mem::take(&mut self.state.lock().behind)
    }

    /// How many messages a question asks for. Where priorities count, no more than those want who are
    /// receiving: what is taken early could be overtaken.
    pub(super) fn appetite(&self, group: &Group, max: usize) -> usize {
        if group.spec.priorities {
            max.max(self.wanted.load(Ordering::Relaxed)).clamp(1, MOST)
        } else {
            MOST
        }
    }

    pub(super) fn fetched(self: &Arc<Self>, group: &Arc<Group>, fetched: Fetched) -> Option<Error> {
        let found = !fetched.deliver.is_empty();
        self.keep(group, fetched.deliver);
        (!found).then_some(fetched.error).flatten()
    }
}

impl Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("group", &self.group.lock().native)
            .finish_non_exhaustive()
    }
}

fn hand_out(leases: &Leases, group: &Arc<Group>, held: Held, lease: Duration) -> Result<Delivery> {
    let deadline = (Instant::now() + lease).min(held.until);
    let attempt = held.content.attempt;
    let token = Token::new(
        &group.native,
        group.incarnation,
        held.place,
        attempt,
        deadline,
    );
    let sealed = token.seal()?;
    leases.add(
        sealed.clone(),
        token,
        deadline,
        Some(Arc::new(held.content)),
    );
    Ok(Delivery {
        received: held.received,
        group: group.name.clone(),
        attempt,
        lease: Lease {
            token: sealed,
            deadline,
        },
    })
}

/// Until `end`, or for ever.
async fn sleep_until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end.into()).await,
        None => std::future::pending().await,
    }
}

/// Whether an error says that the group hands out nothing at the moment.
pub(super) fn is_refusal(error: &Error) -> bool {
    error.kind() == ErrorKind::PermissionDenied
}
