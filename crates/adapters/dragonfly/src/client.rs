//! The connections to the server: a few that carry all commands, and one more for subscriptions.
//!
//! A command is sent at most once: whether one that got no answer was carried out, only its caller
//! can find out. A connection that broke is made again in the background, for ever; meanwhile
//! commands wait for it a short while and then fail as `Unavailable`.

mod link;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fred::clients::{Client as Fred, WithOptions};
use fred::error::{Error as FredError, ErrorKind as FredKind};
use fred::interfaces::{ClientLike, LuaInterface, PubsubInterface};
use fred::types::config::Options;
use fred::types::{ClusterHash, Key, Value};
use parking_lot::RwLock;
use statehouse_contracts::{Error, ErrorKind, Result};
use tokio::time::{Instant, sleep, timeout};

use self::link::{Link, Settings};
use crate::config::Target;
use crate::error::map;
use crate::script::Script;

/// How long a command waits for a connection that is being made again.
const GRACE: Duration = Duration::from_secs(1);
/// How often it looks whether there is one.
const LOOK: Duration = Duration::from_millis(10);

/// A client of the server's own library that sends each command at most once.
pub(crate) type Commands = WithOptions<Fred>;

/// The connections that carry commands.
#[derive(Debug)]
pub(crate) struct Client {
    settings: Settings,
    links: Vec<RwLock<Link>>,
    next: AtomicUsize,
    options: Options,
    check_keys: bool,
    closed: AtomicBool,
    /// How many calls are under way.
    running: AtomicUsize,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// `Unavailable` when there is no server, `PermissionDenied` when it does not accept the
    /// credentials, `InvalidArgument` when it is not of the kind that `target` says.
    pub(crate) async fn open(target: &Target) -> Result<Self> {
        let settings = Settings::of(target)?;
        let config = &target.config;
        let first = settings.first().await?;
        let mut links = vec![RwLock::new(first)];
        links.extend((1..config.pool).map(|_| RwLock::new(settings.link())));
        Ok(Self {
            options: options(config.timeout),
            settings,
            links,
            next: AtomicUsize::new(0),
            check_keys: config.check_keys,
            closed: AtomicBool::new(false),
            running: AtomicUsize::new(0),
        })
    }

    /// Sends what `call` sends; `mutates` tells whether a lost answer leaves its outcome open.
    pub(crate) async fn run<T, F, A>(
        &self,
        operation: &'static str,
        mutates: bool,
        call: F,
    ) -> Result<T>
    where
        F: FnOnce(Commands) -> A,
        A: Future<Output = Result<T, FredError>>,
    {
        let _running = Running::begin(&self.running);
        self.check_open(operation)?;
        let (place, fred) = self.connected(operation).await?;
        let answer = call(fred.with_options(&self.options));
        // Beside the library's own limit, so that nothing in it can hold a caller for longer.
        let answer = match timeout(self.settings.timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(FredError::new(FredKind::Timeout, "Request timed out.")),
        };
        answer.map_err(|error| {
            let closed = self.check_open(operation).err();
            self.heal(place, &fred, &error);
            let error = map(operation, error, mutates);
            match closed {
                // It had not been sent.
                Some(closed) if error.kind() == ErrorKind::Unavailable && !error.is_ambiguous() => {
                    closed
                }
                _ => error,
            }
        })
    }

    /// Runs a script. Every key it touches is among `keys`.
    pub(crate) async fn script(
        &self,
        operation: &'static str,
        script: &'static Script,
        keys: Vec<Key>,
        arguments: Vec<Value>,
    ) -> Result<Value> {
        let form = script.form(self.check_keys);
        let again = (keys.clone(), arguments.clone());
        let answer = self.run(operation, script.mutates, |commands| async move {
            let answer = commands.evalsha(form.digest.clone(), keys, arguments).await;
            match answer {
                Err(error) if error.details().starts_with("NOSCRIPT") => {
                    commands.eval(form.text.clone(), again.0, again.1).await
                }
                answer => answer,
            }
        });
        let answer: Result<Value> = answer.await;
        answer.map_err(|error| error.with_context("script", script.name))
    }

    /// A connection of its own, for subscriptions.
    ///
    /// # Errors
    /// As [`Client::open`].
    pub(crate) async fn own(&self, operation: &'static str) -> Result<Own> {
        let link = self.settings.listening_link();
        let limit = Instant::now() + self.settings.patience();
        let own = Own { link };
        loop {
            if own.link.is_connected() {
                return Ok(own);
            }
            if own.link.is_over() || Instant::now() >= limit {
                return Err(unreachable(operation));
            }
            // sleep: between two looks at a connection that is being made
            sleep(LOOK).await;
        }
    }

