//! Carries a layer through every role: one set of handles for all of them.

mod messages;
mod references;
mod state;
mod tasks;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use statehouse_contracts::{
    Backend, BackendInfo, Consumer, Namespace, Producer, RecordCache, ReferenceStore, Result,
    Scope, StateManager, TaskStack,
};

use crate::{Call, Layer, Repeat, Role};

/// `backend` with `layer` around every operation of every handle that it opens.
pub fn around<L: Layer>(backend: Arc<dyn Backend>, layer: L) -> Arc<dyn Backend> {
    let name = backend.name();
    Arc::new(Around {
        inner: backend,
        layer,
        backend: name,
    })
}

/// A handle and the layer around it.
#[derive(Debug)]
struct Around<H: ?Sized, L> {
    layer: L,
    backend: &'static str,
    inner: Arc<H>,
}

impl<H: ?Sized, L: Layer> Around<H, L> {
    fn wrap<R: ?Sized>(&self, inner: Arc<R>) -> Arc<Around<R, L>> {
        Arc::new(Around {
            layer: self.layer.clone(),
            backend: self.backend,
            inner,
        })
    }

    fn call(
        &self,
        role: Role,
        operation: &'static str,
        span: fn() -> tracing::Span,
        repeat: Repeat,
    ) -> Call {
        Call {
            backend: self.backend,
            role,
            operation,
            span,
            repeat,
            wait: Duration::ZERO,
            items: 1,
        }
    }
}

/// A function that makes the span `$name`, with the fields that [`Observe`](crate::Observe) fills.
macro_rules! span {
    ($name:literal) => {
        || {
            tracing::debug_span!(
                $name,
                backend = tracing::field::Empty,
                items = tracing::field::Empty,
                success = tracing::field::Empty,
                latency_us = tracing::field::Empty,
                kind = tracing::field::Empty,
            )
        }
    };
}
use span;

#[async_trait]
impl<L: Layer> Backend for Around<dyn Backend, L> {
    fn name(&self) -> &'static str {
        self.backend
    }

    async fn info(&self) -> Result<BackendInfo> {
        let call = self.call(Role::Backend, "info", span!("backend.info"), Repeat::Reads);
        self.layer.call(&call, || self.inner.info()).await
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        let call = self.call(
            Role::Backend,
            "namespaces",
            span!("backend.namespaces"),
            Repeat::Reads,
        );
        self.layer.call(&call, || self.inner.namespaces()).await
    }

    async fn producer(&self, scope: &Scope) -> Result<Arc<dyn Producer>> {
        let call = self.call(
            Role::Backend,
            "producer",
            span!("backend.open"),
            Repeat::Reads,
        );
        Ok(self.wrap(
            self.layer
                .call(&call, || self.inner.producer(scope))
                .await?,
        ))
    }

    async fn consumer(&self, scope: &Scope) -> Result<Arc<dyn Consumer>> {
        let call = self.call(
            Role::Backend,
            "consumer",
            span!("backend.open"),
            Repeat::Reads,
        );
        Ok(self.wrap(
            self.layer
                .call(&call, || self.inner.consumer(scope))
                .await?,
        ))
    }

    async fn state(&self, scope: &Scope) -> Result<Arc<dyn StateManager>> {
        let call = self.call(Role::Backend, "state", span!("backend.open"), Repeat::Reads);
        Ok(self.wrap(self.layer.call(&call, || self.inner.state(scope)).await?))
    }

    async fn tasks(&self, scope: &Scope) -> Result<Arc<dyn TaskStack>> {
        let call = self.call(Role::Backend, "tasks", span!("backend.open"), Repeat::Reads);
        Ok(self.wrap(self.layer.call(&call, || self.inner.tasks(scope)).await?))
    }

    async fn references(&self, scope: &Scope) -> Result<Arc<dyn ReferenceStore>> {
        let call = self.call(
            Role::Backend,
            "references",
            span!("backend.open"),
            Repeat::Reads,
        );
        Ok(self.wrap(
            self.layer
                .call(&call, || self.inner.references(scope))
                .await?,
        ))
    }

    async fn cache(&self, scope: &Scope) -> Result<Arc<dyn RecordCache>> {
        self.inner.cache(scope).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
