//! A server that a test uses, and can treat badly.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use statehouse_contracts::{Error, Result};
use tokio::sync::OnceCell;

use crate::background;
use crate::container::{Container, Plan, is_port_taken};
use crate::ports::{self, Published};
use crate::proxy::Proxy;
use crate::ready;
use crate::source::Source;
use crate::table::{Files, Service};

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

/// How a server of one's own is started.
#[derive(Clone, Debug)]
pub struct Options {
    service: &'static Service,
    arguments: Vec<String>,
    files: Vec<Files>,
    more_ports: Vec<String>,
    proxied: bool,
    kept_as: Option<String>,
}

impl Options {
    /// As the table says.
    pub fn new(service: &'static Service) -> Self {
        Self {
            service,
            arguments: Vec::new(),
            files: Vec::new(),
            more_ports: Vec::new(),
            proxied: false,
            kept_as: None,
        }
    }

    /// Adds arguments to the command.
    pub fn arguments(mut self, more: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.arguments.extend(more.into_iter().map(Into::into));
        self
    }

    /// Puts a text file into the container, in place of the table's if the path is the same.
    pub fn file(mut self, path: impl Into<String>, text: impl Into<String>) -> Self {
        self.files.push(Files {
            path: path.into(),
            text: text.into(),
        });
        self
    }

    /// Adds a port, the same inside the container as outside: `${name}` stands for it in files and
    /// arguments, and [`Server::port`] tells it.
    pub fn port(mut self, name: impl Into<String>) -> Self {
        self.more_ports.push(name.into());
        self
    }

    /// Puts a proxy before each port, so that [`Server::cut`] and [`Server::hold`] work.
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// Calls its container `name`, and leaves it running when this process ends.
    pub(crate) fn kept_as(mut self, name: String) -> Self {
        self.kept_as = Some(name);
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// [`Unavailable`](statehouse_contracts::ErrorKind::Unavailable) when there is no image or it
    /// does not get ready, with the last lines of its log.
    pub async fn start(self) -> Result<Server> {
        background::run(async move {
            let image = self.service.image_here().await?;
            for _ in 0..3 {
                match self.attempt(&image).await {
                    Err(error) if is_port_taken(&error) => {}
                    ended => return ended,
                }
            }
            self.attempt(&image).await
        })
        .await
    }

    async fn attempt(&self, image: &str) -> Result<Server> {
        let (outside, hosts, proxies) = self.ports().await?;
        let unique = || {
            let (name, process) = (self.service.name(), std::process::id());
            format!("statehouse-{name}-{process}-{:08x}", fastrand::u32(..))
        };
        let plan = Plan {
            service: self.service,
            name: self.kept_as.clone().unwrap_or_else(unique),
            image: image.to_owned(),
            arguments: self.arguments.clone(),
            files: self.files.clone(),
            more_ports: self.more_ports.clone(),
            outside,
            hosts,
            kept: self.kept_as.is_some(),
        };
        let container = Container::start(&plan).await?;
        let server = Server {
            url: plan.url(),
            proxies,
            own: Some(Arc::new(Own { plan, container })),
        };
        server.own()?.ready().await?;
        Ok(server)
    }

    /// Where clients will reach it, and where Docker will publish it.
    async fn ports(&self) -> Result<(Published, Published, Vec<Proxy>)> {
        let mut hosts = Published::new();
        for name in self.service.ports().keys().chain(&self.more_ports) {
            hosts.insert(name.clone(), ports::free()?);
        }
        if !self.proxied {
            return Ok((hosts.clone(), hosts, Vec::new()));
        }
        let mut outside = Published::new();
        let mut proxies = Vec::new();
        for (name, host) in &hosts {
            let target = SocketAddr::from((Ipv4Addr::LOCALHOST, *host));
            let proxy = Proxy::to(target).await?;
            outside.insert(name.clone(), proxy.port());
            proxies.push(proxy);
        }
        Ok((outside, hosts, proxies))
    }
}

impl Own {
    async fn ready(&self) -> Result<()> {
        let Plan {
            service,
            outside,
            hosts,
            ..
        } = &self.plan;
        match ready::wait(service, outside, hosts).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let log = self.container.log().await;
                Err(error.with_context("log", format!("\n{log}\n")))
            }
        }
    }
}

impl Server {
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
            own.container.restart().await?;
            own.ready().await
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
