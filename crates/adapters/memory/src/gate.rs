//! Closing, and waiting for something without missing it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use statehouse_contracts::{Error, Result};
use tokio::sync::Notify;

use crate::time::deadline;

/// Whether a handle is open: it closes alone, or with its backend.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: AtomicBool,
    bell: Notify,
    backend: Option<Arc<Gate>>,
}

impl Gate {
    /// The gate of a handle of the backend with the gate `backend`.
    pub(crate) fn below(backend: &Arc<Gate>) -> Self {
        Self {
            backend: Some(backend.clone()),
            ..Self::default()
        }
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.bell.notify_waiters();
    }

    /// `Closed` once it is closed.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_closed() {
            return Err(Error::closed());
        }
        Ok(())
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst) || self.backend.as_ref().is_some_and(|up| up.is_closed())
    }

    /// Waits until it is closed.
    pub(crate) async fn closed(&self) {
        let mut own = std::pin::pin!(self.bell.notified());
        own.as_mut().enable();
        let Some(backend) = &self.backend else {
            if !self.is_closed() {
                own.await;
            }
            return;
        };
        let mut above = std::pin::pin!(backend.bell.notified());
        above.as_mut().enable();
        if !self.is_closed() {
            tokio::select! {
                () = own => {}
                () = above => {}
            }
        }
    }
}

/// What a look at shared data found.
#[derive(Debug)]
pub(crate) enum Look<T> {
    /// What was looked for.
    Found(T),
    /// Nothing; this rings when it is worth another look.
    Empty(Arc<Notify>),
}

/// Looks at once, and then again whenever the bell rings, until something is found or `wait` has
/// passed. `Closed` when the gate closes meanwhile.
pub(crate) async fn look<T>(
    gate: &Gate,
    wait: Duration,
    mut look: impl FnMut() -> Result<Look<T>>,
) -> Result<Option<T>> {
    gate.check()?;
    let mut bell = match look()? {
        Look::Found(found) => return Ok(Some(found)),
        Look::Empty(_) if wait.is_zero() => return Ok(None),
        Look::Empty(bell) => bell,
    };
    let end = tokio::time::sleep_until(deadline(std::time::Instant::now(), wait).into());
    let (mut end, mut closed) = (std::pin::pin!(end), std::pin::pin!(gate.closed()));
    loop {
        let current = bell.clone();
        let mut rung = std::pin::pin!(current.notified());
        // From here on no ring is missed.
        rung.as_mut().enable();
        bell = match look()? {
            Look::Found(found) => return Ok(Some(found)),
            Look::Empty(next) => next,
        };
        tokio::select! {
            biased;
            () = &mut closed => return Err(Error::closed()),
            () = &mut rung => {}
            () = &mut end => return Ok(None),
        }
    }
}
