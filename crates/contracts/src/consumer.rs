//! Receiving.

use std::fmt::{self, Debug};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::{
    ConsumerCapability, Declared, Error, GroupName, GroupSpec, Message, Pattern, QueueAdmin,
    Received, Result,
};

/// An opaque fencing token, good in one namespace. Printable, so that it can travel.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseToken(String);

impl LeaseToken {
    /// The longest token in bytes.
    pub const MAX_BYTES: usize = 2048;

    /// Takes a token as an adapter made it: printable ASCII without spaces.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for anything else.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > Self::MAX_BYTES || !printable {
            return Err(Error::invalid(
                "a lease token is 1 to 2048 printable ASCII characters, as it was handed out",
            ));
        }
        Ok(Self(text))
    }

    /// The token as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Debug for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The right to work on something until a deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Proves the right; replaced by each extension.
    pub token: LeaseToken,
    /// Its end by this process's monotonic clock, counted from before the backend granted it.
    pub deadline: Instant,
}

impl Lease {
    /// What is left of it.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// How much to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receive {
    /// The most messages, at least 1.
    pub max: usize,
    /// How long to wait for the first; zero answers at once.
    pub wait: Duration,
    /// The lease of each delivery; the group's when not given.
    pub lease: Option<Duration>,
}

impl Receive {
    /// At most `max`, waiting up to `wait`, with the group's lease.
    pub fn new(max: usize, wait: Duration) -> Self {
        Self {
            max,
            wait,
            lease: None,
        }
    }
}

/// One message in one consumer's hands, until its lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The message and its times.
    pub received: Received,
    /// The group that received it.
    pub group: GroupName,
    /// Which delivery of this message to this group it is, from 1.
    pub attempt: u32,
    /// The right to settle it.
    pub lease: Lease,
}

impl Delivery {
    /// The message.
    pub fn message(&self) -> &Message {
        &self.received.message
    }

    /// The settle that is done with it.
    pub fn ack(&self) -> Settle {
        self.settle(SettleAction::Ack)
    }

    /// The settle that gives it back, after the group's backoff.
    pub fn nack(&self, error: impl Into<String>) -> Settle {
        self.settle(SettleAction::Nack {
            delay: None,
            error: Some(error.into()),
        })
    }

    /// The settle that gives it back after `delay`.
    pub fn nack_after(&self, delay: Duration, error: impl Into<String>) -> Settle {
        self.settle(SettleAction::Nack {
            delay: Some(delay),
            error: Some(error.into()),
        })
    }

    /// The settle that makes it a dead letter now.
    pub fn dead_letter(&self, reason: impl Into<String>) -> Settle {
        self.settle(SettleAction::DeadLetter {
            reason: reason.into(),
        })
    }

    /// The settle that makes the lease last `lease` from now.
    pub fn extend(&self, lease: Duration) -> Settle {
        self.settle(SettleAction::Extend { lease })
    }

    fn settle(&self, action: SettleAction) -> Settle {
        Settle {
            token: self.lease.token.clone(),
            action,
        }
    }
}

/// What to do with one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    /// Its token.
    pub token: LeaseToken,
    /// What to do.
    pub action: SettleAction,
}

/// The four ways to settle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettleAction {
    /// Done: it does not come back to this group.
    Ack,
    /// Not done: it comes back after `delay`, or after the group's backoff, or is a dead letter
    /// when its deliveries are used up.
    Nack {
        /// The wait; the group's backoff when not given.
        delay: Option<Duration>,
        /// What went wrong, kept with the message; up to 4 KiB. `None` is kept as `nacked`.
        error: Option<String>,
    },
    /// It becomes the group's dead letter now.
    DeadLetter {
        /// Why, kept with it; up to 4 KiB.
        reason: String,
    },
    /// The lease lasts this long from now, under a new token.
    Extend {
        /// The new length.
        lease: Duration,
    },
}

/// The answer to one settle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The lease that replaces the old one, after an extension.
    pub lease: Option<Lease>,
}