    /// How long an answer may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    /// Closes the connections once what was sent on them is answered.
    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let limit = Instant::now() + self.settings.timeout;
        while self.running.load(Ordering::SeqCst) > 0 && Instant::now() < limit {
            // sleep: between two looks of a poll with a deadline
            sleep(LOOK).await;
        }
        for link in &self.links {
            let fred = link.read().fred.clone();
            // One that is only being made would first be made.
            if fred.is_connected() {
                // A connection that is gone is closed.
                let _ = tokio::time::timeout(self.settings.timeout, fred.quit()).await;
            }
            link.read().task.abort();
        }
    }

    fn check_open(&self, operation: &'static str) -> Result<()> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::closed().with_operation(operation));
        }
        Ok(())
    }

    /// A connection, the next in turn of those that stand.
    async fn connected(&self, operation: &'static str) -> Result<(usize, Fred)> {
        let limit = Instant::now() + GRACE.min(self.settings.timeout);
        loop {
            let turn = self.next.fetch_add(1, Ordering::Relaxed);
            for step in 0..self.links.len() {
                let place = turn.wrapping_add(step) % self.links.len();
                let link = self.links[place].read();
                if link.is_connected() {
                    return Ok((place, link.fred.clone()));
                }
                let over = link.is_over().then(|| link.fred.clone());
                drop(link);
                if let Some(fred) = over {
                    self.replace(place, &fred);
                }
            }
            if Instant::now() >= limit {
                return Err(unreachable(operation));
            }
            // sleep: between two looks at connections that are being made
            sleep(LOOK).await;
        }
    }

    /// Replaces a connection that does not answer: it may be one whose other end is gone without a
    /// word, which no further command would notice. So one to a server that is a replica now: a
    /// sentinel knows another.
    fn heal(&self, place: usize, fred: &Fred, error: &FredError) {
        let answers = *error.kind() != FredKind::Timeout;
        if !answers || error.details().starts_with("READONLY") {
            self.replace(place, fred);
        }
    }

    fn replace(&self, place: usize, failed: &Fred) {
        let mut link = self.links[place].write();
        if link.fred.id() != failed.id() {
            return;
        }
        tracing::warn!("a connection to the server is of no use and is replaced");
        let old = std::mem::replace(&mut *link, self.settings.link());
        drop(link);
        let patience = self.settings.timeout;
        tokio::spawn(async move {
            // sleep: what was sent on it later than the call that failed may yet be answered
            sleep(patience).await;
            old.task.abort();
        });
    }
}

/// A call that is under way.
struct Running<'c>(&'c AtomicUsize);

impl<'c> Running<'c> {
    fn begin(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A connection of its own, for subscriptions; it is closed when dropped.
#[derive(Debug)]
pub(crate) struct Own {
    link: Link,
}

impl Own {
    /// The client library's own client, for subscriptions.
    pub(crate) fn fred(&self) -> &Fred {
        &self.link.fred
    }

    /// Subscribes to a channel where its hash tag lies: the node that runs the scripts which publish
    /// tells its own subscribers surely, and those of the other nodes as long as its links to them
    /// hold. On return the server has done so: the library says yes once it is sent, so that another
    /// connection's commands could overtake it; a ping on the same one cannot.
    pub(crate) async fn subscribe(&self, channel: &str) -> Result<(), FredError> {
        let near = near(channel);
        let fred = self.link.fred.with_options(&near);
        fred.subscribe(channel).await?;
        fred.ping(None).await
    }

    /// Ends a subscription.
    pub(crate) async fn unsubscribe(&self, channel: &str) -> Result<(), FredError> {
        let near = near(channel);
        self.link
            .fred
            .with_options(&near)
            .unsubscribe(channel)
            .await
    }
}

/// To the node where the hash tag of `channel` lies.
fn near(channel: &str) -> Options {
    Options {
        cluster_hash: Some(ClusterHash::from(channel)),
        ..Options::default()
    }
}

/// Commands fail at once without a connection, and are never sent twice.
fn options(timeout: Duration) -> Options {
    Options {
        max_attempts: Some(1),
        timeout: Some(timeout),
        fail_fast: true,
        ..Options::default()
    }
}

fn unreachable(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, "the server cannot be reached").with_operation(operation)
}
