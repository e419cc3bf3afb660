//! What a backend can do, per role: flat structs, declared from what was measured.
//!
//! What a capability denies is refused with [`ErrorKind::Unsupported`](crate::ErrorKind), never
//! ignored; what it claims is shown by the conformance suite.

use std::time::Duration;

/// What an accepted operation survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durability {
    /// The kill of the process that holds the data.
    pub process_kill: bool,
    /// The loss of power of its machine.
    pub power_loss: bool,
    /// The loss of that machine with its disks.
    pub node_loss: bool,
}

impl Durability {
    /// Survives nothing.
    pub const NONE: Self = Self {
        process_kill: false,
        power_loss: false,
        node_loss: false,
    };
    /// Survives the kill of the process, not the loss of power.
    pub const PROCESS: Self = Self {
        process_kill: true,
        power_loss: false,
        node_loss: false,
    };
    /// Survives the loss of power: on disk when accepted.
    pub const DISK: Self = Self {
        process_kill: true,
        power_loss: true,
        node_loss: false,
    };
}

/// How a waiting call learns that something arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// It is woken.
    Push,
    /// It is woken by what this process does, and looks at this interval for what others do.
    Poll(Duration),
}

/// Who refuses a settle by a stale token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fencing {
    /// The server, whatever the clocks say.
    Server,
    /// Only the clock of the client that holds the lease.
    Client,
}

/// What a leased or waiting message of an ordering key holds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyBlocking {
    /// Its own key only.
    Key,
    /// Also keys that share its queue on the broker. Messages in different queues, and those
    /// without a key, come in no order among each other.
    Queue,
}

/// What a [`Producer`](crate::Producer) can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerCapability {
    /// What an accepted message survives.
    pub durability: Durability,
    /// The largest inline payload in bytes.
    pub max_payload: usize,
    /// The most headers of one message.
    pub max_headers: usize,
    /// The most bytes of all header names and values of one message together.
    pub max_header_bytes: usize,
    /// The most messages of one batch.
    pub max_batch: usize,
    /// How long a repeated idempotency key is recognised; `None`: not at all.
    pub dedup_window: Option<Duration>,
    /// The longest delay; `None`: messages cannot be delayed.
    pub max_delay: Option<Duration>,
    /// How late a delayed message may become due.
    pub delay_precision: Duration,
    /// Whether a scheduled message can be cancelled by id.
    pub cancel: bool,
    /// Whether [`Sent::routed`](crate::Sent::routed) is known.
    pub routed: bool,
    /// Whether `require_route` is honoured.
    pub require_route: bool,
    /// Whether messages with a ttl expire.
    pub ttl: bool,
}

/// What a [`Consumer`](crate::Consumer) can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerCapability {
    /// What a group, its messages and their attempts survive.
    pub durability: Durability,
    /// The most messages of one `receive`.
    pub max_receive: usize,
    /// Who refuses stale tokens.
    pub fencing: Fencing,
    /// Whether an `Ok` ack means that the message never comes back, also after a crash.
    pub ack_confirmed: bool,
    /// Whether another process may settle by token.
    pub settle_anywhere: bool,
    /// The shortest lease.
    pub min_lease: Duration,
    /// The longest lease.
    pub max_lease: Duration,
    /// How long after the end of its lease a message may take to come back.
    pub redelivery_lag: Duration,
    /// How a waiting `receive` wakes.
    pub wake: Wake,
    /// Whether a group can start at the earliest kept message.
    pub start_earliest: bool,
    /// How many priorities of 0..=9 are really told apart (1: none).
    pub priorities: u8,
    /// Whether a higher priority always comes first, among messages not delivered before.
    pub strict_priorities: bool,
    /// Whether messages of one ordering key come one at a time in the order sent.
    pub ordering_keys: bool,
    /// Whether a group can treat all priorities as equal
    /// ([`GroupSpec::priorities`](crate::GroupSpec) = false).
    pub equal_priorities: bool,
    /// Whether ordering keys and priorities hold together in one group.
    pub keys_with_priorities: bool,
    /// What a blocked ordering key holds up.
    pub key_blocking: KeyBlocking,
    /// Whether a nack can carry a delay.
    pub nack_delay: bool,
    /// Whether a received delivery that is dropped with its `receive` future counts no attempt.
    pub drop_counts_no_attempt: bool,
    /// Whether a full group can refuse.
    pub overflow_reject: bool,
    /// Whether a full group can drop its oldest.
    pub overflow_drop_oldest: bool,
    /// Whether expired messages can be kept as dead letters.
    pub expired_dead_letters: bool,
    /// Whether subscriptions without a group exist.
    pub broadcast: bool,
    /// How long an unread message is kept at most; `None`: for ever.
    pub max_retention: Option<Duration>,
    /// What the queue's administration can do.
    pub admin: AdminCapability,
}

