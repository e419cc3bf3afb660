//! A write as it lies in the writer's inbox: the closure, its result, and who waits for it.
//!
//! The writer and the caller share it, so that it is one allocation, and the caller frees it: a
//! thread that only frees what others have allocated keeps waiting for their allocator's locks.

use std::{
    any::Any,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

use super::{EngineError, Tx};

/// How a run of a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ran {
    /// It has a result; what it wrote is to be committed.
    Accepted,
    /// It failed; what it wrote, if anything, must not be committed.
    Refused,
}

/// The writer's side of a job, without its types. Dropping it unanswered tells the caller that the
/// database is closed.
pub(super) struct Job(Option<Arc<dyn Run>>);

impl Job {
    /// Whether the caller does without the sync.
    pub(super) fn is_relaxed(&self) -> bool {
        self.0.as_ref().is_some_and(|job| job.is_relaxed())
    }

    /// Runs the closure and keeps its result. Running it again replaces the result.
    pub(super) fn run(&self, tx: &Tx<'_>) -> Ran {
        self.0.as_ref().map_or(Ran::Refused, |job| job.run(tx))
    }

    /// Replaces the result by an error.
    pub(super) fn fail(&self, error: EngineError) {
        if let Some(job) = &self.0 {
            job.fail(error);
        }
    }

    /// Hands the result to the caller, if the caller still waits.
    pub(super) fn reply(&mut self) {
        if let Some(job) = self.0.take() {
            let waker = job.answer();
            // The caller is to be the last who has it.
            drop(job);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(job) = &self.0 {
            job.fail(EngineError::Closed);
        }
        self.reply();
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").finish_non_exhaustive()
    }
}

/// What the writer does with a job.
trait Run: Send + Sync {
    fn is_relaxed(&self) -> bool;
    fn run(&self, tx: &Tx<'_>) -> Ran;
    fn fail(&self, error: EngineError);
    /// Makes the result the answer; returns who is to be woken.
    fn answer(&self) -> Option<Waker>;
}

/// What the caller does with a job.
trait Answered<T, E>: Send + Sync {
    fn poll(&self, context: &mut Context<'_>) -> Poll<Result<T, E>>;
}

/// A job with its types.
struct Typed<T, E, F> {
    relaxed: bool,
    /// The writer's alone.
    work: Mutex<Work<T, E, F>>,
    answer: Mutex<Answer<T, E>>,
}

struct Work<T, E, F> {
    run: F,
    result: Option<Result<T, E>>,
}

enum Answer<T, E> {
    /// There is none yet, and this is who waits for it.
    Awaited(Option<Waker>),
    Given(Result<T, E>),
    Taken,
}

impl<T, E, F> Run for Typed<T, E, F>
where
    F: FnMut(&Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<EngineError> + Send,
{
    fn is_relaxed(&self) -> bool {
        self.relaxed
    }

    fn run(&self, tx: &Tx<'_>) -> Ran {
        let work = &mut *self.work.lock();
        let result = catch_unwind(AssertUnwindSafe(|| (work.run)(tx)))
            .unwrap_or_else(|panic| Err(EngineError::Panicked(panic_message(&*panic)).into()));
        let ran = if result.is_ok() {
            Ran::Accepted
        } else {
            Ran::Refused
        };
        work.result = Some(result);
        ran
    }

    fn fail(&self, error: EngineError) {
        self.work.lock().result = Some(Err(error.into()));
    }

    fn answer(&self) -> Option<Waker> {
        let result = self.work.lock().result.take();
        let result = result.unwrap_or_else(|| Err(EngineError::Closed.into()));
        let before = std::mem::replace(&mut *self.answer.lock(), Answer::Given(result));
        match before {
            Answer::Awaited(waker) => waker,
            Answer::Given(_) | Answer::Taken => None,
        }
    }
}

impl<T, E, F> Answered<T, E> for Typed<T, E, F>
where
    F: Send,
    T: Send,
    E: From<EngineError> + Send,
{
    fn poll(&self, context: &mut Context<'_>) -> Poll<Result<T, E>> {
        let answer = &mut *self.answer.lock();
        match answer {
            Answer::Awaited(waker) => {
                match waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    None => *waker = Some(context.waker().clone()),
                }
                Poll::Pending
            }
            Answer::Given(_) => match std::mem::replace(answer, Answer::Taken) {
                Answer::Given(result) => Poll::Ready(result),
                Answer::Awaited(_) | Answer::Taken => Poll::Ready(Err(EngineError::Closed.into())),
            },
            Answer::Taken => Poll::Ready(Err(EngineError::Closed.into())),
        }
    }
}

/// Makes a closure a job, and the future of its result.
pub(super) fn job<T, E, F>(run: F, relaxed: bool) -> (Job, Receipt<T, E>)
where
    F: FnMut(&Tx<'_>) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: From<EngineError> + Send + 'static,
{
    let typed = Arc::new(Typed {
        relaxed,
        work: Mutex::new(Work { run, result: None }),
        answer: Mutex::new(Answer::Awaited(None)),
    });
    let job: Arc<dyn Run> = typed.clone();
    (Job(Some(job)), Receipt(typed))
}

/// The future of a submitted job's result. Dropping it does not undo the job.
pub struct Receipt<T, E>(Arc<dyn Answered<T, E>>);

impl<T, E> Future for Receipt<T, E> {
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context)
    }
}

impl<T, E> fmt::Debug for Receipt<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").finish_non_exhaustive()
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
