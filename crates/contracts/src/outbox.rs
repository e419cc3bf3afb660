//! Messages that were committed with a change of state and are on their way to a producer.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{Lease, LeaseToken, Message, Page, PageCursor, Result};

/// One message of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Its place; later ones are larger.
    pub position: u64,
    /// The message.
    pub message: Message,
    /// When it was committed.
    pub at: Timestamp,
    /// Why it is parked; `None` while it waits to be sent.
    pub parked: Option<String>,
}

/// What became of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxOutcome {
    /// It was sent: it leaves the outbox.
    Sent,
    /// It was refused for good: it stays, visibly, and blocks its ordering key only.
    Parked {
        /// Why.
        reason: String,
    },
}

/// The outcome of the message at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxSettle {
    /// The place.
    pub position: u64,
    /// What became of it.
    pub outcome: OutboxOutcome,
}

/// The outbox of a namespace. One relay at a time holds its lease; the relay reads in order, sends,
/// and settles.
///
/// - Entries come in the order of their commits, and within one in the order of the transaction.
/// - An entry stays until it is settled: it is sent at least once, with its id.
/// - A parked entry blocks only later entries of its ordering key; one without a key blocks
///   nothing. Releasing it lets it be sent again; discarding it drops it. Either frees its key.
/// - Reading and settling under a lease that has ended, or was taken over, is
///   [`LeaseLost`](crate::ErrorKind::LeaseLost) and changes nothing.
/// - What a relay does here is no change of state: the change log does not show it.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Takes the lease for `owner`; `None` while another owner holds it. The same owner gets a new
    /// token, and the old one ends.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for a lease of zero.
    async fn outbox_lease(&self, owner: &str, lease: Duration) -> Result<Option<Lease>>;

    /// Makes the lease last `lease` from now, under the same token.
    ///
    /// # Errors
    /// [`LeaseLost`](crate::ErrorKind::LeaseLost).
    async fn outbox_extend(&self, token: &LeaseToken, lease: Duration) -> Result<Lease>;

    /// Gives the lease back. Of a lost lease it is `Ok`.
    ///
    /// # Errors
    /// Those of the backend.
    async fn outbox_release(&self, token: &LeaseToken) -> Result<()>;

    /// Entries to send after `after` (0: from the start), at most `limit`, in order, without parked
    /// ones and those behind them; at once what is there, else waits up to `wait` for the first.
    ///
    /// # Errors
    /// [`LeaseLost`](crate::ErrorKind::LeaseLost).
    async fn outbox_read(
        &self,
        token: &LeaseToken,
        after: u64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<OutboxEntry>>;

    /// Settles entries; what is settled already is passed over.
    ///
    /// # Errors
    /// [`LeaseLost`](crate::ErrorKind::LeaseLost).
    async fn outbox_settle(&self, token: &LeaseToken, settles: Vec<OutboxSettle>) -> Result<()>;

    /// How many entries wait, parked ones not counted.
    ///
    /// # Errors
    /// Those of the backend.
    async fn outbox_depth(&self) -> Result<u64>;

    /// A page of parked entries, in order.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for a cursor that is none.
    async fn outbox_parked(
        &self,
        limit: usize,
        after: Option<&PageCursor>,
    ) -> Result<Page<OutboxEntry>>;

    /// Lets a parked entry be sent again, at its old place.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    async fn outbox_unpark(&self, position: u64) -> Result<()>;

    /// Drops a parked entry.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    async fn outbox_discard(&self, position: u64) -> Result<()>;
}
