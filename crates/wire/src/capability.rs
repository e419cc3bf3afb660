//! What the backends of the service can do.

use serde::{Deserialize, Serialize};
use statehouse_contracts::{
    AdminCapability, ConsumerCapability, Durability, Fencing, KeyBlocking, ProducerCapability,
    ReferenceCapability, StateCapability, TaskCapability, Wake,
};
use utoipa::ToSchema;

use crate::Span;

/// A document with the fields of a contracts' struct, and the way there and back.
macro_rules! mirror {
    ($(#[$doc:meta])* $name:ident of $of:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)+
        }

        impl From<$of> for $name {
            fn from(from: $of) -> Self {
                Self { $($field: Mirror::there(from.$field),)+ }
            }
        }

        impl From<$name> for $of {
            fn from(from: $name) -> Self {
                Self { $($field: Mirror::back(from.$field),)+ }
            }
        }
    };
}

/// A field's form in the contracts and in the document.
trait Mirror<D> {
    fn there(self) -> D;
    fn back(document: D) -> Self;
}

impl<T: Copy> Mirror<T> for T {
    fn there(self) -> T {
        self
    }
    fn back(document: T) -> Self {
        document
    }
}

macro_rules! mirrored {
    ($($of:ty => $doc:ty;)+) => {$(
        impl Mirror<$doc> for $of {
            fn there(self) -> $doc {
                self.into()
            }
            fn back(document: $doc) -> Self {
                document.into()
            }
        }
        impl Mirror<Option<$doc>> for Option<$of> {
            fn there(self) -> Option<$doc> {
                self.map(Into::into)
            }
            fn back(document: Option<$doc>) -> Self {
                document.map(Into::into)
            }
        }
    )+};
}

mirrored! {
    std::time::Duration => Span;
    Durability => DurabilityDoc;
    Wake => WakeDoc;
    Fencing => FencingDoc;
    KeyBlocking => KeyBlockingDoc;
    AdminCapability => AdminCapabilityDoc;
}

mirror! {
    /// What an accepted operation survives.
    DurabilityDoc of Durability {
        /// The kill of the process that holds the data.
        process_kill: bool,
        /// The loss of power of its machine.
        power_loss: bool,
        /// The loss of that machine with its disks.
        node_loss: bool,
    }
}

mirror! {
    /// What a `Producer` can do.
    ProducerCapabilityDoc of ProducerCapability {
        /// What an accepted message survives.
        durability: DurabilityDoc,
        /// The largest inline payload in bytes.
        max_payload: usize,
        /// The most headers of one message.
        max_headers: usize,
        /// The most bytes of all header names and values of one message together.
        max_header_bytes: usize,
        /// The most messages of one batch.
        max_batch: usize,
        /// How long a repeated idempotency key is recognised; `None`: not at all.
        dedup_window: Option<Span>,
        /// The longest delay; `None`: messages cannot be delayed.
        max_delay: Option<Span>,
        /// How late a delayed message may become due.
        delay_precision: Span,
        /// Whether a scheduled message can be cancelled by id.
        cancel: bool,
        /// Whether `routed` is known.
        routed: bool,
        /// Whether `require_route` is honoured.
        require_route: bool,
        /// Whether messages with a ttl expire.
        ttl: bool,
    }
}

