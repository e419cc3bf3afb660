//! Accepting interrupts, handing them to their handlers, telling what became of them.

use std::sync::Arc;
use std::time::Instant;

use statehouse_contracts::{Error, MessageId, Result};

use super::{Handled, Inner, Interrupt, InterruptEvent, InterruptHandler, handler};
use crate::trace::{operation, traced};

impl Inner {
    /// Accepts it: into its class's buffer, or stored when it is critical.
    pub(super) async fn accept(&self, interrupt: Interrupt) -> Result<MessageId> {
        self.check_open()?;
        check_agent(&interrupt.target)?;
        match interrupt.signal.is_critical() {
            true => self.persist(interrupt).await,
            false => self.buffer(interrupt),
        }
    }

    pub(super) fn check_open(&self) -> Result<()> {
        match self.stop.is_cancelled() {
            true => Err(Error::closed().with_operation("interrupt")),
            false => Ok(()),
        }
    }

    pub(super) fn handler(&self, interrupt: &Interrupt) -> Option<Arc<dyn InterruptHandler>> {
        let agents = self.agents.read();
        let registered = agents.get(&interrupt.target)?;
        registered.handlers.get(&interrupt.signal).cloned()
    }

    /// Hands it to its handler.
    pub(super) async fn handle(&self, interrupt: &Interrupt) -> Result<Handled> {
        let span = operation!(
            "interrupt.handle",
            signal = %interrupt.signal,
            target_agent = interrupt.target,
            message_id = %interrupt.id,
            attempt = interrupt.attempt,
        );
        traced(span, self.run_handler(interrupt)).await
    }

    async fn run_handler(&self, interrupt: &Interrupt) -> Result<Handled> {
        let Some(handler) = self.handler(interrupt) else {
            let (target, signal) = (&interrupt.target, interrupt.signal);
            let error = Error::not_found(format!("{target} does not handle {signal} here"));
            self.tell(InterruptEvent::Failed, interrupt);
            return Err(error);
        };
        let started = Instant::now();
        let handled = handler::run(&*handler, interrupt, self.options.timeout).await;
        metrics::histogram!("statehouse_interrupt_handling_seconds").record(started.elapsed());
        match &handled {
            Ok(_) => self.tell(InterruptEvent::Delivered, interrupt),
            Err(error) => {
                let (id, target, signal) = (interrupt.id, &interrupt.target, interrupt.signal);
                tracing::warn!(%id, target, %signal, %error, "an interrupt was not handled");
                self.tell(InterruptEvent::Failed, interrupt);
            }
        }
        handled
    }

    /// Counts what happened, and tells the hook.
    pub(super) fn tell(&self, event: InterruptEvent, interrupt: &Interrupt) {
        self.stats.count(event);
        let hook = self.hook.read().clone();
        if let Some(hook) = hook {
            let told = || hook(event, interrupt);
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(told)).is_err() {
                tracing::warn!(?event, "the hook of interrupts panicked");
            }
        }
    }
}

pub(super) fn check_agent(agent: &str) -> Result<()> {
    match agent.is_empty() {
        true => Err(Error::invalid(
            "agent is empty; an interrupt names whom it is for",
        )),
        false => Ok(()),
    }
}
