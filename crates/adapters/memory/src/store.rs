//! The store behind a backend: namespaces, and in each the data of every role.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use statehouse_contracts::{Message, Namespace, Principal, Result, Scope};
use tokio::sync::Notify;

use crate::config::Config;
use crate::gate::Gate;
use crate::queue::Queue;
use crate::reference::Contents;
use crate::state::Records;
use crate::tasks::Tasks;
use crate::time::{Clock, Time};

/// How late housekeeping may write what has become due.
pub(crate) const EXPIRY_LAG: Duration = Duration::from_secs(1);

/// All data of a backend.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) gate: Arc<Gate>,
    pub(crate) alarm: Arc<Alarm>,
    spaces: RwLock<BTreeMap<Namespace, Arc<Space>>>,
}

/// One namespace. Each role has its own lock; who takes both locks state before queue.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) state: Mutex<Records>,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) tasks: Mutex<Tasks>,
    pub(crate) contents: Mutex<Contents>,
    /// Rings when the change log grew.
    pub(crate) changed: Arc<Notify>,
    /// Rings when the outbox may have something to read.
    pub(crate) outbox: Arc<Notify>,
}

/// What every handle has.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) store: Arc<Store>,
    pub(crate) space: Arc<Space>,
    pub(crate) gate: Gate,
    pub(crate) principal: Principal,
}

impl Store {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            clock: Clock::new(),
            gate: Arc::default(),
            alarm: Arc::default(),
            spaces: RwLock::default(),
        }
    }

    pub(crate) fn handle(self: &Arc<Self>, scope: &Scope) -> Result<Handle> {
        self.gate.check()?;
        Ok(Handle {
            store: self.clone(),
            space: self.space(&scope.namespace),
            gate: Gate::below(&self.gate),
            principal: scope.principal.clone(),
        })
    }

    fn space(&self, namespace: &Namespace) -> Arc<Space> {
        if let Some(space) = self.spaces.read().get(namespace) {
            return space.clone();
        }
        let mut spaces = self.spaces.write();
        let new = || Arc::new(Space::new(&self.config));
        spaces.entry(namespace.clone()).or_insert_with(new).clone()
    }

    pub(crate) fn spaces(&self) -> Vec<(Namespace, Arc<Space>)> {
        let spaces = self.spaces.read();
        spaces
            .iter()
            .map(|(name, space)| (name.clone(), space.clone()))
            .collect()
    }
}

impl Drop for Store {
    /// Ends housekeeping.
    fn drop(&mut self) {
        self.gate.close();
    }
}

impl Space {
    fn new(config: &Config) -> Self {
        Self {
            state: Mutex::new(Records::new(config)),
            queue: Mutex::new(Queue::new(config)),
            tasks: Mutex::new(Tasks::new(config)),
            contents: Mutex::new(Contents::new(config)),
            changed: Arc::default(),
            outbox: Arc::default(),
        }
    }

    /// Sends the messages of a transaction, all or none.
    pub(crate) fn admit_all(&self, store: &Store, messages: Vec<Message>, now: Time) -> Result<()> {
        if messages.is_empty() {
            return Ok(());
        }
        let mut queue = self.queue.lock();
        queue.advance(now);
        queue.admit_all(messages, now)?;
        store.alarm.arm(queue.next_due());
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        let state = self.state.lock();
        state.kinds.is_empty()
            && state.outbox.is_empty()
            && self.queue.lock().is_empty()
            && self.tasks.lock().is_empty()
            && self.contents.lock().is_empty()
    }

    /// Does what is due by now in every role; answers when the next thing is.
    pub(crate) fn advance(&self, now: Time) -> Option<Time> {
        let state = {
            let mut state = self.state.lock();
            if state.advance(now) {
                self.changed.notify_waiters();
            }
            state.next_due()
        };
        let queue = {
            let mut queue = self.queue.lock();
            queue.advance(now);
            queue.next_due()
        };
        let tasks = {
            let mut tasks = self.tasks.lock();
            tasks.advance(now);
            tasks.next_due()
        };
        [state, queue, tasks].into_iter().flatten().min()
    }
}

impl Handle {
    /// Runs `act` on the records, after what has expired by now was written.
    pub(crate) fn with_state<T>(
        &self,
        act: impl FnOnce(&mut Records, Time) -> Result<T>,
    ) -> Result<T> {
        let mut records = self.space.state.lock();
        let now = self.store.clock.now();
        if records.advance(now) {
            self.space.changed.notify_waiters();
        }
        let answer = act(&mut records, now);
        self.store.alarm.arm(records.next_due());
        answer
    }
}

/// When housekeeping next has something to do.
#[derive(Debug)]
pub(crate) struct Alarm {
    at: AtomicI64,
    earlier: Notify,
}

impl Default for Alarm {
    fn default() -> Self {
        Self {
            at: AtomicI64::new(Time::NEVER.nanos()),
            earlier: Notify::new(),
        }
    }
}

impl Alarm {
    /// Makes it ring at `due`, unless it rings earlier anyway.
    pub(crate) fn arm(&self, due: Option<Time>) {
        let Some(due) = due.map(Time::nanos) else {
            return;
        };
        if due < self.at.load(Ordering::Acquire) && due < self.at.fetch_min(due, Ordering::AcqRel) {
            self.earlier.notify_one();
        }
    }

    /// When it rings.
    pub(crate) fn at(&self) -> Time {
        Time::from_nanos(self.at.load(Ordering::Acquire))
    }

    /// Takes it down before looking at what is due: what is armed from now on counts.
    pub(crate) fn disarm(&self) {
        self.at.store(Time::NEVER.nanos(), Ordering::Release);
    }

    /// Waits until it is set to an earlier time.
    pub(crate) async fn moved(&self) {
        self.earlier.notified().await;
    }
}
