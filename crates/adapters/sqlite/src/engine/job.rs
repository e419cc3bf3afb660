//! A write as it lies in the writer's inbox: the closure, its result, and who waits for it.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use super::{EngineError, Tx};

/// How a run of a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ran {
    /// It has a result; what it wrote is to be committed.
    Accepted,
    /// It failed; what it wrote, if anything, must not be committed.
    Refused,
}

/// A job without its types. Running it again replaces the result.
pub(super) trait Job: Send {
    /// Whether the caller does without the sync.
    fn is_relaxed(&self) -> bool;
    /// Runs the closure and keeps its result.
    fn run(&mut self, tx: &Tx<'_>) -> Ran;
    /// Replaces the result by an error.
    fn fail(&mut self, error: EngineError);
    /// Hands the result to the caller, if the caller still waits.
    fn reply(&mut self);
}

/// A job with its types.
struct Typed<T, E, F> {
    run: F,
    relaxed: bool,
    result: Option<Result<T, E>>,
    reply: Option<oneshot::Sender<Result<T, E>>>,
}

impl<T, E, F> Job for Typed<T, E, F>
where
    F: FnMut(&Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<EngineError> + Send,
{
    fn is_relaxed(&self) -> bool {
        self.relaxed
    }

    fn run(&mut self, tx: &Tx<'_>) -> Ran {
        let result = catch_unwind(AssertUnwindSafe(|| (self.run)(tx)))
            .unwrap_or_else(|panic| Err(EngineError::Panicked(panic_message(&*panic)).into()));
        let ran = if result.is_ok() {
            Ran::Accepted
        } else {
            Ran::Refused
        };
        self.result = Some(result);
        ran
    }

    fn fail(&mut self, error: EngineError) {
        self.result = Some(Err(error.into()));
    }

    fn reply(&mut self) {
        if let (Some(reply), Some(result)) = (self.reply.take(), self.result.take()) {
            // The caller may have gone; its write stands.
            let _ = reply.send(result);
        }
    }
}

/// Boxes a closure as a job, and makes the future of its result.
pub(super) fn job<T, E, F>(run: F, relaxed: bool) -> (Box<dyn Job>, Receipt<T, E>)
where
    F: FnMut(&Tx<'_>) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: From<EngineError> + Send + 'static,
{
    let (reply, receipt) = oneshot::channel();
    (
        Box::new(Typed {
            run,
            relaxed,
            result: None,
            reply: Some(reply),
        }),
        Receipt(receipt),
    )
}

/// The future of a submitted job's result. Dropping it does not undo the job.
#[derive(Debug)]
pub struct Receipt<T, E>(oneshot::Receiver<Result<T, E>>);

impl<T, E: From<EngineError>> Future for Receipt<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|reply| reply.unwrap_or_else(|_| Err(EngineError::Closed.into())))
    }
}

/// The text of a panic.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