mirror! {
    /// What a `Consumer` can do.
    ConsumerCapabilityDoc of ConsumerCapability {
        /// What a group, its messages and their attempts survive.
        durability: DurabilityDoc,
        /// The most messages of one `receive`.
        max_receive: usize,
        /// Who refuses stale tokens.
        fencing: FencingDoc,
        /// Whether an `Ok` ack means that the message never comes back, also after a crash.
        ack_confirmed: bool,
        /// Whether another process may settle by token.
        settle_anywhere: bool,
        /// The shortest lease.
        min_lease: Span,
        /// The longest lease.
        max_lease: Span,
        /// How long after the end of its lease a message may take to come back.
        redelivery_lag: Span,
        /// How a waiting `receive` wakes.
        wake: WakeDoc,
        /// Whether a group can start at the earliest kept message.
        start_earliest: bool,
        /// How many priorities of 0..=9 are really told apart (1: none).
        priorities: u8,
        /// Whether a higher priority always comes first, among messages not delivered before.
        strict_priorities: bool,
        /// Whether messages of one ordering key come one at a time in the order sent.
        ordering_keys: bool,
        /// Whether a group can treat all priorities as equal.
        equal_priorities: bool,
        /// Whether ordering keys and priorities hold together in one group.
        keys_with_priorities: bool,
        /// What a blocked ordering key holds up.
        key_blocking: KeyBlockingDoc,
        /// Whether a nack can carry a delay.
        nack_delay: bool,
        /// Whether a received delivery that is dropped with its `receive` future counts no attempt.
        drop_counts_no_attempt: bool,
        /// Whether a full group can refuse.
        overflow_reject: bool,
        /// Whether a full group can drop its oldest.
        overflow_drop_oldest: bool,
        /// Whether expired messages can be kept as dead letters.
        expired_dead_letters: bool,
        /// Whether subscriptions without a group exist.
        broadcast: bool,
        /// How long an unread message is kept at most; `None`: for ever.
        max_retention: Option<Span>,
        /// What the queue's administration can do.
        admin: AdminCapabilityDoc,
    }
}

mirror! {
    /// What a `QueueAdmin` can do: one bool per operation.
    AdminCapabilityDoc of AdminCapability {
        /// `groups`.
        list: bool,
        /// `pause` and `resume`.
        pause: bool,
        /// `delete_group`.
        delete: bool,
        /// `counts`.
        counts: bool,
        /// Whether counts are exact at the moment they are taken.
        counts_exact: bool,
        /// `oldest_ready_age`.
        oldest_age: bool,
        /// `peek`.
        peek: bool,
        /// `dead_letters`.
        dead_letters: bool,
        /// `redrive`.
        redrive: bool,
        /// `purge`.
        purge: bool,
    }
}

mirror! {
    /// What a `StateManager` can do.
    StateCapabilityDoc of StateCapability {
        /// What an applied transaction survives.
        durability: DurabilityDoc,
        /// The largest record in bytes.
        max_data: usize,
        /// The most writes and messages of one transaction together.
        max_writes: usize,
        /// The largest payload of one message of a transaction, in bytes.
        max_message: usize,
        /// The largest page of `list`, `history`, `changes` and `export`.
        max_page: usize,
        /// How long a repeated op_id is recognised.
        dedup_window: Span,
        /// How late the tombstone of an expired record may be written. Reads never see it live.
        expiry_lag: Span,
        /// Whether `export` and `import` work.
        import_export: bool,
        /// Whether `Local` works.
        deliver_local: bool,
        /// How waiting calls wake.
        wake: WakeDoc,
    }
}

mirror! {
    /// What a `TaskStack` can do.
    TaskCapabilityDoc of TaskCapability {
        /// What accepted tasks and their outcomes survive.
        durability: DurabilityDoc,
        /// The largest payload, and the largest result, in bytes.
        max_payload: usize,
        /// The most tasks of one push.
        max_push: usize,
        /// The most tasks of one claim.
        max_claim: usize,
        /// The deepest nesting of subtasks.
        max_nesting: usize,
        /// The shortest lease.
        min_lease: Span,
        /// The longest lease.
        max_lease: Span,
        /// Who refuses stale tokens.
        fencing: FencingDoc,
        /// How long after the end of its lease a task may take to come back.
        redelivery_lag: Span,
        /// How late a delayed task may become ready.
        delay_precision: Span,
        /// How long finished tasks are kept.
        retention: Span,
        /// How a waiting `claim` wakes.
        wake: WakeDoc,
    }
}

