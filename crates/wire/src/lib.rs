//! The documents and headers of Statehouse's HTTP API: what the service writes, a client reads,
//! and the other way round. `docs/http-api.md` tells the routes.
//!
//! - Every document refuses fields that it does not know.
//! - Durations are text with units, `"30s"`, `"1h30m"`, `"500ms"`: see [`Span`].
//! - Times are RFC 3339 in UTC.
//! - Bytes are an object with one of `text`, `json` and `base64`, whichever is lossless: see
//!   [`ContentDoc`].
//! - Errors are problem documents: see [`ErrorDocument`].
//!
//! Documents turn into the contracts' types with `TryFrom`, or with a method where more is needed
//! than the document, and come from them with `From`.

mod admin;
mod capability;
mod changes;
mod consumer;
mod content;
mod error;
mod group;
pub mod header;
mod interrupt;
mod known;
mod lease;
mod mailbox;
mod message;
mod outbox;
mod page;
mod reference;
mod shared;
mod span;
mod state;
mod task_settle;
mod tasks;
mod transaction;
mod trio;

pub use admin::{
    AgeDoc, AttemptErrorDoc, CountsDoc, DeadLetterDoc, GroupStatusDoc, PeekedDoc, PurgeDoc,
    RedriveDoc,
};
pub use capability::{
    AdminCapabilityDoc, BackendDoc, BackendInfoDoc, CapabilitiesDoc, ConsumerCapabilityDoc,
    DurabilityDoc, FencingDoc, KeyBlockingDoc, ProducerCapabilityDoc, ReferenceCapabilityDoc,
    StateCapabilityDoc, TaskCapabilityDoc, WakeDoc,
};
pub use changes::{
    AdvanceDoc, ChangeContentDoc, ChangeDoc, ChangePageDoc, CursorDoc, FollowDoc, FollowStartDoc,
    FollowerDoc, TrimDoc,
};
pub use consumer::{
    DeliveryDoc, GapDoc, ReceiveDoc, SettleActionDoc, SettleBatchDoc, SettleDoc, SettledDoc,
};
pub use content::ContentDoc;
pub use error::{ConflictDoc, ErrorDocument, LimitDoc, PROBLEM, status};
pub use group::{BackoffDoc, DeclaredDoc, GroupSpecDoc};
pub use interrupt::{
    AgentSignalsDoc, InterruptDoc, InterruptIdDoc, InterruptSendDoc, InterruptStatsDoc,
};
pub use lease::LeaseDoc;
pub use mailbox::{
    HeardDoc, MailboxDoc, MailboxStatusDoc, PendingDoc, PublishedDoc, ReplyDoc, RequestDoc,
    TopicStatsDoc,
};
pub use message::{
    CancelledDoc, MessageDoc, PayloadDoc, PublishDoc, ReceivedDoc, ReferenceDoc, SendDoc, SentDoc,
};
pub use outbox::{
    OutboxEntryDoc, OutboxExtendDoc, OutboxLeaseDoc, OutboxReadDoc, OutboxReleaseDoc,
    OutboxSettleBatchDoc, OutboxSettleDoc,
};
pub use page::{CountDoc, ItemsDoc, OutcomeDoc, PageDoc, RemovedDoc};
pub use reference::{
    CollectedDoc, HoldDoc, PutOutcomeDoc, ReferenceInfoDoc, ReferenceStatsDoc, TouchDoc,
};
pub use shared::{SharedGoneDoc, SharedStatsDoc, SharedValueDoc, SharedWrittenDoc};
pub use span::{Span, duration_text, number_and_unit, parse_duration};
pub use state::{ImportDoc, KeyDoc, KeysDoc, PruneDoc, PrunedDoc, RecordDoc};
pub use task_settle::{RetryDoc, TaskActionDoc, TaskSettleBatchDoc, TaskSettleDoc, TaskSettledDoc};
pub use tasks::{
    ChildOutcomeDoc, ClaimDoc, ClaimRequestDoc, NewTaskDoc, PushDoc, PushedDoc, StackDepthDoc,
    TaskDoc,
};
pub use transaction::{AppliedDoc, OperationDoc, RollbackDoc, TransactionDoc, WriteDoc};
pub use trio::{TrioRoleDoc, TrioStatusDoc};
