//! The contracts of Statehouse.
//!
//! Four roles, each a dyn-safe trait with a batch-shaped core and its sugar in an `*Ext` trait:
//!
//! | role | trait | sugar |
//! |---|---|---|
//! | messages | [`Producer`], [`Consumer`] (with [`QueueAdmin`]) | [`ProducerExt`], [`ConsumerExt`] |
//! | state | [`StateManager`] (with [`ChangeLog`] and [`Outbox`]) | [`StateManagerExt`] |
//! | tasks | [`TaskStack`] | [`TaskStackExt`] |
//! | large content | [`ReferenceStore`] | |
//!
//! A [`Backend`] opens handles of these roles, each for one [`Scope`]; a [`Registry`] opens
//! backends by URL. **The text of each trait is the specification**: every sentence of it has a
//! case in `statehouse-conformance`, and an adapter is right when the suite is green for it.
//!
//! # What holds for every role
//!
//! - **Scope.** A handle acts in one [`Namespace`] for one [`Principal`]. The namespace is the
//!   unit of authority, of transactions, of deduplication, of content sharing and of the change
//!   log. Nothing crosses it, not even a content hash.
//! - **Time.** Callers give durations (delay, ttl, lease); the backend's clock turns them into
//!   times. A lease comes back with a deadline on the caller's monotonic clock that counts from
//!   before the backend granted it, so it is never later than the backend's own.
//! - **Retries.** A mutation is idempotent either by what it names (a message by its
//!   idempotency key, a settle by its token, a holder by its name, a task by its id) or by the
//!   [`OpId`] it carries: a repeat within the deduplication window answers with the first result.
//!   A mutation that has neither and whose outcome is unknown is never retried.
//! - **Batches** answer one result per item, in the order of the input, and are no transaction
//!   ([`StateManager::apply`] and [`TaskStack::push`] are).
//! - **Limits** are capabilities. What lies beyond one is refused with
//!   [`ErrorKind::InvalidArgument`] that names the limit.
//! - **Durability** is claimed by three bools, see [`Durability`]. An operation that answered `Ok`
//!   is durable as claimed.
//! - **Dropping a future** that waits (`receive`, `claim`, `changes`) loses nothing. Dropping the
//!   future of a mutation leaves it done or not done, never half done.
//! - **Housekeeping** (expiry, garbage collection, retention) is the adapter's own work between
//!   open and close.
//! - **Close** is idempotent. Calls that wait end with [`ErrorKind::Closed`], later ones answer
//!   it; what was accepted before is finished first.
//!
//! # Example
//!
//! Names, patterns and transactions are values, checked where they are made:
//!
//! ```
//! use statehouse_contracts::{
//!     ContentType, Message, Pattern, Payload, Precondition, Result, StateKey, Topic, Transaction,
//!     Write,
//! };
//!
//! # fn main() -> Result<()> {
//! let report = StateKey::parse("task", "report")?;
//! let draft = Write::put(report, r#"{"step": 4}"#, ContentType::JSON);
//! let done = Message::new(Topic::new("work.report.drafted")?, Payload::text("step 4"));
//!
//! // All or nothing: the write, if the record is still at version 3, and the message.
//! let transaction = Transaction {
//!     writes: vec![draft.when(Precondition::Version(3))],
//!     messages: vec![done],
//!     ..Transaction::default()
//! };
//!
//! let listener = Pattern::new("work.*.drafted")?;
//! assert!(listener.matches(&transaction.messages[0].topic));
//! assert!(Topic::new("work..drafted").is_err());
//! # Ok(())
//! # }
//! ```

mod backend;
mod cache;
mod capability;
mod changes;
mod consumer;
mod endpoint;
mod envelope;
mod error;
mod glob;
mod group;
mod message;
mod name;
mod outbox;
mod pattern;
mod producer;
mod queue_admin;
mod reference;
mod registry;
mod scope;
mod state;
mod state_ext;
mod tasks;
mod text;
mod transaction;

pub use backend::{Backend, BackendInfo};
pub use cache::{CacheLook, FillTicket, RecordCache};
pub use capability::{
    AdminCapability, ConsumerCapability, Durability, Fencing, KeyBlocking, ProducerCapability,
    ReferenceCapability, StateCapability, TaskCapability, Wake,
};
pub use changes::{
    Change, ChangeContent, ChangeData, ChangeLog, ChangeOperation, ChangePage, Cursor, Follower,
    FollowerSpec, FollowerStart, Trim,
};
pub use consumer::{
    Broadcast, BroadcastEvent, Consumer, ConsumerExt, Delivery, Lease, LeaseToken, Receive, Settle,
    SettleAction, Settled,
};
pub use endpoint::{Endpoint, Secret};
pub use envelope::Envelope;
pub use error::{Conflict, Detail, Error, ErrorKind, Result, Retry};
pub use glob::Glob;
pub use group::{Backoff, Declared, Expired, GroupSpec, Overflow, Start};
pub use jiff::Timestamp;
pub use message::{Message, MessageId, Payload, Priority, Received};
pub use name::{
    ContentType, FollowerName, GroupName, Holder, Id, Kind, Namespace, OpId, Principal, StackName,
    TaskId, Topic, WorkerName, escape_word, unescape_word,
};
pub use outbox::{Outbox, OutboxEntry, OutboxOutcome, OutboxSettle};
pub use pattern::Pattern;
pub use producer::{Producer, ProducerExt, SendOptions, Sent};
pub use queue_admin::{AttemptError, Counts, DeadLetter, GroupStatus, QueueAdmin};
pub use reference::{
    Collected, Compression, Content, PutContent, PutOutcome, Reference, ReferenceId, ReferenceInfo,
    ReferenceKind, ReferenceQuery, ReferenceStats, ReferenceStore,
};
pub use registry::{Factory, Registry};
pub use scope::Scope;
pub use state::{
    Direction, HistoryQuery, ListQuery, Page, PageCursor, Prune, Pruned, Record, StateKey,
    StateManager, Tombstone, Version,
};
pub use state_ext::StateManagerExt;
pub use tasks::{
    ChildOutcome, Claim, ClaimRequest, FailRetry, NewTask, Push, Pushed, StackDepth, Task,
    TaskQuery, TaskSettle, TaskSettled, TaskStack, TaskStackExt, TaskState,
};

pub use transaction::{
    Applied, MessageDelivery, Operation, Precondition, RollbackTo, Transaction, Write,
};

/// The bytes type of every payload: shared, cheap to clone, never copied on the way.
pub use bytes::Bytes;
