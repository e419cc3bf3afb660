//! Interrupts that are not critical: each waits in its class's buffer.

use std::sync::Weak;

use statehouse_contracts::{Error, ErrorKind, MessageId, Result};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Inner, Interrupt, InterruptEvent};

impl Inner {
    /// Puts it into its class's buffer, or refuses it.
    pub(super) fn buffer(&self, interrupt: Interrupt) -> Result<MessageId> {
        let (id, signal) = (interrupt.id, interrupt.signal);
        if self.handler(&interrupt).is_none() {
            let text = format!("{} does not handle {signal} here", interrupt.target);
            return Err(Error::not_found(text));
        }
        let buffer = self.buffers.get(&signal.class());
        let buffer = buffer.ok_or_else(|| Error::internal("a class without a buffer"))?;
        match buffer.try_reserve() {
            Ok(place) => {
                self.tell(InterruptEvent::Sent, &interrupt);
                place.send(interrupt);
                Ok(id)
            }
            Err(mpsc::error::TrySendError::Closed(())) => Err(Error::closed()),
            Err(mpsc::error::TrySendError::Full(())) => {
                self.tell(InterruptEvent::Dropped, &interrupt);
                let text = format!("too many interrupts such as {signal} wait");
                Err(Error::new(ErrorKind::Overloaded, text))
            }
        }
    }
}

/// Handles what is in one buffer, one after the other, until everything stops.
pub(super) async fn work(
    inner: Weak<Inner>,
    mut waiting: mpsc::Receiver<Interrupt>,
    stop: CancellationToken,
) {
    while let Some(Some(interrupt)) = stop.run_until_cancelled(waiting.recv()).await {
        let Some(inner) = inner.upgrade() else {
            return;
        };
        // A failure was told where it happened.
        drop(inner.handle(&interrupt).await);
    }
    // Nobody sends into it any more, and what was sent is not lost silently.
    waiting.close();
    while let Some(interrupt) = waiting.recv().await {
        if let Some(inner) = inner.upgrade() {
            inner.tell(InterruptEvent::Dropped, &interrupt);
        }
    }
}
