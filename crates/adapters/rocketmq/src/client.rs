//! The connection: one runtime of the client library, and one session at a time.
//!
//! The library's transport is used, and nothing above it: whoever calls the library's consumers and
//! producers compiles them all, and each of their handles does one thing at a time. Its connections
//! open a circuit breaker of 30 s after five failures. So a session that fails is given up at once: calls answer `Unavailable` until a name server and a broker accept connections
//! again, and go on in a new session, whose breakers have seen nothing.

use std::fmt::{self, Debug};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use cheetah_string::CheetahString;
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use rocketmq_client_rust::{AclClientRPCHook, SessionCredentials};
use rocketmq_runtime::{ChildServiceContext, RuntimeConfig, RuntimeOwner};
use rocketmq_transport::api::RPCHook;
use statehouse_contracts::{Error, ErrorKind, Result};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::breaks_connection;
use crate::request::{Answer, Request};
use crate::session::{Broker, CONNECTIONS_LOOK, Session};

/// How long after its end the last requests of a session may take.
const RETIREMENT: Duration = Duration::from_secs(20);

/// The longest pause between two looks whether the servers are back.
const LOOK: Duration = Duration::from_millis(500);

/// How often to look which brokers there are.
const BROKERS_LOOK: Duration = Duration::from_secs(20);

/// The connection that all handles of a backend share.
pub(crate) struct Client {
    pub(crate) config: Config,
    owner: Mutex<Option<RuntimeOwner>>,
    context: ChildServiceContext,
    hook: Option<Arc<dyn RPCHook>>,
    state: RwLock<State>,
    /// The brokers of the last session: they may answer while no name server does.
    known: RwLock<Arc<[Broker]>>,
    /// Ends all waiting when the backend is closed.
    pub(crate) closing: CancellationToken,
}

/// Whether there is a session.
enum State {
    Up(Arc<Session>),
    /// Since when, and after which failure, somebody tries to make a new one.
    Down(String),
}

impl Client {
    /// Connects.
    pub(crate) async fn open(config: Config) -> Result<Arc<Self>> {
        let owner = start_runtime()?;
        let client = Arc::new(Self {
            hook: hook(&config),
            config,
            context: owner.root_context().component("client"),
            owner: Mutex::new(Some(owner)),
            state: RwLock::new(State::Down("not connected yet".to_owned())),
            known: RwLock::default(),
            closing: CancellationToken::new(),
        });
        let session = client.connect().await?;
        client.go_on_in(session);
        Ok(client)
    }

    /// The masters that can be reached.
    pub(crate) fn brokers(&self) -> Result<Arc<[Broker]>> {
        Ok(self.session()?.brokers())
    }