mirror! {
    /// What a `ReferenceStore` can do.
    ReferenceCapabilityDoc of ReferenceCapability {
        /// What stored content survives.
        durability: DurabilityDoc,
        /// The largest content in bytes.
        max_content: usize,
        /// Whether content can expire.
        ttl: bool,
        /// Whether gzip is honoured.
        gzip: bool,
        /// Whether zstd is honoured.
        zstd: bool,
        /// Whether lz4 is honoured.
        lz4: bool,
        /// Whether a range is read and verified without reading the whole.
        ranges: bool,
        /// The byte quota of a namespace; `None`: no quota.
        quota: Option<u64>,
    }
}

/// How a waiting call learns that something arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WakeDoc {
    /// It is woken.
    Push,
    /// It looks at this interval for what other processes do.
    Poll(Span),
}

/// Who refuses a settle by a stale token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FencingDoc {
    /// The server.
    Server,
    /// Only the clock of the client that holds the lease.
    Client,
}

/// What a leased or waiting message of an ordering key holds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyBlockingDoc {
    /// Its own key only.
    Key,
    /// Also keys that share its queue on the broker.
    Queue,
}

impl From<Wake> for WakeDoc {
    fn from(wake: Wake) -> Self {
        match wake {
            Wake::Push => Self::Push,
            Wake::Poll(interval) => Self::Poll(Span(interval)),
        }
    }
}

impl From<WakeDoc> for Wake {
    fn from(doc: WakeDoc) -> Self {
        match doc {
            WakeDoc::Push => Self::Push,
            WakeDoc::Poll(interval) => Self::Poll(interval.into()),
        }
    }
}

impl From<Fencing> for FencingDoc {
    fn from(fencing: Fencing) -> Self {
        match fencing {
            Fencing::Server => Self::Server,
            Fencing::Client => Self::Client,
        }
    }
}

impl From<FencingDoc> for Fencing {
    fn from(doc: FencingDoc) -> Self {
        match doc {
            FencingDoc::Server => Self::Server,
            FencingDoc::Client => Self::Client,
        }
    }
}

impl From<KeyBlocking> for KeyBlockingDoc {
    fn from(blocking: KeyBlocking) -> Self {
        match blocking {
            KeyBlocking::Key => Self::Key,
            KeyBlocking::Queue => Self::Queue,
        }
    }
}

impl From<KeyBlockingDoc> for KeyBlocking {
    fn from(doc: KeyBlockingDoc) -> Self {
        match doc {
            KeyBlockingDoc::Key => Self::Key,
            KeyBlockingDoc::Queue => Self::Queue,
        }
    }
}

/// What a backend says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendInfoDoc {
    /// The adapter's name.
    #[schema(example = "sqlite")]
    pub name: String,
    /// The server or library it talks to, with its version.
    pub server: String,
    /// Facts for the operator: pairs of name and value.
    pub facts: Vec<(String, String)>,
}

/// One backend of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendDoc {
    /// What it is used for: `state`, `messages`, `tasks`, `references`; for a trio also
    /// `state.main`, `state.replica` and `state.rollback`.
    pub roles: Vec<String>,
    /// What it says of itself.
    pub info: BackendInfoDoc,
}

/// What the service can do, per role; `null` where no backend has the role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CapabilitiesDoc {
    /// The version of the service.
    pub version: String,
    /// The longest `wait` of a request; a longer one is cut to it.
    pub max_wait: Span,
    /// The largest body of a request in bytes, but for content of references, which
    /// `references.max_content` bounds.
    pub body_limit: u64,
    /// Sending.
    pub producer: Option<ProducerCapabilityDoc>,
    /// Receiving.
    pub consumer: Option<ConsumerCapabilityDoc>,
    /// States.
    pub state: Option<StateCapabilityDoc>,
    /// Task stacks.
    pub tasks: Option<TaskCapabilityDoc>,
    /// Large content.
    pub references: Option<ReferenceCapabilityDoc>,
}