/// Receives messages, as a member of groups or by broadcast.
///
/// # Groups
/// - A group is declared with its spec before it receives. Declaring it again with the same spec
///   is `Ok`; with another it is [`Conflict`](crate::ErrorKind::Conflict) that names the field and
///   changes nothing. Receiving from a group that is not there is
///   [`NotFound`](crate::ErrorKind::NotFound), but for a mailbox, which is declared by it as by a
///   send.
/// - Each message reaches exactly one member of every group that matches its topic and was
///   declared before it was sent.
///
/// # Leases
/// - A delivery is a lease. Its attempt is recorded before it is handed over and survives a kill
///   of the process; attempts count from 1, per message and group.
/// - What is not settled, or is dropped, comes back at the latest `redelivery_lag` after the
///   lease's end, with one attempt more.
/// - A settle after the lease's end, or by a token that an extension replaced, is
///   [`LeaseLost`](crate::ErrorKind::LeaseLost) and changes nothing. Repeating an ack, nack or dead
///   letter with its own token is `Ok` while the store remembers it; a different settle by a token
///   that was used is `LeaseLost`.
/// - After `max_deliveries` deliveries a message that is nacked, or whose lease ends, becomes the
///   group's dead letter, with the reason, and with the errors and times of its last attempts.
/// - A lease shorter than `min_lease` or longer than `max_lease` is
///   [`InvalidArgument`](crate::ErrorKind::InvalidArgument).
///
/// # Order
/// - Among ready messages without an ordering key: the higher priority first, then the one that
///   became due first. What was accepted is ready once the backend shows it: at once, or some
///   milliseconds later on a server that stores first and sorts into queues afterwards.
/// - Messages of one ordering key come one at a time in the order sent, whatever their priority;
///   the key competes with its head's priority. A leased or waiting head blocks only its key (see
///   `key_blocking`); a dead letter frees it.
/// - A message that waits out a delay holds up no other. A redelivered message takes its old
///   place, by when it was first due.
///
/// # Expiry
/// - An expired message is not handed out: it is dropped and counted, or becomes a dead letter
///   with the reason `expired`, by the group's spec. Its ttl counts from when it is due.
#[async_trait]
pub trait Consumer: QueueAdmin + Debug + Send + Sync {
    /// What this consumer can do.
    fn capability(&self) -> ConsumerCapability;

    /// Makes the group, or checks that it is there with the same spec.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) with [`Detail::SpecField`](crate::Detail);
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for a spec that the capability denies;
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for zero deliveries, a zero maximum
    /// length, or a lease outside the limits.
    async fn declare(&self, group: &GroupName, spec: &GroupSpec) -> Result<Declared>;

    /// Takes up to `max` messages: at once what is there, else waits up to `wait` for the first.
    /// None in time is `Ok` and empty; so is a paused group. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for an unknown group.
    async fn receive(&self, group: &GroupName, receive: Receive) -> Result<Vec<Delivery>>;

    /// Settles each; one answer per item, in the same order.
    ///
    /// # Errors
    /// Of an item: [`LeaseLost`](crate::ErrorKind::LeaseLost);
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for a token that this backend never
    /// made, or a lease outside the limits.
    async fn settle(&self, batch: Vec<Settle>) -> Result<Vec<Result<Settled>>>;

    /// Listens without a group: every message sent from now on that matches, at most once, until
    /// the handle is dropped (capability `broadcast`). Nothing is settled. Any possible loss, such
    /// as by a full buffer or a lost connection, shows in its place as [`BroadcastEvent::Gap`].
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where the capability denies it.
    async fn broadcast(&self, pattern: &Pattern) -> Result<Box<dyn Broadcast>>;

    /// Closes this handle. Idempotent; calls that wait end with
    /// [`Closed`](crate::ErrorKind::Closed); open leases run out.
    ///
    /// # Errors
    /// When what was accepted could not be finished.
    async fn close(&self) -> Result<()>;
}

/// A subscription that lives as long as its handle.
#[async_trait]
pub trait Broadcast: Debug + Send {
    /// The next event, or `None` when `wait` passes without one.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed) after the consumer was closed;
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when the server could not be heard since the
    /// last call. Listening goes on: what was sent meanwhile comes late, or shows as a gap.
    async fn next(&mut self, wait: Duration) -> Result<Option<BroadcastEvent>>;
}

/// What a broadcast hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BroadcastEvent {
    /// A message.
    Message(Box<Received>),
    /// Messages may be missing here.
    Gap {
        /// How many, where it is known.
        missed: Option<u64>,
    },
}

/// Sugar over [`Consumer`].
#[async_trait]
pub trait ConsumerExt: Consumer {
    /// Receives at most one.
    ///
    /// # Errors
    /// Those of [`Consumer::receive`].
    async fn receive_one(&self, group: &GroupName, wait: Duration) -> Result<Option<Delivery>> {
        Ok(self.receive(group, Receive::new(1, wait)).await?.pop())
    }

    /// Settles one.
    ///
    /// # Errors
    /// Those of [`Consumer::settle`].
    async fn settle_one(&self, settle: Settle) -> Result<Settled> {
        let mut answers = self.settle(vec![settle]).await?;
        answers
            .pop()
            .unwrap_or_else(|| Err(Error::internal("settle answered nothing for one item")))
    }

    /// Acknowledges one.
    ///
    /// # Errors
    /// Those of [`Consumer::settle`].
    async fn ack(&self, delivery: &Delivery) -> Result<()> {
        self.settle_one(delivery.ack()).await.map(|_| ())
    }

    /// Extends the lease of one, in place.
    ///
    /// # Errors
    /// Those of [`Consumer::settle`].
    async fn extend(&self, delivery: &mut Delivery, lease: Duration) -> Result<()> {
        let settled = self.settle_one(delivery.extend(lease)).await?;
        delivery.lease = settled
            .lease
            .ok_or_else(|| Error::internal("an extension answered no lease"))?;
        Ok(())
    }
}

impl<C: Consumer + ?Sized> ConsumerExt for C {}
