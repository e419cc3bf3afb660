//! The real program, as processes of this one.

use std::env;
use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_contracts::{Backend, Endpoint};
use statehouse_runtime::adapters::registry;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{AS_STATEHOUSE, PATIENCE};

/// `statehouse serve` with a configuration of its own.
pub(crate) struct Process {
    pub(crate) folder: TempDir,
    pub(crate) address: String,
    child: Child,
}

impl Process {
    pub(crate) async fn start(config: &str) -> Result<Self, String> {
        Self::start_with(config, &[]).await
    }

    /// The same with variables of its environment.
    pub(crate) async fn start_with(
        config: &str,
        environment: &[(&str, &str)],
    ) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        std::fs::write(folder.path().join("statehouse.toml"), config)
            .map_err(|error| error.to_string())?;
        // Free a moment ago; the service says so if somebody took it since.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let address = free.map_err(|error| error.to_string())?.to_string();
        let log = File::create(folder.path().join("log")).map_err(|error| error.to_string())?;
        let child = statehouse(folder.path(), &["serve", "--listen", &address])
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut process = Self {
            folder,
            address,
            child,
        };
        process.is_ready().await.map(|()| process)
    }

    async fn is_ready(&mut self) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        while !matches!(self.get("/readyz").await, Ok((204, _))) {
            if Instant::now() > end || !matches!(self.child.try_wait(), Ok(None)) {
                return Err(format!("it does not get ready: {}", self.log()));
            }
            // sleep: the pause between two looks
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The handles that a program has of this service.
    pub(crate) async fn connect(&self) -> Result<Arc<dyn Backend>, statehouse_contracts::Error> {
        let url = format!("http://{}", self.address);
        registry().open(&Endpoint::parse(&url)?).await
    }

    /// As any HTTP client reads: what the service has in its cache is good enough.
    pub(crate) async fn get(&self, path: &str) -> std::io::Result<(u16, String)> {
        self.ask("GET", path, "").await
    }

    pub(crate) async fn put(&self, path: &str, body: &str) -> std::io::Result<(u16, String)> {
        self.ask("PUT", path, body).await
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> std::io::Result<(u16, String)> {
        self.ask_with(method, path, "", body).await
    }

    /// The same with more headers, each with its end of line.
    pub(crate) async fn ask_with(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(&self.address).await?;
        let (host, length) = (&self.address, body.len());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n\
             {headers}connection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok((status.unwrap_or_default(), body.to_owned()))
    }

    /// The value of a measure without labels; 0 as long as there was nothing to count.
    pub(crate) async fn measure(&self, name: &str) -> std::io::Result<u64> {
        let (_, metrics) = self.get("/metrics").await?;
        let of_it = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
        Ok(metrics.lines().find_map(of_it).unwrap_or_default())
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The real program, in this folder, with nothing of the environment that could change it.
pub(crate) fn statehouse(folder: &Path, arguments: &[&str]) -> Command {
    let program = env::current_exe().expect("this program is a file");
    let mut command = Command::new(program);
    command.env_clear().env(AS_STATEHOUSE, "1");
    command.current_dir(folder).args(arguments);
    command.stdin(Stdio::null());
    command
}
