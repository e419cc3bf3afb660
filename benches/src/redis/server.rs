//! A Redis server of our own.

use std::{
    io::ErrorKind,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::client::Client;
use crate::{Result, store};

/// How long it may take to start.
const START: Duration = Duration::from_secs(10);

/// A server that ends with this value.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    _directory: TempDir,
}

impl Server {
    /// One that syncs every write; `None` where the program is not installed.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start() -> Result<Option<Self>> {
        Self::start_with("always").await
    }

    /// One that never waits for the disk; `None` where the program is not installed.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_without_syncs() -> Result<Option<Self>> {
        Self::start_with("no").await
    }

    async fn start_with(appendfsync: &str) -> Result<Option<Self>> {
        let directory = store::folder()?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let started = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--appendonly", "yes", "--appendfsync", appendfsync])
            .args(["--auto-aof-rewrite-percentage", "0", "--save", ""])
            .arg("--dir")
            .arg(directory.path().canonicalize()?)
            .stdout(Stdio::null())
            .spawn();
        let child = match started {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let server = Self {
            child,
            port,
            _directory: directory,
        };
        server.until_ready().await?;
        Ok(Some(server))
    }

    async fn until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            match self.ping().await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    async fn ping(&self) -> Result<()> {
        self.connect().await?.call(&[b"PING"]).await?;
        Ok(())
    }

    /// Where it listens, on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(super) async fn connect(&self) -> Result<Client> {
        Client::connect(self.port).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
