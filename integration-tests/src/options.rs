//! How a server of one's own is started.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use statehouse_contracts::Result;

use crate::background;
use crate::container::{Plan, is_port_taken};
use crate::ports::{self, Published};
use crate::proxy::Proxy;
use crate::server::Server;
use crate::table::{Files, Service};

/// How a server of one's own is started.
#[derive(Clone, Debug)]
pub struct Options {
    service: &'static Service,
    arguments: Vec<String>,
    files: Vec<Files>,
    environment: BTreeMap<String, String>,
    more_ports: Vec<String>,
    /// What it logs when it is ready, if the table's question is not answered then.
    says_ready: Option<String>,
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
            environment: BTreeMap::new(),
            more_ports: Vec::new(),
            says_ready: None,
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

    /// With the settings that the table calls `name`.
    ///
    /// # Errors
    /// [`NotFound`](statehouse_contracts::ErrorKind::NotFound) when there are none.
    pub fn variant(mut self, name: &str) -> Result<Self> {
        let variant = self.service.variant(name)?;
        for file in self.service.files() {
            if let Some(lines) = variant.lines.get(&file.path) {
                let text = format!("{}\n{lines}", file.text.trim_end());
                self = self.file(&file.path, text);
            }
        }
        self.files.extend(variant.files.iter().cloned());
        self.environment.extend(variant.environment.clone());
        self.says_ready.clone_from(&variant.says_ready);
        Ok(self)
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
            environment: self.environment.clone(),
            more_ports: self.more_ports.clone(),
            says_ready: self.says_ready.clone(),
            outside,
            hosts,
            kept: self.kept_as.is_some(),
        };
        Server::started(plan, proxies).await
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