/// What a [`QueueAdmin`](crate::QueueAdmin) can do: one bool per operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminCapability {
    /// `groups`.
    pub list: bool,
    /// `pause` and `resume`.
    pub pause: bool,
    /// `delete_group`.
    pub delete: bool,
    /// `counts`, at least of what is ready and dead.
    pub counts: bool,
    /// Whether counts are exact at the moment they are taken, and whole.
    pub counts_exact: bool,
    /// `oldest_ready_age`.
    pub oldest_age: bool,
    /// `peek`.
    pub peek: bool,
    /// `dead_letters`.
    pub dead_letters: bool,
    /// `redrive`.
    pub redrive: bool,
    /// `purge`.
    pub purge: bool,
}

/// What a [`StateManager`](crate::StateManager) can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateCapability {
    /// What an applied transaction survives.
    pub durability: Durability,
    /// The largest record in bytes.
    pub max_data: usize,
    /// The most writes and messages of one transaction together.
    pub max_writes: usize,
    /// The largest payload of one message of a transaction, in bytes.
    pub max_message: usize,
    /// The largest page of `list`, `history`, `changes` and `export`.
    pub max_page: usize,
    /// How long a repeated op_id is recognised.
    pub dedup_window: Duration,
    /// How late the tombstone of an expired record may be written. Reads never see it live.
    pub expiry_lag: Duration,
    /// Whether `export` and `import` work.
    pub import_export: bool,
    /// Whether [`MessageDelivery::Local`](crate::MessageDelivery) works.
    pub deliver_local: bool,
    /// How waiting calls wake.
    pub wake: Wake,
}

/// What a [`TaskStack`](crate::TaskStack) can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskCapability {
    /// What accepted tasks and their outcomes survive.
    pub durability: Durability,
    /// The largest payload, and the largest result, in bytes.
    pub max_payload: usize,
    /// The most tasks of one push.
    pub max_push: usize,
    /// The most tasks of one claim.
    pub max_claim: usize,
    /// The deepest nesting of subtasks.
    pub max_nesting: usize,
    /// The shortest lease.
    pub min_lease: Duration,
    /// The longest lease.
    pub max_lease: Duration,
    /// Who refuses stale tokens.
    pub fencing: Fencing,
    /// How long after the end of its lease a task may take to come back.
    pub redelivery_lag: Duration,
    /// How late a delayed task may become ready.
    pub delay_precision: Duration,
    /// How long finished tasks are kept.
    pub retention: Duration,
    /// How a waiting `claim` wakes.
    pub wake: Wake,
}

/// What a [`ReferenceStore`](crate::ReferenceStore) can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferenceCapability {
    /// What stored content survives.
    pub durability: Durability,
    /// The largest content in bytes.
    pub max_content: usize,
    /// Whether content can expire.
    pub ttl: bool,
    /// Whether gzip is honoured.
    pub gzip: bool,
    /// Whether zstd is honoured.
    pub zstd: bool,
    /// Whether lz4 is honoured.
    pub lz4: bool,
    /// Whether a range is read and verified without reading the whole.
    pub ranges: bool,
    /// The byte quota of a namespace; `None`: no quota.
    pub quota: Option<u64>,
}
