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
//! | [`MessageProcessor`] | runs handlers on a group's messages; their effects happen once |
//! | [`Inbox`], [`Deduplicated`] | the marks behind it, and a consumer that skips what has one |
//! | [`Retention`] | forgets old versions and old changes from time to time |
//!
//! Subtasks come first, then the task they came from, which reads how they ended:
//!
//! ```
//! use std::time::Duration;
//!
//! use async_trait::async_trait;
//! use statehouse_contracts::{
//!     ContentType, Endpoint, Factory, Kind, NewTask, Result, Scope, StackName, TaskStackExt,
//!     TaskState, WorkerName,
//! };
//! use statehouse_state::{
//!     HandlerError, ProcessorOptions, TaskContext, TaskEnd, TaskHandler, TaskProcessor,
//! };
//! use tokio_util::sync::CancellationToken;
//!
//! fn work() -> StackName {
//!     StackName::new("work").expect("a valid name")
//! }
//!
//! fn task(payload: &'static str) -> NewTask {
//!     NewTask::new(Kind::new("step").expect("a valid name"), payload, ContentType::TEXT)
//! }
//!
//! struct Writer;
//!
//! #[async_trait]
//! impl TaskHandler for Writer {
//!     async fn handle(&self, context: TaskContext) -> Result<TaskEnd, HandlerError> {
//!         if &context.task.payload[..] == b"report" && context.outcomes.is_empty() {
//!             let children = vec![task("look up the figures")];
//!             return Ok(TaskEnd::Suspend { stack: work(), children });
//!         }
//!         Ok(TaskEnd::done())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let folder = tempfile::tempdir().expect("a folder");
//! let url = format!("sqlite:{}", folder.path().join("work.db").display());
//! let backend = statehouse_sqlite::SqliteFactory.open(&Endpoint::parse(&url)?).await?;
//! let tasks = backend.tasks(&Scope::parse("default", "writer")?).await?;
//! let report = tasks.push_one(&work(), task("report")).await?;
//!
//! let stop = CancellationToken::new();
//! let options = ProcessorOptions::new(work(), WorkerName::new("w1")?);
//! let processor = TaskProcessor::new(tasks.clone(), Writer, options);
//! let running = tokio::spawn(processor.run(stop.clone()));
//! while tasks.get(&report.id).await?.map(|task| task.state) != Some(TaskState::Completed) {
//!     tokio::time::sleep(Duration::from_millis(5)).await;
//! }
//! stop.cancel();
//! running.await.expect("no panic");
//! # Ok(())
//! # }
//! ```

mod cache;
mod event;
mod feed;
mod inbox;
mod pause;
mod processor;
mod relay;
mod retention;
mod service;
mod shared;
mod trio;
mod watch;

pub use cache::{CacheOptions, StateCache};
pub use event::{EventData, StateEvent};
pub use feed::CacheFeed;
pub use inbox::{
    Deduplicated, Inbox, MessageContext, MessageHandler, MessageProcessor, MessageProcessorOptions,
    Once,
};
pub use processor::{
    HandlerError, ProcessorOptions, TaskContext, TaskEnd, TaskHandler, TaskProcessor,
};
pub use relay::{Relay, RelayOptions};
pub use retention::{Retention, RetentionOptions};
pub use service::StateService;
pub use shared::{SharedCache, SharedCacheOptions};
pub use trio::{ReplicaMode, RoleStatus, Source, Trio, TrioOptions, TrioRead, TrioStatus};
pub use watch::{Watch, WatchFilter};
