//! One life of the connection: the client library's transport, and the brokers that it reaches.

use std::fmt::{self, Debug};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cheetah_string::CheetahString;
use parking_lot::RwLock;
use rocketmq_protocol::code::request_code::RequestCode;
use rocketmq_protocol::protocol::body::broker_body::cluster_info::ClusterInfo;
use rocketmq_runtime::{ChildServiceContext, ShutdownDeadline};
use rocketmq_transport::api::{
    CachedConnectionState, DefaultRequestProcessor, OutboundRequestOutcome, RPCHook,
    RequestDeadline, TransportClient, TransportClientConfig,
};
use statehouse_contracts::{Error, ErrorKind, Result};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Tls};
use crate::count::Counted;
use crate::error::{broken, lost, map, rejected};
use crate::links::Links;
use crate::request::{Answer, Request};
use crate::tls;

/// How long a server may take to accept a connection.
const ACCEPT: Duration = Duration::from_secs(1);

/// How often to look whether the connections are open: it costs no request.
pub(crate) const CONNECTIONS_LOOK: Duration = Duration::from_millis(100);

/// How long the connections may take to close.
const CLOSING: Duration = Duration::from_secs(3);

/// The id of a master among the brokers of one name.
const MASTER: u64 = 0;

/// A master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broker {
    pub(crate) name: CheetahString,
    pub(crate) address: CheetahString,
}

/// One life of the connection.
pub(crate) struct Session {
    transport: TransportClient,
    name_servers: Vec<String>,
    tls: Option<Tls>,
    timeout: Duration,
    brokers: RwLock<Arc<[Broker]>>,
    under_way: AtomicUsize,
    links: Links,
    /// It is given up: nothing waits in it any more.
    ended: CancellationToken,
}

impl Session {
    /// Where no name server tells of a broker, those of `known` count that can be reached.
    pub(crate) async fn open(
        context: &ChildServiceContext,
        config: &Config,
        hook: Option<Arc<dyn RPCHook>>,
        known: &[Broker],
    ) -> Result<Arc<Self>> {
        let session = Self::new(context, config, hook)?;
        let brokers = match session.masters_or_closed().await {
            Ok(brokers) => brokers,
            Err(error) => {
                let brokers = reachable_of(known.to_vec()).await;
                if brokers.is_empty() {
                    session.close().await;
                    // Said once, and not at each attempt to connect again.
                    return Err(match known {
                        [] => session.explained(error).await,
                        _ => error,
                    });
                }
                brokers
            }
        };
        *session.brokers.write() = brokers;
        Ok(Arc::new(session))
    }

    /// One without any connection.
    fn new(
        context: &ChildServiceContext,
        config: &Config,
        hook: Option<Arc<dyn RPCHook>>,
    ) -> Result<Self> {
        Ok(Self {
            transport: transport(context, config, hook)?,
            name_servers: config.name_servers.clone(),
            tls: config.tls.clone(),
            timeout: config.timeout,
            brokers: RwLock::default(),
            under_way: AtomicUsize::new(0),
            links: Links::default(),
            ended: CancellationToken::new(),
        })
    }

    pub(crate) fn brokers(&self) -> Arc<[Broker]> {
        self.brokers.read().clone()
    }

    /// Looks which masters there are now. While no name server tells, they stay as they are.
    pub(crate) async fn refresh(&self) {
        match self.masters().await {
            Ok(brokers) => *self.brokers.write() = brokers,
            Err(error) => tracing::debug!(%error, "the list of brokers stays as it is"),
        }
    }

