//! Refuses what the contracts or the capabilities deny.

mod limits;
mod messages;
mod references;
mod state;
mod tasks;

use std::sync::Arc;

use async_trait::async_trait;
use statehouse_contracts::{
    Backend, BackendInfo, Consumer, Error, Namespace, Producer, RecordCache, ReferenceStore,
    Result, Scope, StateManager, TaskStack,
};

/// `backend` behind checks of every argument: what a contract forbids, or lies beyond a limit, is
/// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument); what a capability denies
/// is [`Unsupported`](statehouse_contracts::ErrorKind::Unsupported). Nothing is ignored or cut, but
/// for error texts, which are kept up to 4 KiB.
pub fn guard(backend: Arc<dyn Backend>) -> Arc<dyn Backend> {
    let name = backend.name();
    Arc::new(Guard {
        backend: name,
        inner: backend,
    })
}

/// A handle behind checks.
#[derive(Debug)]
struct Guard<H: ?Sized> {
    backend: &'static str,
    inner: Arc<H>,
}

impl<H: ?Sized> Guard<H> {
    fn wrap<R: ?Sized>(&self, inner: Arc<R>) -> Arc<Guard<R>> {
        Arc::new(Guard {
            backend: self.backend,
            inner,
        })
    }
}

#[async_trait]
impl Backend for Guard<dyn Backend> {
    fn name(&self) -> &'static str {
        self.backend
    }

    async fn info(&self) -> Result<BackendInfo> {
        self.inner.info().await
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.inner.namespaces().await
    }

    async fn producer(&self, scope: &Scope) -> Result<Arc<dyn Producer>> {
        Ok(self.wrap(self.inner.producer(scope).await?))
    }

    async fn consumer(&self, scope: &Scope) -> Result<Arc<dyn Consumer>> {
        Ok(self.wrap(self.inner.consumer(scope).await?))
    }

    async fn state(&self, scope: &Scope) -> Result<Arc<dyn StateManager>> {
        Ok(self.wrap(self.inner.state(scope).await?))
    }

    async fn tasks(&self, scope: &Scope) -> Result<Arc<dyn TaskStack>> {
        Ok(self.wrap(self.inner.tasks(scope).await?))
    }

    async fn references(&self, scope: &Scope) -> Result<Arc<dyn ReferenceStore>> {
        Ok(self.wrap(self.inner.references(scope).await?))
    }

    async fn cache(&self, scope: &Scope) -> Result<Arc<dyn RecordCache>> {
        self.inner.cache(scope).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

/// Runs the good items of a batch, and puts the answers and the refusals back in order.
async fn merge<I, T, F, Fut>(checked: Vec<Result<I>>, run: F) -> Result<Vec<Result<T>>>
where
    F: FnOnce(Vec<I>) -> Fut,
    Fut: Future<Output = Result<Vec<Result<T>>>>,
{
    let mut good = Vec::with_capacity(checked.len());
    let mut refused = Vec::with_capacity(checked.len());
    for item in checked {
        match item {
            Ok(item) => {
                good.push(item);
                refused.push(None);
            }
            Err(error) => refused.push(Some(error)),
        }
    }
    let mut answers = if good.is_empty() {
        Vec::new()
    } else {
        run(good).await?
    }
    .into_iter();
    let missing = || {
        Err(Error::internal(
            "the adapter answered fewer items than it was given",
        ))
    };
    let answer = |refusal: Option<Error>| match refusal {
        Some(error) => Err(error),
        None => answers.next().unwrap_or_else(missing),
    };
    Ok(refused.into_iter().map(answer).collect())
}
