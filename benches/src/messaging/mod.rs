//! Messaging in one process, and what it is compared with.
//!
//! Each function sets something up and answers how to time it. What they answer runs runtimes of
//! its own, so it is called outside of one.

mod bus;
mod decisions;
mod exchange;
mod shared;

use std::{sync::Arc, time::Duration};

use statehouse_contracts::{Backend, Endpoint, Factory, Message, Payload, Scope, Topic};
use tokio::runtime::Runtime;

use crate::{Result, VALUE};

pub use bus::{broadcast, bus, bus_making_messages, matching};
pub use decisions::{place_bytes, place_json};
pub use exchange::{by_hand, by_messenger, round_trip};
pub use shared::{bare_map, peek};

/// Does something so many times, and answers how long that took.
pub type Timed = Box<dyn FnMut(u64) -> Result<Duration>>;

fn single() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    Ok(builder.enable_time().build()?)
}

fn message(topic: &str) -> Result<Message> {
    let payload = Payload::bytes(vec![7; VALUE]);
    Ok(Message::new(Topic::new(topic)?, payload))
}

async fn memory() -> Result<(Arc<dyn Backend>, Scope)> {
    let endpoint = Endpoint::parse("memory:")?;
    let backend = statehouse_memory::Memory.open(&endpoint).await?;
    Ok((backend, Scope::parse("default", "bench")?))
}