    /// Sends one request to the server at `address` and takes its answer, whatever it says.
    pub(crate) async fn ask(
        &self,
        operation: &'static str,
        address: &CheetahString,
        request: Request,
        timeout: Duration,
    ) -> Result<Answer> {
        let _counted = Counted::new(&self.under_way, 1);
        let (waits, closed) = (
            request.waits(),
            self.links.to(address, || self.state(address)),
        );
        let deadline = RequestDeadline::from_timeout_millis(timeout.as_millis() as u64);
        let command = request.into_command();
        let asked = self
            .transport
            .invoke_request_with_deadline(Some(address), command, deadline);
        // The library's futures are large, to run and to compile.
        let asked = Box::pin(asked);
        let answer = tokio::select! {
            biased;
            answer = asked => answer,
            () = closed.cancelled() => return Err(lost(operation).with_ambiguous(!waits)),
            () = self.ended.cancelled(), if waits => return Err(lost(operation)),
        };
        match answer {
            Ok(OutboundRequestOutcome::Response(answer)) => Ok(Answer(answer)),
            Ok(OutboundRequestOutcome::Rejected(why)) => Err(rejected(operation, &why)),
            Ok(OutboundRequestOutcome::Contract(why)) => Err(broken(operation, &why)),
            Err(error) => Err(map(operation, &error)),
        }
    }

    /// Whether requests are under way.
    pub(crate) fn busy(&self) -> bool {
        self.under_way.load(Ordering::Acquire) > 0
    }

    /// Ends what waits for an answer over a connection that was closed.
    pub(crate) fn look_at_connections(&self) {
        self.links.look(|address| self.state(address));
    }

    fn state(&self, address: &CheetahString) -> CachedConnectionState {
        self.transport.reconcile_cached_connection(address)
    }

    /// It is given up: ends what only waits. What changes something may still be answered.
    pub(crate) fn end(&self) {
        self.ended.cancel();
    }

    pub(crate) async fn close(&self) {
        let closing = self
            .transport
            .shutdown_graceful(ShutdownDeadline::after(CLOSING));
        Box::pin(closing).await;
    }

    /// Asks a name server for the masters, and each whether it can be reached.
    async fn masters(&self) -> Result<Arc<[Broker]>> {
        let mut last = None;
        for server in &self.name_servers {
            if !reachable(server).await {
                continue;
            }
            match self.cluster(server).await {
                Ok(cluster) => return masters_of(cluster).await,
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| {
            let servers = self.name_servers.join(";");
            Error::new(
                ErrorKind::Unavailable,
                format!("no name server answers at {servers}"),
            )
        }))
    }

    /// The masters, without waiting for a name server that closes the connection.
    async fn masters_or_closed(&self) -> Result<Arc<[Broker]>> {
        let mut masters = pin!(self.masters());
        loop {
            tokio::select! {
                masters = &mut masters => return masters,
                // sleep: the pause between two looks
                () = tokio::time::sleep(CONNECTIONS_LOOK) => self.look_at_connections(),
            }
        }
    }

    /// The failure to hear of any master, as TLS explains it.
    async fn explained(&self, mut error: Error) -> Error {
        for server in &self.name_servers {
            if reachable(server).await {
                error = tls::explained(error, self.tls.as_ref(), server).await;
            }
        }
        error
    }

    async fn cluster(&self, server: &str) -> Result<ClusterInfo> {
        let request = Request::new(RequestCode::GetBrokerClusterInfo);
        let address = server.into();
        let asked = self.ask("connect", &address, request, self.timeout);
        let answer = asked.await.map_err(|error| match error.kind() {
            ErrorKind::Timeout => Error::new(
                ErrorKind::Unavailable,
                format!("the name server at {server} does not answer"),
            ),
            _ => error,
        });
        let body = answer?.success("connect")?.body();
        ClusterInfo::decode(&body).map_err(|error| {
            Error::internal(format!(
                "what the name server says of its brokers cannot be read: {error}"
            ))
        })
    }
}

impl Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("brokers", &self.brokers())
            .finish_non_exhaustive()
    }
}

/// Whether the server at `address` accepts connections.
async fn reachable(address: &str) -> bool {
    let connected = tokio::time::timeout(ACCEPT, TcpStream::connect(address)).await;
    matches!(connected, Ok(Ok(_)))
}

