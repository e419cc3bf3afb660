//! Calls that go on when their caller has gone.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What goes on in a task of its own when its caller goes away. What it comes to is dropped then,
/// which must put it right.
pub(crate) struct Outliving<F>(Option<Pin<Box<F>>>)
where
    F: Future<Output: Send> + Send + 'static;

impl<F> Outliving<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    pub(crate) fn new(inner: F) -> Self {
        Self(Some(Box::pin(inner)))
    }
}

impl<F> Future for Outliving<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(inner) = &mut self.0 else {
            return Poll::Pending;
        };
        let output = ready!(inner.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(output)
    }
}

impl<F> Drop for Outliving<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    fn drop(&mut self) {
        // One that panicked cannot go on.
        if let Some(inner) = self.0.take()
            && !std::thread::panicking()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            drop(runtime.spawn(inner));
        }
    }
}
