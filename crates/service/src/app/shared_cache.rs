//! The cache that services share: opened when it can be, done without until then.

use std::sync::Arc;
use std::time::Duration;

use statehouse_config::Config;
use statehouse_contracts::{Backend, Endpoint, ErrorKind, RecordCache, Registry, Result, Scope};
use statehouse_state::{SharedCache, SharedCacheOptions, StateCache};
use tokio::sync::OnceCell;

/// Where the shared cache is, and how it is used.
#[derive(Debug)]
pub(super) struct SharedStore {
    registry: Registry,
    endpoint: Endpoint,
    options: SharedCacheOptions,
    opened: OnceCell<Arc<dyn Backend>>,
}

impl SharedStore {
    /// How long to wait before trying again to open it.
    const PAUSE: Duration = Duration::from_secs(1);

    /// The one that `config` names. A server that is down is no failure: it is tried again.
    ///
    /// # Errors
    /// Of a URL that can never be opened, or whose backend is no cache.
    pub(super) async fn of(
        config: &Config,
        registry: &Registry,
        scope: &Scope,
    ) -> Result<Option<Arc<Self>>> {
        let Some(endpoint) = &config.cache.url else {
            return Ok(None);
        };
        let store = Self {
            registry: registry.clone(),
            endpoint: endpoint.clone(),
            options: SharedCacheOptions {
                ttl: config.cache.ttl,
                timeout: config.cache.timeout,
            },
            opened: OnceCell::new(),
        };
        match store.cache(scope).await {
            Ok(_) => {}
            Err(error) if is_passing(error.kind()) => {
                tracing::warn!(cache = %endpoint, %error, "the shared cache cannot be reached yet");
            }
            Err(error) => {
                store.close().await?;
                return Err(error.with_context("key", "cache.url"));
            }
        }
        Ok(Some(Arc::new(store)))
    }

    async fn cache(&self, scope: &Scope) -> Result<Arc<dyn RecordCache>> {
        let open = || self.registry.open(&self.endpoint);
        self.opened.get_or_try_init(open).await?.cache(scope).await
    }

    /// Puts it behind `cache`, as soon as it can be reached.
    pub(super) async fn join(&self, scope: Scope, cache: Arc<StateCache>) {
        loop {
            match self.cache(&scope).await {
                Ok(shared) => {
                    let shared = SharedCache::new(shared, self.options);
                    // What was written while nobody told it may be in it.
                    shared.flush();
                    cache.share(shared);
                    return;
                }
                Err(error) => {
                    let cache = &self.endpoint;
                    tracing::debug!(%cache, %error, "the shared cache cannot be reached yet");
                }
            }
            // sleep: between two tries to reach a server
            tokio::time::sleep(Self::PAUSE).await;
        }
    }

    pub(super) async fn close(&self) -> Result<()> {
        match self.opened.get() {
            Some(backend) => backend.close().await,
            None => Ok(()),
        }
    }
}

/// Whether it may go better later.
fn is_passing(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Overloaded
    )
}
