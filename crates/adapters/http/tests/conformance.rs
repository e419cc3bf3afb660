//! The conformance suite through a service: each role over HTTP, on backends in memory.

mod service;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use statehouse_conformance::{Expected, Place, Setup};
use statehouse_contracts::{
    AdminCapability, Backend, BackendInfo, Consumer, ConsumerCapability, Durability, Endpoint,
    Error, Factory, Fencing, KeyBlocking, Namespace, Producer, ProducerCapability,
    ReferenceCapability, ReferenceStore, Result, Scope, StateCapability, StateManager,
    TaskCapability, TaskStack, Wake,
};
use statehouse_http::HttpFactory;
use statehouse_runtime::adapters;

use service::{Nothing, The};

const MIB: usize = 1024 * 1024;
const MINUTE: Duration = Duration::from_secs(60);
const PRECISION: Duration = Duration::from_millis(2);
const MIN_LEASE: Duration = Duration::from_millis(1);
const MAX_LEASE: Duration = Duration::from_secs(24 * 3600);

fn main() -> ExitCode {
    let expected = Expected {
        producer: Some(PRODUCER),
        consumer: Some(CONSUMER),
        state: Some(STATE),
        tasks: Some(TASKS),
        references: Some(REFERENCES),
    };
    Setup::new(Both, expected)
        .places(|| place("memory:"))
        .quota(|| place("memory:?quota=1048576"))
        .persistent()
        .main()
}

/// Two services over one backend: one for state, and one for all else. The service for state has
/// no messages, so that no relay of its own empties the outbox and follows the changes that the
/// cases look at.
fn place(url: &'static str) -> Result<Place> {
    let state = service::start(move || async move {
        let endpoint = Endpoint::parse(url)?;
        let backend = adapters::registry().open(&endpoint).await?;
        let rest = service::serve(
            &[("backends.default", "the:"), ("backends.state", "nothing:")],
            (The(Arc::clone(&backend)), Nothing),
        );
        let state = service::serve(
            &[("backends.default", "nothing:"), ("backends.state", "the:")],
            (The(backend), Nothing),
        );
        Ok((state.await?, rest.await?))
    });
    let (state, rest) = state?;
    Ok(Place::new(format!("both:{state},{rest}")))
}

/// Opens `both:` and the URLs of two services, each with the adapter under test.
#[derive(Debug)]
struct Both;

#[async_trait]
impl Factory for Both {
    fn name(&self) -> &'static str {
        HttpFactory.name()
    }

    fn schemes(&self) -> &'static [&'static str] {
        HttpFactory.schemes()
    }

    async fn open(&self, endpoint: &Endpoint) -> Result<Arc<dyn Backend>> {
        let path = endpoint.path();
        let urls = path.split_once(',');
        let (state, rest) = urls.ok_or_else(|| Error::invalid("two URLs are needed"))?;
        Ok(Arc::new(Pair {
            state: HttpFactory.open(&Endpoint::parse(state)?).await?,
            rest: HttpFactory.open(&Endpoint::parse(rest)?).await?,
        }))
    }
}

/// State from one service, all else from the other.
#[derive(Debug)]
struct Pair {
    state: Arc<dyn Backend>,
    rest: Arc<dyn Backend>,
}

#[async_trait]
impl Backend for Pair {
    fn name(&self) -> &'static str {
        self.rest.name()
    }
    async fn info(&self) -> Result<BackendInfo> {
        self.rest.info().await
    }
    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.rest.namespaces().await
    }
    async fn producer(&self, scope: &Scope) -> Result<Arc<dyn Producer>> {
        self.rest.producer(scope).await
    }
    async fn consumer(&self, scope: &Scope) -> Result<Arc<dyn Consumer>> {
        self.rest.consumer(scope).await
    }
    async fn state(&self, scope: &Scope) -> Result<Arc<dyn StateManager>> {
        self.state.state(scope).await
    }
    async fn tasks(&self, scope: &Scope) -> Result<Arc<dyn TaskStack>> {
        self.rest.tasks(scope).await
    }
    async fn references(&self, scope: &Scope) -> Result<Arc<dyn ReferenceStore>> {
        self.rest.references(scope).await
    }
    async fn close(&self) -> Result<()> {
        self.state.close().await.and(self.rest.close().await)
    }
}

const PRODUCER: ProducerCapability = ProducerCapability {
    durability: Durability::NONE,
    max_payload: MIB,
    max_headers: 64,
    max_header_bytes: 8 * 1024,
    max_batch: 1_000,
    dedup_window: Some(MINUTE.saturating_mul(10)),
    max_delay: Some(Duration::from_secs(365 * 24 * 3600)),
    delay_precision: PRECISION,
    cancel: true,
    routed: true,
    require_route: true,
    ttl: true,
};

const CONSUMER: ConsumerCapability = ConsumerCapability {
    durability: Durability::NONE,
    max_receive: 1_000,
    fencing: Fencing::Server,
    ack_confirmed: true,
    settle_anywhere: true,
    min_lease: MIN_LEASE,
    max_lease: MAX_LEASE,
    redelivery_lag: Duration::ZERO,
    wake: Wake::Push,
    start_earliest: true,
    priorities: 10,
    strict_priorities: true,
    ordering_keys: true,
    equal_priorities: true,
    keys_with_priorities: true,
    key_blocking: KeyBlocking::Key,
    nack_delay: true,
    drop_counts_no_attempt: false,
    overflow_reject: true,
    overflow_drop_oldest: true,
    expired_dead_letters: true,
    broadcast: true,
    max_retention: None,
    admin: AdminCapability {
        list: true,
        pause: true,
        delete: true,
        counts: true,
        counts_exact: true,
        oldest_age: true,
        peek: true,
        dead_letters: true,
        redrive: true,
        purge: true,
    },
};

const STATE: StateCapability = StateCapability {
    durability: Durability::NONE,
    max_data: 16 * MIB,
    max_writes: 1_000,
    max_message: MIB,
    max_page: 1_000,
    dedup_window: MINUTE.saturating_mul(10),
    expiry_lag: Duration::from_secs(1),
    import_export: true,
    deliver_local: true,
    wake: Wake::Push,
};

const TASKS: TaskCapability = TaskCapability {
    durability: Durability::NONE,
    max_payload: MIB,
    max_push: 1_000,
    max_claim: 1_000,
    max_nesting: 64,
    min_lease: MIN_LEASE,
    max_lease: MAX_LEASE,
    fencing: Fencing::Server,
    redelivery_lag: Duration::ZERO,
    delay_precision: PRECISION,
    retention: MINUTE.saturating_mul(60),
    wake: Wake::Push,
};

const REFERENCES: ReferenceCapability = ReferenceCapability {
    durability: Durability::NONE,
    max_content: 256 * MIB,
    ttl: true,
    gzip: true,
    zstd: true,
    lz4: true,
    ranges: true,
    quota: None,
};
