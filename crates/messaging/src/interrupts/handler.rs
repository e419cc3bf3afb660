//! Who handles interrupts, and what is told of them.

use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use statehouse_contracts::{Bytes, Error, ErrorKind, MessageId, Result};

use super::Signal;

/// A signal for an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// Which one.
    pub id: MessageId,
    /// What it says.
    pub signal: Signal,
    /// Whom it is for.
    pub target: String,
    /// Who sent it.
    pub sender: Option<String>,
    /// What else there is to say.
    pub payload: Bytes,
    /// Which delivery it is, from 1.
    pub attempt: u32,
}

/// What a handler has done with an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// It is done with.
    Done,
    /// It is taken, and [acknowledged](super::Interrupts::acknowledge) later: a critical one that is
    /// not comes again when its lease has run out. The same as done for all others.
    Taken,
}

/// Handles the interrupts of one agent and signal.
#[async_trait]
pub trait InterruptHandler: Debug + Send + Sync {
    /// Handles one. It may come again, also after it was handled: a critical one is delivered at
    /// least once.
    ///
    /// # Errors
    /// When it could not be handled: then it is not delivered, and a critical one comes again.
    async fn handle(&self, interrupt: &Interrupt) -> Result<Handled>;
}

/// What happened to an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InterruptEvent {
    /// It was accepted.
    Sent,
    /// A handler has handled it.
    Delivered,
    /// Its handler failed, panicked or took too long.
    Failed,
    /// A buffer was full, or everything closed before it was handled.
    Dropped,
    /// It is critical and stored.
    Persisted,
    /// It is critical and comes again.
    Retried,
    /// It is critical and gone from the store.
    Acknowledged,
}

/// Is told of everything that happens.
pub type InterruptHook = Arc<dyn Fn(InterruptEvent, &Interrupt) + Send + Sync>;

/// Runs a handler, for so long at most. Its panic is an error like any other.
pub(super) async fn run(
    handler: &dyn InterruptHandler,
    interrupt: &Interrupt,
    timeout: Duration,
) -> Result<Handled> {
    let handling = AssertUnwindSafe(handler.handle(interrupt)).catch_unwind();
    match tokio::time::timeout(timeout, handling).await {
        Ok(Ok(handled)) => handled,
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            let text = text.unwrap_or_default();
            Err(Error::internal(format!("the handler panicked: {text}")))
        }
        Err(_) => Err(Error::new(
            ErrorKind::Timeout,
            format!("the handler took longer than {timeout:?}"),
        )),
    }
}
