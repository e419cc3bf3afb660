//! Messages: producer, consumer, and their administration.
//!
//! ```text
//!  producer ─► prepare ─► send ─► place ─┐             ┌─► receive ─► consumer
//!                (encode, hash)          ▼             │
//!                       ready · waiting · delayed · leased · dead
//!                                        ▲             │
//!                 tidy (time passes) ────┘ ◄── settle ─┘
//! ```
//!
//! All of it but encoding and decoding are jobs of the writer.

mod accepted;
mod ack;
mod admin;
mod broadcast;
mod chores;
mod dead;
mod groups;
mod handover;
mod meta;
mod overflow;
mod place;
mod prepare;
mod receive;
mod registry;
mod send;
mod settle;
mod slot;
mod subscription;
mod tidy;
mod token;

pub(crate) mod consume;
pub(crate) mod produce;

use std::{cell::Cell, sync::Arc};

use statehouse_contracts::{
    Consumer, Error, ErrorKind, GroupName, Message, Producer, Result, Scope,
};

pub(crate) use self::{chores::CHORES, produce::MAX_DELAY};
use self::{prepare::Prepared, send::Admission};
use crate::{
    config::Config,
    engine::{Channel, Counter, Tx},
    error::Failure,
    session::Store,
};

/// Whether the namespace `namespace.id` holds anything of this role, as an SQL condition.
pub(crate) const HOLDS: &str = "EXISTS (SELECT 1 FROM queue_group WHERE ns = namespace.id)";

/// The most messages of one receive.
pub(crate) const MAX_RECEIVE: usize = 1024;

/// The most messages of one send.
pub(crate) const MAX_BATCH: usize = 4096;

/// A handle that sends.
pub(crate) async fn producer(store: &Arc<Store>, scope: &Scope) -> Result<Arc<dyn Producer>> {
    Ok(Arc::new(crate::producer::SqliteProducer::new(
        store.session(scope).await?,
    )))
}

/// A handle that receives.
pub(crate) async fn consumer(store: &Arc<Store>, scope: &Scope) -> Result<Arc<dyn Consumer>> {
    Ok(Arc::new(crate::consumer::SqliteConsumer::new(
        store.session(scope).await?,
    )))
}

/// Sends messages into the groups of namespace `ns`, inside the transaction of a change of state.
/// What a producer would refuse is refused; a group that has no room is not waited for. After an
/// error the whole job must fail.
pub(crate) fn enqueue(
    tx: &Tx<'_>,
    ns: i64,
    config: &Config,
    messages: &[Message],
) -> Result<(), Failure> {
    let prepared: Vec<Prepared> = messages
        .iter()
        .map(|message| Prepared::new(&Arc::new(message.clone())))
        .collect::<Result<_, Error>>()?;
    let rules = send::rules(ns, config, false);
    for admission in send::take_in(tx, rules, prepared.iter())? {
        match admission {
            Some(Admission::Accepted(_)) => {}
            Some(Admission::Refused(error)) => return Err(error.into()),
            Some(Admission::Full(group)) => return Err(no_room(&group).into()),
            // What held it up comes first.
            None => return Err(behind_a_failure().into()),
        }
    }
    Ok(())
}

fn no_room(group: &registry::Group) -> Error {
    let most = group.spec.max_length.unwrap_or_default();
    Error::new(
        ErrorKind::Overloaded,
        format!("the group is full with {most} messages"),
    )
    .with_context("group", &group.name)
}

fn behind_a_failure() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "an earlier message of its ordering key in this batch failed",
    )
}

/// What is counted of each group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Ready,
    Delayed,
    Leased,
    Dead,
    Expired,
    Dropped,
}

impl Count {
    const ALL: [Self; 6] = [
        Self::Ready,
        Self::Delayed,
        Self::Leased,
        Self::Dead,
        Self::Expired,
        Self::Dropped,
    ];

    /// The counter of a group.
    const fn of(self, group: i64) -> Counter {
        Counter::new(FAMILY + self as u32, group)
    }

    /// Ready, delayed and in flight together.
    fn length(tx: &Tx<'_>, group: i64) -> rusqlite::Result<i64> {
        let places = [Self::Ready, Self::Delayed, Self::Leased];
        places.iter().map(|place| tx.counter(place.of(group))).sum()
    }
}

/// The first family of counters of this role.
const FAMILY: u32 = 200;
const BATCHES: Counter = Counter::new(FAMILY + 10, 0);

/// Enough that two stretches hardly ever meet, and little enough for a million processes.
const MOST_LEFT_OUT: i64 = (1 << 42) - 1;

thread_local! {
    /// Whether the writer of this thread has left out some numbers.
    static LEFT_OUT: Cell<bool> = const { Cell::new(false) };
}

/// A number for a receive, never used before.
///
/// A loss of power may take numbers back whose tokens are still in somebody's hands. So each
/// process begins with a stretch of its own, a random number further on.
fn next_batch(tx: &Tx<'_>) -> rusqlite::Result<i64> {
    if LEFT_OUT.get() {
        tx.add(BATCHES, 1);
    } else {
        tx.add(BATCHES, (registry::random() & MOST_LEFT_OUT) + 1);
        tx.after_commit(|| LEFT_OUT.set(true));
    }
    tx.counter(BATCHES)
}

/// Touched when something in the group becomes ready, or will earlier than was thought.
fn ready_channel(ns: i64, group: &GroupName) -> Channel {
    Channel::of(&("queue ready", ns, group))
}

/// Touched when a group with a greatest length has room again.
fn room_channel(group: i64) -> Channel {
    Channel::of(&("queue room", group))
}

/// A number of rows, as SQLite takes it.
fn rows(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
