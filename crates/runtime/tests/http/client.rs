//! A server on a free port and a plain client.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use statehouse_contracts::{Bytes, Result};
use statehouse_runtime::adapters::registry;
use statehouse_runtime::config::{Config, Environment, Override, Sources, load, read_tokens};
use statehouse_runtime::serve::Service;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A service that runs in this process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    running: JoinHandle<Result<()>>,
    pub(crate) folder: TempDir,
}

/// The configuration `text` over a free port.
pub(crate) fn config(folder: &TempDir, text: &str) -> Config {
    let file = folder.path().join("test.toml");
    std::fs::write(&file, text).unwrap();
    let overrides = vec![Override::new("server.listen", "127.0.0.1:0", "--listen")];
    let sources = Sources {
        file: Some(file),
        directory: folder.path().to_owned(),
        environment: Environment::default(),
        overrides,
    };
    load(&sources).unwrap().config
}

impl Server {
    /// In memory.
    pub(crate) async fn start() -> Self {
        Self::with("[backends]\ndefault = \"memory:\"\n").await
    }

    /// On a file that is there as long as the server.
    pub(crate) async fn on_disk() -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("test.db");
        let text = format!("[backends]\ndefault = \"sqlite:{}\"\n", file.display());
        Self::open(folder, &text, &[]).await
    }

    /// With this configuration.
    pub(crate) async fn with(text: &str) -> Self {
        Self::open(TempDir::new().unwrap(), text, &[]).await
    }

    /// With this configuration, and these variables for its tokens.
    pub(crate) async fn open(folder: TempDir, text: &str, variables: &[(&str, &str)]) -> Self {
        let config = config(&folder, text);
        let environment = variables.iter().copied().collect();
        let tokens = read_tokens(&config.tokens, &environment).unwrap();
        let service = Service::open(config, &registry(), tokens, None)
            .await
            .unwrap();
        let (address, stop) = (service.address(), CancellationToken::new());
        let running = tokio::spawn(service.run(stop.clone().cancelled_owned()));
        Self {
            address,
            stop,
            running,
            folder,
        }
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(self) -> TempDir {
        self.stop.cancel();
        within(self.running).await.unwrap().unwrap();
        self.folder
    }

    /// Asks it to stop.
    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }

    pub(crate) fn get(&self, path: &str) -> Ask {
        self.ask("GET", path)
    }

    pub(crate) fn put(&self, path: &str, body: impl Into<Bytes>) -> Ask {
        self.ask("PUT", path).body(body)
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Ask {
        let ask = self.ask("POST", path).body(body.to_string());
        ask.header("content-type", "application/json")
    }

    pub(crate) fn ask(&self, method: &str, path: &str) -> Ask {
        let builder = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "test");
        Ask {
            address: self.address,
            builder,
            body: Bytes::new(),
        }
    }
}

/// A request that is being written.
pub(crate) struct Ask {
    address: SocketAddr,
    builder: hyper::http::request::Builder,
    body: Bytes,
}

impl Ask {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it and reads the head of the answer.
    pub(crate) async fn open(self) -> hyper::Response<Incoming> {
        let body = Full::new(self.body);
        send(self.address, self.builder.body(body).unwrap()).await
    }

    /// Sends it and reads the whole answer.
    pub(crate) async fn send(self) -> Reply {
        let (parts, body) = self.open().await.into_parts();
        let body = within(body.collect()).await.unwrap().to_bytes();
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }
}

impl IntoFuture for Ask {
    type Output = Reply;
    type IntoFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// Sends a request on a connection of its own, which ends with the answer.
pub(crate) async fn send<B>(address: SocketAddr, request: Request<B>) -> hyper::Response<Incoming>
where
    B: Body<Data: Send> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    within(sender.send_request(request)).await.unwrap()
}

/// What is awaited, or a panic when it takes too long.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("in time")
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// The body as JSON, of an answer that is right.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let shown = String::from_utf8_lossy(&self.body);
        assert!((200..300).contains(&self.status), "{} {shown}", self.status);
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The problem document of an answer with this status and kind.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, kind: &str) -> Value {
        let shown = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{shown}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let document: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(document["kind"], kind, "{shown}");
        assert_eq!(document["status"], status, "{shown}");
        assert!(!document["detail"].as_str().unwrap().is_empty(), "{shown}");
        document
    }
}

/// The events of a stream, one at a time.
pub(crate) struct Events {
    body: Incoming,
    text: String,
}

/// One event.
#[derive(Debug, Default)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) data: String,
}

impl Event {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

impl Events {
    pub(crate) async fn open(ask: Ask) -> Self {
        let response = ask.header("accept", "text/event-stream").open().await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            body: response.into_body(),
            text: String::new(),
        }
    }

    /// The next event; `None` at the end. Comments are passed over.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let event = read(block);
                self.text = rest.to_owned();
                if !event.data.is_empty() {
                    return Some(event);
                }
                continue;
            }
            let frame = within(self.body.frame()).await?.unwrap();
            if let Ok(data) = frame.into_data() {
                self.text.push_str(std::str::from_utf8(&data).unwrap());
            }
        }
    }
}

fn read(block: &str) -> Event {
    let mut event = Event::default();
    let mut data = Vec::new();
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("event", name)) => name.clone_into(&mut event.name),
            Some(("id", id)) => id.clone_into(&mut event.id),
            Some(("data", text)) => data.push(text),
            _ => {}
        }
    }
    event.data = data.join("\n");
    event
}
