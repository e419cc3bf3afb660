//! Services over state and tasks, written once for every backend.
//!
//! | | |
//! |---|---|
//! | [`StateService`] | applies transactions, reads through a cache, watches |
//! | [`Relay`] | sends what was committed: the outbox, and an event of every change |
//! | [`StateEvent`] | that event, as message and back |
//! | [`StateCache`], [`CacheFeed`] | a read-through cache, kept fresh by the events |
//! | [`Watch`] | the changes that a filter lets through, resumable without a gap |
//! | [`Trio`] | main, replica and rollback: a state manager over three |
//! | [`TaskProcessor`] | runs handlers on a stack of tasks, newest first |
//! | [`Retention`] | forgets old versions and old changes from time to time |

mod cache;
mod event;
mod feed;
mod processor;
mod relay;
mod retention;
mod service;
mod trio;
mod watch;

pub use cache::{CacheOptions, StateCache};
pub use event::{EventData, StateEvent};
pub use feed::CacheFeed;
pub use processor::{
    HandlerError, ProcessorOptions, TaskContext, TaskEnd, TaskHandler, TaskProcessor,
};
pub use relay::{Relay, RelayOptions};
pub use retention::{Retention, RetentionOptions};
pub use service::StateService;
pub use trio::{ReplicaMode, RoleStatus, Source, Trio, TrioOptions, TrioRead, TrioStatus};
pub use watch::{Watch, WatchFilter};
