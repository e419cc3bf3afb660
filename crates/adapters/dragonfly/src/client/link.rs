//! One connection to the server, and what it is made with.

use std::time::Duration;

use fred::clients::Client as Fred;
use fred::interfaces::ClientLike;
use fred::types::config::{
    ClusterDiscoveryPolicy, Config as FredConfig, ConnectionConfig, PerformanceConfig,
    ReconnectPolicy, Server, ServerConfig, TcpConfig,
};
use statehouse_contracts::{Result, Secret};
use tokio::task::AbortHandle;

use super::unreachable;
use crate::config::{Node, Target};
use crate::error::map;
use crate::tls::tls;

/// The first and the longest pause between two attempts to connect, in milliseconds.
const FIRST_PAUSE: u32 = 20;
const LONGEST_PAUSE: u32 = 1000;
/// How many published messages a connection holds for those who listen on it.
const HEARD: usize = 4096;

/// One client of the library: a connection, or one to each node of a cluster.
pub(super) struct Link {
    pub(super) fred: Fred,
    pub(super) task: AbortHandle,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Link").field(&self.fred.id()).finish()
    }
}

impl Link {
    pub(super) fn is_connected(&self) -> bool {
        self.fred.is_connected()
    }

    /// Whether nobody tries to connect any more.
    pub(super) fn is_over(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a connection is made with.
#[derive(Clone)]
pub(super) struct Settings {
    config: FredConfig,
    connection: ConnectionConfig,
    pub(super) timeout: Duration,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the configuration, which holds the password.
        f.debug_struct("Settings")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Settings {
    pub(super) fn of(target: &Target) -> Result<Self> {
        let config = &target.config;
        let reveal = |secret: &Option<Secret>| secret.as_ref().map(|s| s.reveal().to_owned());
        let fred = FredConfig {
            fail_fast: false,
            username: target.username.clone(),
            password: reveal(&target.password),
            server: server(target),
            database: (target.database > 0).then_some(target.database),
            tls: target.tls.then(|| tls(config)).transpose()?,
            ..FredConfig::default()
        };
        let connection = ConnectionConfig {
            connection_timeout: config.connect_timeout,
            internal_command_timeout: config.connect_timeout,
            max_command_attempts: 1,
            reconnect_on_auth_error: true,
            auto_client_setname: false,
            tcp: TcpConfig {
                nodelay: Some(true),
                ..TcpConfig::default()
            },
            ..ConnectionConfig::default()
        };
        Ok(Self {
            config: fred,
            connection,
            timeout: config.timeout,
        })
    }

    /// How long connecting may take in all: the network, the greeting, a sentinel before them.
    pub(super) fn patience(&self) -> Duration {
        self.connection.connection_timeout * 2
    }

    fn fred(&self, config: FredConfig, performance: PerformanceConfig) -> Fred {
        let mut policy = ReconnectPolicy::new_exponential(0, FIRST_PAUSE, LONGEST_PAUSE, 2);
        policy.set_jitter(FIRST_PAUSE);
        Fred::new(
            config,
            Some(performance),
            Some(self.connection.clone()),
            Some(policy),
        )
    }

    /// The first connection, which tells why there is none.
    pub(super) async fn first(&self) -> Result<Link> {
        let config = FredConfig {
            fail_fast: true,
            ..self.config.clone()
        };
        let fred = self.fred(config, PerformanceConfig::default());
        let task = tokio::time::timeout(self.patience(), fred.init())
            .await
            .map_err(|_| unreachable("open"))?
            .map_err(|error| map("open", error, false))?;
        Ok(Link {
            task: task.abort_handle(),
            fred,
        })
    }

    /// A connection that is made in the background.
    pub(super) fn link(&self) -> Link {
        self.link_with(PerformanceConfig::default())
    }

    /// The same, for one that hears what others publish.
    pub(super) fn listening_link(&self) -> Link {
        self.link_with(PerformanceConfig {
            broadcast_channel_capacity: HEARD,
            ..PerformanceConfig::default()
        })
    }

    fn link_with(&self, performance: PerformanceConfig) -> Link {
        let fred = self.fred(self.config.clone(), performance);
        let task = fred.connect().abort_handle();
        Link { fred, task }
    }
}

fn server(target: &Target) -> ServerConfig {
    let server = |node: &Node| Server::new(node.host.clone(), node.port);
    let hosts = || target.nodes.iter().map(server).collect();
    let config = &target.config;
    match &config.sentinel {
        Some(service) => ServerConfig::Sentinel {
            hosts: hosts(),
            service_name: service.clone(),
            username: config.sentinel_username.clone(),
            password: target
                .sentinel_password
                .as_ref()
                .map(|secret| secret.reveal().to_owned()),
        },
        None if config.cluster => ServerConfig::Clustered {
            hosts: hosts(),
            policy: ClusterDiscoveryPolicy::UseCache,
        },
        None => ServerConfig::Centralized {
            server: server(&target.nodes[0]),
        },
    }
}
