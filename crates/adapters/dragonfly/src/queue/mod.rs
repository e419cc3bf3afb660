//! Messages: producers, groups and their consumers, broadcasts, administration.
//!
//! ```text
//!  producer ─► prepare ─► send ─────────┐             ┌─► receive ─► consumer
//!                (encode, hash, route)  ▼             │
//!                     ready · waiting · delayed · leased · dead
//!                                       ▲             │
//!                (time passes) ─────────┘ ◄── settle ─┘
//! ```
//!
//! A message lies once in the namespace's hash of messages; in each group it is a word in the
//! sorted set of its place (see `lua/place.lua`). Every step is one script for a whole batch, and
//! costs the batch times the logarithm of the queue. Which groups hear a topic is worked out here:
//! a script refuses a batch that was routed by a registry which is not the server's any more.

mod admin;
mod bell;
mod broadcast;
mod dead;
mod groups;
mod held;
mod hub;
mod prepare;
mod registry;
mod request;
mod room;
mod stored;
mod token;

pub(crate) mod deliver;
pub(crate) mod produce;
pub(crate) mod receive;
pub(crate) mod scripts;
pub(crate) mod settle;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fred::types::{Key, Value};
use parking_lot::Mutex;
use statehouse_contracts::{Error, Namespace, Result};

use self::bell::Bells;
use self::hub::Hub;
use self::receive::Wish;
use self::registry::{Group, Registries};
use self::request::Alone;
use self::settle::Settlement;
use crate::keys::Keys;
use crate::reply::Row;
use crate::rounds::Rounds;
use crate::script::Script;
use crate::session::{Session, Store};

pub(crate) use self::groups::look_after;
pub(crate) use self::{admin::*, broadcast::listen, dead::*, groups::*};

/// The most messages of one receive.
pub(crate) const MAX_RECEIVE: usize = 1024;

/// The most messages of one send.
pub(crate) const MAX_BATCH: usize = 4096;

/// The longest delay: what fits a time.
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The most payload bytes of one receive, unless a single message has more.
const MAX_BYTES: usize = 32 << 20;

/// How long a settle can be repeated.
const REMEMBERED: Duration = Duration::from_secs(120);

/// The key that a namespace has only while it has groups.
pub(crate) fn witness(keys: &Keys) -> String {
    keys.one("groups")
}

/// What this process knows of the queues of each namespace.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    open: Mutex<HashMap<Namespace, Arc<Queue>>>,
}

impl Queues {
    /// The queues of the session's namespace.
    pub(crate) fn of(&self, session: &Session) -> Arc<Queue> {
        let mut open = self.open.lock();
        let queue = open
            .entry(session.namespace.clone())
            .or_insert_with(|| Arc::new(Queue::new(session.keys.clone())));
        Arc::clone(queue)
    }
}

/// What this process knows of the queues of one namespace.
#[derive(Debug)]
pub(crate) struct Queue {
    keys: Keys,
    registries: Registries,
    bells: Bells,
    hub: Hub,
    sends: Rounds<Alone>,
    receives: Rounds<Wish>,
    settles: Rounds<Settlement>,
}

impl Queue {
    fn new(keys: Keys) -> Self {
        Self {
            registries: Registries::default(),
            bells: Bells::default(),
            hub: Hub::default(),
            sends: Rounds::default(),
            receives: Rounds::default(),
            settles: Rounds::default(),
            keys,
        }
    }

    /// The keys that all groups share, which every script here begins with.
    fn shared_keys(&self) -> Vec<Key> {
        ["meta", "body", "shares"]
            .map(|name| self.keys.one(name).into())
            .into()
    }
}

/// A handle's session with what its process knows of the namespace.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    session: Session,
    queue: Arc<Queue>,
}

impl Desk {
    pub(crate) fn new(session: Session) -> Self {
        let queue = session.store.queues.of(&session);
        Self { session, queue }
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    fn store(&self) -> &Arc<Store> {
        &self.session.store
    }

    async fn run(
        &self,
        operation: &'static str,
        script: &'static Script,
        keys: Vec<Key>,
        arguments: Vec<Value>,
    ) -> Result<Value> {
        self.session
            .script(operation, script, keys, arguments)
            .await
    }

    /// Runs a script on one group: its keys follow the shared ones, what it promises comes before
    /// the `arguments`. `None` when the group is gone.
    async fn run_on(
        &self,
        operation: &'static str,
        script: &'static Script,
        group: &Group,
        arguments: Vec<Value>,
    ) -> Result<Option<Row>> {
        loop {
            let mut keys = self.queue.shared_keys();
            keys.extend_from_slice(&group.keys);
            let mut all = vec![group.promise.clone()];
            all.extend_from_slice(&arguments);
            let mut reply = Row::from(self.run(operation, script, keys, all).await?);
            match reply.text()?.as_str() {
                "GONE" => return Ok(None),
                // Time has left it more to do than one script should.
                "AGAIN" => {}
                _ => return Ok(Some(reply)),
            }
        }
    }
}

/// A number that nobody else thinks of, as a word.
fn random_word() -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(uuid::Uuid::now_v7().as_bytes())
}

fn behind_a_failure() -> Error {
    Error::new(
        statehouse_contracts::ErrorKind::Conflict,
        "an earlier message of its ordering key in this batch failed",
    )
}
