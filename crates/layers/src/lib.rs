//! Layers: adapters around adapters.
//!
//! ```text
//! guard → observe → retry → timeout → adapter
//! ```
//!
//! - [`guard`] refuses what the contracts or the capabilities deny, once for all adapters: below
//!   it, arguments are valid. An adapter is never used without it.
//! - [`Observe`] traces and measures each operation.
//! - [`Retry`] repeats what failed for the moment and can be repeated without harm.
//! - [`Timeout`] bounds each attempt.
//!
//! A [`Stack`] puts them around a backend. Timeout, retry and observe do not look at arguments, so
//! they are a [`Layer`] each: a function around a call. One set of handles, in `around`, carries
//! any layer through every role.
//!
//! ```
//! use statehouse_contracts::{
//!     Endpoint, ErrorKind, Factory, Message, Payload, ProducerExt, Result, Scope, Topic,
//! };
//! use statehouse_layers::Stack;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let adapter = statehouse_memory::Memory.open(&Endpoint::parse("memory:")?).await?;
//! let backend = Stack::default().wrap(adapter);
//!
//! let producer = backend.producer(&Scope::parse("default", "writer")?).await?;
//! let mut message = Message::new(Topic::new("news")?, Payload::text("hello"));
//! message.headers.insert("two words".to_owned(), String::new());
//! let refused = producer.send_one(message).await.expect_err("no header is named like this");
//! assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
//! # Ok(())
//! # }
//! ```

mod around;
mod call;
mod guard;
mod observe;
mod retry;
mod stack;
mod timeout;

pub use around::around;
pub use call::{Call, Layer, Repeat, Role};
pub use guard::guard;
pub use observe::Observe;
pub use retry::Retry;
pub use stack::Stack;
pub use timeout::Timeout;
