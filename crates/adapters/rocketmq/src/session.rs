//! One life of the connection: handles of the client library, and the brokers they reach.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cheetah_string::CheetahString;
use parking_lot::{Mutex, RwLock};
use rocketmq_client_rust::{ClientConfig, ClientError, ClientInstanceHandle, ClientRuntime};
use rocketmq_transport::api::RPCHook;
use statehouse_contracts::{Error, ErrorKind, Result};
use tokio::net::TcpStream;

use crate::config::{Config, Tls};
use crate::error::map;

/// How long a server may take to accept a connection.
const ACCEPT: Duration = Duration::from_secs(1);

/// The id of a master among the brokers of one name.
const MASTER: u64 = 0;

/// A master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broker {
    pub(crate) name: CheetahString,
    pub(crate) address: CheetahString,
}

/// The handles of one life of the connection.
pub(crate) struct Session {
    make: Make,
    /// Keeps the connection while all others are lent.
    anchor: ClientInstanceHandle,
    idle: Mutex<Vec<ClientInstanceHandle>>,
    lent: AtomicUsize,
    brokers: RwLock<Arc<[Broker]>>,
    timeout: Duration,
}

/// What a further handle is made of.
struct Make {
    runtime: Arc<ClientRuntime>,
    domain: u64,
    config: ClientConfig,
    hook: Option<Arc<dyn RPCHook>>,
}

impl Make {
    fn handle(&self) -> Result<ClientInstanceHandle, ClientError> {
        let (config, hook) = (self.config.clone(), self.hook.clone());
        ClientInstanceHandle::get_or_create(&self.runtime, self.domain, config, hook)
    }
}

impl Session {
    pub(crate) async fn open(
        runtime: &Arc<ClientRuntime>,
        domain: u64,
        config: &Config,
        name_servers: &[String],
        hook: Option<Arc<dyn RPCHook>>,
    ) -> Result<Arc<Self>> {
        let make = Make {
            runtime: runtime.clone(),
            domain,
            config: client_config(config, name_servers),
            hook,
        };
        let failed = |error: ClientError| map("connect", &error);
        let anchor = make.handle().map_err(failed)?;
        // Idempotent, and needed once for all handles.
        anchor.start().await.map_err(failed)?;
        let brokers = match masters(&anchor, config.timeout).await {
            Ok(brokers) => brokers,
            Err(error) => {
                anchor.shutdown_owned().await;
                return Err(error);
            }
        };
        Ok(Arc::new(Self {
            make,
            anchor,
            idle: Mutex::default(),
            lent: AtomicUsize::new(0),
            brokers: RwLock::new(brokers),
            timeout: config.timeout,
        }))
    }

    pub(crate) fn brokers(&self) -> Arc<[Broker]> {
        self.brokers.read().clone()
    }

    /// Looks which masters there are now. While no name server tells, they stay as they are.
    pub(crate) async fn refresh(&self) {
        match masters(&self.anchor, self.timeout).await {
            Ok(brokers) => *self.brokers.write() = brokers,
            Err(error) => tracing::debug!(%error, "the list of brokers stays as it is"),
        }
    }

    /// Whether a handle is lent.
    pub(crate) fn busy(&self) -> bool {
        self.lent.load(Ordering::Acquire) > 0
    }

    pub(crate) async fn close(&self) {
        let idle = std::mem::take(&mut *self.idle.lock());
        for handle in idle {
            handle.shutdown_owned().await;
        }
        self.anchor.shutdown_owned().await;
    }
}

impl Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("domain", &self.make.domain)
            .field("brokers", &self.brokers())
            .finish_non_exhaustive()
    }
}

/// A handle that is back with its session when this is dropped.
pub(crate) struct Lent {
    session: Arc<Session>,
    handle: Option<ClientInstanceHandle>,
}

impl Lent {
    pub(crate) fn of(session: &Arc<Session>) -> Result<Self, ClientError> {
        let idle = session.idle.lock().pop();
        let handle = match idle {
            Some(handle) => handle,
            None => session.make.handle()?,
        };
        session.lent.fetch_add(1, Ordering::AcqRel);
        Ok(Self {
            session: session.clone(),
            handle: Some(handle),
        })
    }

    pub(crate) fn handle(&self) -> &ClientInstanceHandle {
        self.handle.as_ref().unwrap_or(&self.session.anchor)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.session.idle.lock().extend(self.handle.take());
        self.session.lent.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether the server at `address` accepts connections.
pub(crate) async fn reachable(address: &str) -> bool {
    let connected = tokio::time::timeout(ACCEPT, TcpStream::connect(address)).await;
    matches!(connected, Ok(Ok(_)))
}

/// Asks a name server for the masters, and each whether it can be reached.
async fn masters(handle: &ClientInstanceHandle, timeout: Duration) -> Result<Arc<[Broker]>> {
    let failed = |error: ClientError| map("connect", &error);
    let cluster = handle
        .broker_cluster_info(timeout.as_millis() as u64)
        .await
        .map_err(failed)?;
    let mut brokers = Vec::new();
    for data in cluster.broker_addr_table.unwrap_or_default().values() {
        let Some(address) = data.broker_addrs().get(&MASTER) else {
            continue;
        };
        if reachable(address).await {
            brokers.push(Broker {
                name: data.broker_name().clone(),
                address: address.clone(),
            });
        }
    }
    if brokers.is_empty() {
        return Err(Error::new(
            ErrorKind::Unavailable,
            "the name server knows no broker that answers",
        ));
    }
    brokers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(brokers.into())
}

fn client_config(config: &Config, name_servers: &[String]) -> ClientConfig {
    let mut client = ClientConfig::default();
    client.set_namesrv_addr(name_servers.join(";").into());
    client.set_instance_name("statehouse".into());
    client.set_vip_channel_enabled(false);
    if let Some(tls) = &config.tls {
        set_tls(&mut client, tls);
    }
    client
}

fn set_tls(client: &mut ClientConfig, tls: &Tls) {
    client.set_use_tls(true);
    client.set_tls_test_mode_enable(false);
    client.set_tls_client_auth_server(tls.verify);
    if let Some(path) = &tls.ca_file {
        client.set_tls_client_trust_cert_path(path.as_str());
    }
    if let Some(path) = &tls.cert_file {
        client.set_tls_client_cert_path(path.as_str());
    }
    if let Some(path) = &tls.key_file {
        client.set_tls_client_key_path(path.as_str());
    }
}
