//! Communication between agents, written once for every backend.
//!
//! | | |
//! |---|---|
//! | [`Agent`] | all of it in one hand |
//! | [`PolicyManager`] | decides whether a payload travels by value or by reference |
//! | [`Messenger`] | sends and receives messages of any size, large ones by reference |
//! | [`Mailboxes`] | a mailbox for every agent, online or not |
//! | [`Requests`] | asks an agent and waits for its reply |
//! | [`SharedMemory`] | named values with versions that agents share, by scope |
//! | [`Bus`] | publish and subscribe inside one process, never waiting |
//! | [`Interrupts`] | signals that handlers get at once, the critical ones for sure |
//! | [`Topics`] | the buses of many processes, joined by the backend |

mod agent;
mod bus;
mod interrupts;
mod mailbox;
mod messenger;
mod policy;
mod requests;
mod shared;
mod topics;
mod trace;

pub use agent::Agent;
pub use bus::{
    Bus, BusFilter, BusOptions, BusOverflow, BusPattern, Published, Subscribe, Subscription,
    SubscriptionId, SubscriptionInfo, TopicStats,
};
pub use interrupts::{
    Handled, Interrupt, InterruptEvent, InterruptHandler, InterruptHook, InterruptOptions,
    InterruptStats, Interrupts, Signal, SignalClass,
};
pub use mailbox::{
    AgentValidator, Arrivals, MailboxOptions, MailboxProducer, MailboxStatus, Mailboxes, Pending,
    UnknownAgent,
};
pub use messenger::{Budget, Incoming, Messenger, MessengerOptions, Swept, json_payload};
pub use policy::{AutoPromote, KindLists, Placement, Policy, PolicyConfig, PolicyManager};
pub use requests::Requests;
pub use shared::{
    PutShared, SharedEvent, SharedFeed, SharedKey, SharedMemory, SharedScope, SharedStats,
    SharedValue, SharedWatch, SharedWritten,
};
pub use topics::{Topics, TopicsOptions};
