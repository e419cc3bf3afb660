//! What a layer sees of an operation.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use statehouse_contracts::Result;

/// The role of a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The backend itself.
    Backend,
    /// `Producer`
    Producer,
    /// `Consumer`
    Consumer,
    /// `StateManager`
    State,
    /// `TaskStack`
    Tasks,
    /// `ReferenceStore`
    References,
}

impl Role {
    /// A stable name in lower case, for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Backend => "backend",
            Role::Producer => "producer",
            Role::Consumer => "consumer",
            Role::State => "state",
            Role::Tasks => "tasks",
            Role::References => "references",
        }
    }
}

/// Whether an operation whose outcome is unknown may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It changes nothing, so its outcome is never in doubt.
    Reads,
    /// It changes something, and a repeat is recognised.
    Idempotent,
    /// It changes something, and a repeat would change it again.
    Unsafe,
}

impl Repeat {
    /// `Idempotent` when `recognised`, else `Unsafe`.
    pub fn idempotent_if(recognised: bool) -> Self {
        if recognised {
            Repeat::Idempotent
        } else {
            Repeat::Unsafe
        }
    }
}

/// One operation on its way to an adapter.
#[derive(Clone, Debug)]
pub struct Call {
    /// The adapter's name.
    pub backend: &'static str,
    /// The role of the handle.
    pub role: Role,
    /// The method.
    pub operation: &'static str,
    /// Makes the operation's tracing span.
    pub span: fn() -> tracing::Span,
    /// Whether it may be repeated.
    pub repeat: Repeat,
    /// How long the caller lets it wait for something to come.
    pub wait: Duration,
    /// How many items it carries, for a batch.
    pub items: usize,
}

impl Call {
    /// The same call with a time that it may wait.
    pub fn waiting(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// The same call with a number of items.
    pub fn carrying(mut self, items: usize) -> Self {
        self.items = items;
        self
    }
}

/// A function around every operation.
pub trait Layer: Clone + Debug + Send + Sync + 'static {
    /// Whether it may run an operation more than once, so that its arguments are kept.
    const REPEATS: bool = false;

    /// Runs one operation.
    fn call<T, F, Fut>(&self, call: &Call, run: F) -> impl Future<Output = Result<T>> + Send
    where
        T: Send,
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send;

    /// Runs one batch operation, whose items may fail each for itself.
    fn batch<I, T, F, Fut>(
        &self,
        call: &Call,
        items: Vec<I>,
        mut run: F,
    ) -> impl Future<Output = Result<Vec<Result<T>>>> + Send
    where
        I: Clone + Send + Sync,
        T: Send,
        F: FnMut(Vec<I>) -> Fut + Send,
        Fut: Future<Output = Result<Vec<Result<T>>>> + Send,
    {
        async move {
            let mut items = Kept::<Self, _>::new(items);
            self.call(call, move || run(items.next())).await
        }
    }
}

/// Arguments for one run, or for each of several when the layer repeats.
pub(crate) struct Kept<L, A> {
    arguments: A,
    layer: std::marker::PhantomData<L>,
}

impl<L: Layer, A: Clone + Default> Kept<L, A> {
    pub(crate) fn new(arguments: A) -> Self {
        Self {
            arguments,
            layer: std::marker::PhantomData,
        }
    }

    /// The arguments: a copy when the layer repeats, else themselves, once.
    pub(crate) fn next(&mut self) -> A {
        if L::REPEATS {
            self.arguments.clone()
        } else {
            std::mem::take(&mut self.arguments)
        }
    }
}
