//! The real binary, on a data directory of its own.

use std::fs::File;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_contracts::{Backend, Endpoint, Factory, Scope};
use statehouse_http::HttpFactory;
use tempfile::TempDir;

pub(crate) struct Server {
    folder: TempDir,
    address: String,
    child: Option<Child>,
}

impl Server {
    pub(crate) fn new() -> Self {
        // Free a moment ago; the service says so if somebody took it since.
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            address: free.to_string(),
            child: None,
        }
    }

    /// Starts the service and waits until it is ready.
    pub(crate) async fn start(&mut self) {
        let started = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_statehouse"))
            .args(["serve", "--listen", &self.address])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(self.log_file())
            .spawn()
            .unwrap();
        self.child = Some(child);
        while tokio::net::TcpStream::connect(&self.address).await.is_err() {
            let child = self.child.as_mut().unwrap();
            assert!(
                child.try_wait().unwrap().is_none(),
                "the service ended while starting"
            );
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "the service did not start"
            );
            // sleep: the interval of a poll with a deadline.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What the service logged, in all its lives.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn log_file(&self) -> File {
        let path = self.folder.path().join("log");
        File::options()
            .create(true)
            .append(true)
            .open(path)
            .unwrap()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) async fn connect(&self) -> Arc<dyn Backend> {
        let url = Endpoint::parse(&format!("http://{}", self.address)).unwrap();
        statehouse_layers::guard(HttpFactory.open(&url).await.unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn scope() -> Scope {
    Scope::parse("default", "crash").unwrap()
}
