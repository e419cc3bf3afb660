//! The background services of each namespace.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use statehouse_config::Config;
use statehouse_contracts::{Namespace, OpId, Principal, Prune, Result, Scope, StateManager, Trim};
use statehouse_state::{
    CacheFeed, CacheOptions, Relay, RelayOptions, Retention, RetentionOptions, StateCache,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::messaging::Housekeeping;
use super::shared_cache::SharedStore;
use super::{Capabilities, service_principal};
use crate::backends::Backends;

/// The services of all namespaces.
#[derive(Debug)]
pub(super) struct Services {
    plan: Arc<Plan>,
    caches: Mutex<HashMap<Namespace, Option<Arc<StateCache>>>>,
}

/// What every namespace gets.
#[derive(Debug)]
struct Plan {
    backends: Backends,
    principal: Principal,
    /// Whether there are states at all.
    state: bool,
    cache: Option<CacheOptions>,
    shared: Option<Arc<SharedStore>>,
    relay: Option<RelayOptions>,
    retention: Option<RetentionOptions>,
    housekeeping: Option<Housekeeping>,
    stop: CancellationToken,
    running: TaskTracker,
}

impl Services {
    /// How long services may take to stop.
    const GRACE: Duration = Duration::from_secs(10);
    /// How long to wait before opening handles anew.
    const PAUSE: Duration = Duration::from_secs(1);

    pub(super) fn new(
        config: &Config,
        backends: Backends,
        shared: Option<Arc<SharedStore>>,
        capabilities: &Capabilities,
    ) -> Result<Self> {
        // Without events from other processes a cache could be wrong, so there is none.
        let broadcast = capabilities.consumer.is_some_and(|it| it.broadcast);
        let state = capabilities.state.is_some();
        let relays = state && capabilities.producer.is_some();
        let cached = broadcast && relays && config.state.cache_size.0 > 0;
        let plan = Plan {
            backends,
            principal: service_principal()?,
            state,
            cache: cached.then_some(CacheOptions {
                max_bytes: config.state.cache_size.0,
                ttl: config.state.cache_ttl,
            }),
            shared,
            relay: relays.then(|| relay_options(config)),
            retention: retention_options(config).filter(|_| state),
            housekeeping: Housekeeping::new(config, capabilities),
            stop: CancellationToken::new(),
            running: TaskTracker::new(),
        };
        Ok(Self {
            plan: Arc::new(plan),
            caches: Mutex::default(),
        })
    }

    /// The cache of `namespace`, whose services are started when they do not run yet.
    pub(super) fn of(&self, namespace: &Namespace) -> Option<Arc<StateCache>> {
        let mut caches = self.caches.lock();
        if let Some(cache) = caches.get(namespace) {
            return cache.clone();
        }
        let cache = self
            .plan
            .cache
            .map(|options| Arc::new(StateCache::new(options)));
        caches.insert(namespace.clone(), cache.clone());
        drop(caches);
        let (plan, namespace) = (Arc::clone(&self.plan), namespace.clone());
        let fed = cache.clone();
        self.plan.running.spawn(async move {
            let run = plan.run(&namespace, fed);
            plan.stop.run_until_cancelled(run).await;
        });
        cache
    }

    /// Stops all services and waits for them.
    pub(super) async fn stop(&self) {
        self.plan.stop.cancel();
        self.plan.running.close();
        let stopped = tokio::time::timeout(Self::GRACE, self.plan.running.wait()).await;
        if stopped.is_err() {
            tracing::warn!("background services did not stop within {:?}", Self::GRACE);
        }
        if let Some(shared) = &self.plan.shared
            && let Err(error) = shared.close().await
        {
            tracing::warn!(%error, "the shared cache did not close");
        }
    }
}

impl Plan {
    /// Starts the services of `namespace`, again and again until its handles can be opened.
    async fn run(&self, namespace: &Namespace, cache: Option<Arc<StateCache>>) {
        let scope = Scope::new(namespace.clone(), self.principal.clone());
        while let Err(error) = self.start(&scope, cache.clone()).await {
            tracing::warn!(%namespace, %error, "the services of a namespace cannot start yet");
            tokio::time::sleep(Services::PAUSE).await;
        }
    }

    async fn start(&self, scope: &Scope, cache: Option<Arc<StateCache>>) -> Result<()> {
        let messages = &self.backends.messages;
        let relay = match self.relay.clone() {
            Some(options) => Some((messages.producer(scope).await?, options)),
            None => None,
        };
        let feed = match cache {
            Some(cache) => {
                let feed = CacheFeed::new(Arc::clone(&cache), messages.consumer(scope).await?);
                Some((feed, cache))
            }
            None => None,
        };
        let kept = match &self.housekeeping {
            Some(housekeeping) => {
                let mail = housekeeping.mail(&self.backends, scope).await?;
                Some((housekeeping, mail))
            }
            None => None,
        };
        // Last, because a trio's feeds begin with it.
        let state = match self.state {
            true => Some(self.open_state(scope).await?),
            false => None,
        };
        if let (Some((producer, options)), Some(state)) = (relay, &state) {
            let producer = match &kept {
                Some((housekeeping, mail)) => housekeeping.making_mailboxes(mail, producer),
                None => producer,
            };
            let namespace = scope.namespace.clone();
            let relay = Relay::new(Arc::clone(state), producer, namespace, options)?;
            self.running.spawn(relay.run(self.stop.clone()));
        }
        if let Some((feed, cache)) = feed {
            self.running.spawn(feed.run(self.stop.clone()));
            self.share(scope, cache);
        }
        if let Some((housekeeping, mail)) = kept {
            housekeeping.start(mail, &self.running, &self.stop);
        }
        if let (Some(options), Some(state)) = (self.retention.clone(), state) {
            let retention = Retention::new(state, options);
            self.running.spawn(retention.run(self.stop.clone()));
        }
        Ok(())
    }

    fn share(&self, scope: &Scope, cache: Arc<StateCache>) {
        let Some(shared) = self.shared.clone() else {
            return;
        };
        let (scope, stop) = (scope.clone(), self.stop.clone());
        self.running.spawn(async move {
            stop.run_until_cancelled(shared.join(scope, cache)).await;
        });
    }

    /// The namespace's state; of a trio with its feeds running.
    async fn open_state(&self, scope: &Scope) -> Result<Arc<dyn StateManager>> {
        let Some(trio) = &self.backends.trio else {
            return self.backends.state.state(scope).await;
        };
        let trio = Arc::new(trio.trio(scope).await?);
        let (fed, stop) = (Arc::clone(&trio), self.stop.clone());
        self.running.spawn(async move {
            if let Err(error) = fed.run_feeds(stop).await {
                tracing::error!(%error, "the feeds of a trio ended");
            }
        });
        Ok(trio)
    }
}

fn relay_options(config: &Config) -> RelayOptions {
    let relay = &config.relay;
    RelayOptions {
        owner: owner(config),
        lease: relay.lease,
        batch: relay.batch.get(),
        inline: usize::try_from(relay.inline.0).unwrap_or(usize::MAX),
        backoff: relay.retry_cap,
    }
}

/// Who holds the outbox. The same after a restart, so that a service that was killed goes on at
/// once instead of waiting for its own old lease: the machine and the address, which only one
/// process can listen on. On a port of the system's choice it is a name used once.
fn owner(config: &Config) -> String {
    let machine = ["/etc/machine-id", "/proc/sys/kernel/hostname"]
        .map(|file| {
            std::fs::read_to_string(file)
                .unwrap_or_default()
                .trim()
                .to_owned()
        })
        .join("/");
    if config.server.listen.port() == 0 || machine == "/" {
        return format!("statehouse-{}", OpId::random());
    }
    format!("statehouse {machine} {}", config.server.listen)
}

/// `None` when everything is kept.
fn retention_options(config: &Config) -> Option<RetentionOptions> {
    let state = &config.state;
    let prune = Prune {
        keep_last: state.keep_last.map(|keep| keep.get().into()),
        max_age: state.max_age,
        tombstones: state.keep_tombstones,
        ..Prune::default()
    };
    let trim = Trim {
        keep_last: None,
        max_age: state.keep_changes,
    };
    let forgets = prune != Prune::default() || trim != Trim::default();
    forgets.then_some(RetentionOptions {
        prune,
        trim,
        every: state.prune_interval,
    })
}