async fn masters_of(cluster: ClusterInfo) -> Result<Arc<[Broker]>> {
    let table = cluster.broker_addr_table.unwrap_or_default();
    let masters = table.values().filter_map(|data| {
        Some(Broker {
            name: data.broker_name().clone(),
            address: data.broker_addrs().get(&MASTER)?.clone(),
        })
    });
    let brokers = reachable_of(masters.collect()).await;
    if brokers.is_empty() {
        return Err(Error::new(
            ErrorKind::Unavailable,
            "the name server knows no broker that answers",
        ));
    }
    Ok(brokers)
}

/// Those that accept connections, by name.
async fn reachable_of(brokers: Vec<Broker>) -> Arc<[Broker]> {
    let mut found = Vec::new();
    for broker in brokers {
        if reachable(&broker.address).await {
            found.push(broker);
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.into()
}

/// Connections, made when they are first needed.
fn transport(
    context: &ChildServiceContext,
    config: &Config,
    hook: Option<Arc<dyn RPCHook>>,
) -> Result<TransportClient> {
    let settings = TransportClientConfig {
        tls: config.tls.as_ref().map(tls::settings).unwrap_or_default(),
        ..TransportClientConfig::default()
    };
    let context = context.component("session");
    let transport =
        TransportClient::builder(Arc::new(settings), DefaultRequestProcessor, context).build();
    let transport = transport.map_err(|error| {
        Error::internal(format!("RocketMQ's transport cannot be made: {error}"))
    })?;
    if let Some(hook) = hook {
        transport.register_rpc_hook(hook);
    }
    Ok(transport)
}

#[cfg(test)]
mod tests {
    use rocketmq_runtime::RuntimeOwner;
    use statehouse_contracts::Endpoint;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::client::start_runtime;

    /// How long a request may take here: who hears of the end of its connection does not need it.
    const LONG: Duration = Duration::from_secs(600);

    /// A server that answers nothing, and perhaps closes each connection at its first byte.
    async fn silent(closes: bool) -> CheetahString {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0]).await;
                if !closes {
                    open.push(stream);
                }
            }
        });
        address.into()
    }

    fn session(owner: &RuntimeOwner) -> Arc<Session> {
        let endpoint = Endpoint::parse("rocketmq://127.0.0.1:1").unwrap();
        let config = Config::of(&endpoint).unwrap();
        let context = owner.root_context().component("test");
        Arc::new(Session::new(&context, &config, None).unwrap())
    }

    fn ask(session: &Arc<Session>, address: &CheetahString, waits: bool) -> JoinHandle<Error> {
        let (session, address) = (session.clone(), address.clone());
        tokio::spawn(async move {
            let request = Request::new(RequestCode::Notification).waiting(waits);
            let asked = session.ask("test", &address, request, LONG).await;
            asked.err().expect("nobody answers")
        })
    }

    #[tokio::test]
    async fn a_closed_connection_ends_what_waits_there() {
        let owner = start_runtime().unwrap();
        let (session, address) = (session(&owner), silent(true).await);
        let asked = [true, false].map(|waits| ask(&session, &address, waits));
        while !asked.iter().all(JoinHandle::is_finished) {
            session.look_at_connections();
            // sleep: the pause of a poll; the runner has the deadline
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for asked in asked {
            assert_eq!(asked.await.unwrap().kind(), ErrorKind::Unavailable);
        }
        owner.shutdown_background();
    }

    #[tokio::test]
    async fn the_end_of_a_session_ends_only_what_waits() {
        let owner = start_runtime().unwrap();
        let (session, address) = (session(&owner), silent(false).await);
        let [waiting, sending] = [true, false].map(|waits| ask(&session, &address, waits));
        while session.under_way.load(Ordering::Acquire) < 2 {
            tokio::task::yield_now().await;
        }
        session.end();
        let error = waiting.await.unwrap();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(!error.is_ambiguous(), "it changes nothing");
        assert!(!sending.is_finished(), "it may yet be answered");
        sending.abort();
        owner.shutdown_background();
    }
}
