//! Communication between agents, written once for every backend.
//!
//! | | |
//! |---|---|
//! | [`PolicyManager`] | decides whether a payload travels by value or by reference |
//! | [`Messenger`] | sends and receives messages of any size, large ones by reference |
//! | [`Bus`] | publish and subscribe inside one process, never waiting |

mod bus;
mod messenger;
mod policy;

pub use bus::{
    Bus, BusFilter, BusOptions, BusOverflow, BusPattern, Published, Subscribe, Subscription,
    SubscriptionId, SubscriptionInfo, TopicStats,
};
pub use messenger::{Incoming, Messenger, MessengerOptions, Swept, json_payload};
pub use policy::{AutoPromote, KindLists, Placement, Policy, PolicyConfig, PolicyManager};
