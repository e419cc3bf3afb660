//! A server that a test uses, and can treat badly.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use statehouse_contracts::{Error, Result};
use tokio::sync::OnceCell;

use crate::background;
use crate::container::{Container, Plan};
use crate::options::Options;
use crate::proxy::Proxy;
use crate::ready;
use crate::source::Source;
use crate::table::Service;

/// A running server. A container of ours is removed when this is dropped, and when the process
/// ends, however it ends.
#[derive(Debug)]
pub struct Server {
    url: String,
    proxies: Vec<Proxy>,
    own: Option<Arc<Own>>,
}

/// What we started ourselves.
#[derive(Debug)]
struct Own {
    plan: Plan,
    container: Container,
}

/// What a command inside a container gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its exit code.
    pub code: i64,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Own {
    /// Waits until it is ready. `said` is how often it had said so before it was started.
    async fn ready(&self, said: usize) -> Result<()> {
        let ready = match &self.plan.says_ready {
            Some(text) => ready::until_said(&self.container, text, said, &self.plan).await,
            None => ready::wait(&self.plan).await,
        };
        match ready {
            Ok(()) => Ok(()),
            Err(error) => {
                let log = self.container.log().await;
                Err(error.with_context("log", format!("\n{log}\n")))
            }
        }
    }

    /// How often it has said that it is ready.
    async fn said(&self) -> usize {
        match &self.plan.says_ready {
            Some(text) => self.container.says(text).await,
            None => 0,
        }
    }
}

impl Server {
    /// A server of ours, once it is ready.
    pub(crate) async fn started(plan: Plan, proxies: Vec<Proxy>) -> Result<Self> {
        let container = Container::start(&plan).await?;
        let server = Self {
            url: plan.url(),
            proxies,
            own: Some(Arc::new(Own { plan, container })),
        };
        server.own()?.ready(0).await?;
        Ok(server)
    }

    /// Starts a server for one test alone, and waits until it is ready.
    ///
    /// Its port stays the same when it is restarted. `TEST_<NAME>_URL` does not count here: a test
    /// may do to this server whatever it likes.
    ///
    /// # Errors
    /// As [`Options::start`].
    pub async fn start(service: &'static Service) -> Result<Self> {
        Options::new(service).start().await
    }

    /// The server that all tests of this process share: the one in `TEST_<NAME>_URL`, or a
    /// container, started by who asks first.
    ///
    /// # Errors
    /// As [`Options::start`].
    pub async fn shared(service: &'static Service) -> Result<&'static Self> {
        static SHARED: Mutex<BTreeMap<&str, &'static OnceCell<Server>>> =
            Mutex::new(BTreeMap::new());
        let cell = *SHARED
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(service.name())
            .or_insert_with(|| Box::leak(Box::default()));
        let open = || async {
            match service.source().await? {
                Source::Running(url) => Ok(Self::at(url)),
                Source::Image(_) => Self::start(service).await,
            }
        };
        cell.get_or_try_init(open).await
    }

    /// A server that somebody else runs.
    fn at(url: String) -> Self {
        Self {
            url,
            proxies: Vec::new(),
            own: None,
        }
    }

    /// Where clients reach it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where clients reach its port `name`.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for a server that is
    /// not ours, or has no such port.
    pub fn port(&self, name: &str) -> Result<u16> {
        let port = self.own()?.plan.outside.get(name).copied();
        port.ok_or_else(|| Error::invalid(format!("the server has no port `{name}`")))
    }

    /// Kills it (SIGKILL). It is down on return.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for a server that is
    /// not ours; those of Docker. So for all that follow.
    pub async fn kill(&self) -> Result<()> {
        self.act(|own| async move { own.container.kill().await })
            .await
    }

    /// Lets it end by itself (SIGTERM). It is down on return.
    ///
    /// # Errors
    /// As [`kill`](Self::kill).
    pub async fn stop(&self) -> Result<()> {
        self.act(|own| async move { own.container.stop().await })
            .await
    }

    /// Starts it again after [`kill`](Self::kill) or [`stop`](Self::stop), with its disk, at the
    /// same port, and waits until it is ready.
    ///
    /// # Errors
    /// As [`kill`](Self::kill), and [`Options::start`].
    pub async fn restart(&self) -> Result<()> {
        self.act(|own| async move {
            let said = own.said().await;
            own.container.restart().await?;
            own.ready(said).await
        })
        .await
    }

    /// Freezes it: connections stay, nothing is answered.
    ///
    /// # Errors
    /// As [`kill`](Self::kill).
    pub async fn pause(&self) -> Result<()> {
        self.act(|own| async move { own.container.pause().await })
            .await
    }

    /// Lets it go on after [`pause`](Self::pause).
    ///
    /// # Errors
    /// As [`kill`](Self::kill).
    pub async fn unpause(&self) -> Result<()> {
        self.act(|own| async move { own.container.unpause().await })
            .await
    }

    /// Runs a command inside its container.
    ///
    /// # Errors
    /// As [`kill`](Self::kill).
    pub async fn exec(
        &self,
        command: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Output> {
        let command = command.into_iter().map(Into::into).collect();
        self.act(|own| async move {
            let (code, stdout, stderr) = own.container.exec(command).await?;
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            Ok(Output {
                code,
                stdout: text(stdout),
                stderr: text(stderr),
            })
        })
        .await
    }

    /// Closes its connections and refuses new ones, until [`restore`](Self::restore).
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for a server without
    /// [proxies](Options::proxied). So for those that follow.
    pub fn cut(&self) -> Result<()> {
        self.proxies().map(|all| all.iter().for_each(Proxy::cut))
    }

    /// Lets nothing through and closes nothing, until [`restore`](Self::restore).
    ///
    /// # Errors
    /// As [`cut`](Self::cut).
    pub fn hold(&self) -> Result<()> {
        self.proxies().map(|all| all.iter().for_each(Proxy::hold))
    }

    /// Lets everything through again.
    ///
    /// # Errors
    /// As [`cut`](Self::cut).
    pub fn restore(&self) -> Result<()> {
        self.proxies()
            .map(|all| all.iter().for_each(Proxy::restore))
    }

    /// Leaves it running when this process ends.
    pub(crate) fn leave(self) {
        if let Some(own) = self.own.and_then(Arc::into_inner) {
            own.container.leave();
        }
    }

    async fn act<T: Send + 'static, F>(
        &self,
        action: impl FnOnce(Arc<Own>) -> F + Send + 'static,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let own = self.own()?.clone();
        background::run(async move { action(own).await }).await
    }

    fn own(&self) -> Result<&Arc<Own>> {
        self.own.as_ref().ok_or_else(|| {
            Error::invalid("a server that TEST_…_URL names is not ours to kill or pause")
        })
    }

    fn proxies(&self) -> Result<&[Proxy]> {
        if self.proxies.is_empty() {
            return Err(Error::invalid(
                "the server has no proxy: start it with Options::proxied",
            ));
        }
        Ok(&self.proxies)
    }
}