    /// The broker of this name.
    pub(crate) fn broker(&self, name: &str) -> Result<Broker> {
        let brokers = self.brokers()?;
        brokers
            .iter()
            .find(|broker| broker.name == *name)
            .cloned()
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Unavailable,
                    format!("the broker {name:?} cannot be reached"),
                )
            })
    }

    /// Sends one request to the broker at `address` and takes its answer, whatever it says.
    pub(crate) fn call<'a>(
        self: &'a Arc<Self>,
        operation: &'static str,
        address: &'a CheetahString,
        request: Request,
    ) -> BoxFuture<'a, Result<Answer>> {
        self.call_within(operation, address, request, self.config.timeout)
    }

    /// The same with a timeout of its own.
    pub(crate) fn call_within<'a>(
        self: &'a Arc<Self>,
        operation: &'static str,
        address: &'a CheetahString,
        request: Request,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Answer>> {
        Box::pin(async move {
            let session = self.session()?;
            let answer = session.ask(operation, address, request, timeout).await;
            if let Err(error) = &answer
                && breaks_connection(error)
            {
                self.give_up(&session, error);
            }
            answer
        })
    }

    /// Closes everything. Idempotent.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        let old = std::mem::replace(
            &mut *self.state.write(),
            State::Down("the backend is closed".to_owned()),
        );
        if let State::Up(session) = old {
            session.close().await;
        }
        let owner = self.owner.lock().take();
        if let Some(owner) = owner {
            owner.shutdown_tasks().await;
            owner.shutdown_background();
        }
    }

    fn session(&self) -> Result<Arc<Session>> {
        if self.closing.is_cancelled() {
            return Err(Error::closed());
        }
        match &*self.state.read() {
            State::Up(session) => Ok(session.clone()),
            State::Down(why) => Err(Error::new(
                ErrorKind::Unavailable,
                format!("RocketMQ cannot be reached: {why}"),
            )),
        }
    }

    /// Ends `session` after a failure, unless that was done, and begins to look for the servers.
    fn give_up(self: &Arc<Self>, session: &Arc<Session>, error: &Error) {
        let mut state = self.state.write();
        let State::Up(current) = &*state else { return };
        if !Arc::ptr_eq(current, session) || self.closing.is_cancelled() {
            return;
        }
        tracing::warn!(%error, "the connection to RocketMQ is given up; looking for the servers");
        *state = State::Down(error.message().to_owned());
        drop(state);
        session.end();
        *self.known.write() = session.brokers();
        tokio::spawn(retire(session.clone()));
        let client = self.clone();
        tokio::spawn(async move {
            let closing = client.closing.clone();
            let reconnect = Box::pin(client.reconnect());
            closing.run_until_cancelled(reconnect).await;
        });
    }

    /// Uses the session from now on, and looks now and then which brokers there are and whether its
    /// connections are open.
    fn go_on_in(&self, session: Arc<Session>) {
        let (weak, closing) = (Arc::downgrade(&session), self.closing.clone());
        *self.state.write() = State::Up(session);
        let watch = async move {
            tokio::join!(
                now_and_then(&weak, BROKERS_LOOK, async |session| session.refresh().await),
                now_and_then(&weak, CONNECTIONS_LOOK, async |session| {
                    session.look_at_connections();
                }),
            )
        };
        let watch = Box::pin(watch);
        tokio::spawn(async move { closing.run_until_cancelled(watch).await });
    }

    /// Tries until there is a session again.
    async fn reconnect(self: Arc<Self>) {
        let mut pause = Duration::from_millis(20);
        let start = Instant::now();
        loop {
            match self.connect().await {
                Ok(session) => {
                    tracing::info!(after = ?start.elapsed(), "connected to RocketMQ again");
                    self.go_on_in(session);
                    return;
                }
                Err(error) => *self.state.write() = State::Down(error.message().to_owned()),
            }
            // sleep: the pause between two looks
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK);
        }
    }

    /// A new session, if a name server and a master accept connections, or a master that is known.
    async fn connect(&self) -> Result<Arc<Session>> {
        let known = self.known.read().clone();
        Session::open(&self.context, &self.config, self.hook.clone(), &known).await
    }
}

impl Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A runtime may not be dropped where blocking is forbidden.
        if let Some(owner) = self.owner.lock().take() {
            owner.shutdown_background();
        }
    }
}

/// Does something with the session each time that `pause` is over, until the session is freed.
async fn now_and_then(session: &Weak<Session>, pause: Duration, look: impl AsyncFn(Arc<Session>)) {
    loop {
        // sleep: the pause between two looks
        tokio::time::sleep(pause).await;
        match session.upgrade() {
            Some(session) => look(session).await,
            None => return,
        }
    }
}

/// Lets the requests of a session end, then frees it.
async fn retire(session: Arc<Session>) {
    let start = Instant::now();
    while session.busy() && start.elapsed() < RETIREMENT {
        // sleep: the pause between two looks
        tokio::time::sleep(LOOK).await;
    }
    session.close().await;
}

/// The threads that the client library works on.
pub(crate) fn start_runtime() -> Result<RuntimeOwner> {
    let failed = |what: &dyn fmt::Debug| {
        Error::internal(format!("RocketMQ's client runtime cannot start: {what:?}"))
    };
    let config = RuntimeConfig {
        thread_name: "rocketmq".to_owned(),
        worker_threads: 2,
        ..RuntimeConfig::default()
    };
    let plan = RuntimeOwner::plan(config).map_err(|error| failed(&error))?;
    plan.build().map_err(|error| failed(&error))
}

/// What signs each request.
fn hook(config: &Config) -> Option<Arc<dyn RPCHook>> {
    let keys = config.keys.as_ref()?;
    let credentials = SessionCredentials::with_keys(keys.access.as_str(), keys.secret.reveal());
    Some(Arc::new(AclClientRPCHook::new(credentials)))
}
