//! A server that answers as a test tells it to.

use std::sync::{Arc, Mutex, PoisonError};

use statehouse_contracts::{Backend, Endpoint, Factory, Result, Scope};
use statehouse_http::HttpFactory;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// `GET /v1/capabilities`, without the query.
    pub(crate) line: String,
    /// What stands after the question mark.
    pub(crate) query: String,
    /// The headers, in lower case, one on each line.
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What to do with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Answer with this status and document.
    Json(u16, serde_json::Value),
    /// Write these bytes, and close.
    Bytes(&'static str),
    /// Answer nothing until the client has gone.
    Hang,
}

/// A running server.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    address: std::net::SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    hung_up: Arc<Notify>,
}

type Handler = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

impl Server {
    /// Starts a server that says what a service in memory can do, with `max_wait`, and does what
    /// `handler` says with all other requests.
    pub(crate) async fn start(
        max_wait: &'static str,
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            hung_up: Arc::default(),
        };
        let handler: Handler = Arc::new(move |seen| match seen.line.as_str() {
            "GET /v1/capabilities" => Reply::Json(200, capabilities(max_wait)),
            _ => handler(seen),
        });
        let running = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(running.clone().talk(stream, Arc::clone(&handler)));
            }
        });
        server
    }

    pub(crate) fn url(&self, parameters: &str) -> String {
        format!("http://{}{parameters}", self.address)
    }

    /// The backend at this server.
    pub(crate) async fn backend(&self, parameters: &str) -> Result<Arc<dyn Backend>> {
        let endpoint = Endpoint::parse(&self.url(parameters))?;
        HttpFactory.open(&endpoint).await
    }

    /// All requests but the one for the capabilities.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = seen
            .iter()
            .filter(|seen| seen.line != "GET /v1/capabilities");
        asked.cloned().collect()
    }

    /// Ends when a client has gone while its request hung.
    pub(crate) async fn hung_up(&self) {
        self.hung_up.notified().await;
    }

    async fn talk(self, mut stream: TcpStream, handler: Handler) {
        let mut buffer = Vec::new();
        while let Some(seen) = read(&mut stream, &mut buffer).await {
            self.seen.lock().unwrap().push(seen.clone());
            match handler(&seen) {
                Reply::Json(status, document) => {
                    let text = document.to_string();
                    let length = text.len();
                    let kind = "content-type: application/json";
                    let head = format!("HTTP/1.1 {status} x\r\n{kind}\r\ncontent-length: {length}");
                    let answer = format!("{head}\r\n\r\n{text}");
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
                Reply::Bytes(bytes) => {
                    let _ = stream.write_all(bytes.as_bytes()).await;
                    return;
                }
                Reply::Hang => {
                    let gone = stream.read_buf(&mut buffer).await;
                    assert!(matches!(gone, Ok(0) | Err(_)), "more came: {buffer:?}");
                    self.hung_up.notify_one();
                    return;
                }
            }
        }
    }
}

/// How a client begins that speaks TLS: a server that does not hangs up.
const TLS_GREETING: u8 = 0x16;

/// Reads one request; `None` at the end of the connection.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let end = loop {
        if buffer.first() == Some(&TLS_GREETING) {
            return None;
        }
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer.drain(..end + 4).collect()).unwrap();
    let (line, headers) = head.split_once("\r\n").unwrap();
    let headers = headers.replace("\r\n", "\n");
    let length = headers
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let target = line.strip_suffix(" HTTP/1.1").unwrap();
    let (line, query) = target.split_once('?').unwrap_or((target, ""));
    Some(Seen {
        line: line.to_owned(),
        query: query.to_owned(),
        headers,
        body: buffer.drain(..length).collect(),
    })
}

/// The largest body that the server takes, by its own account.
pub(crate) const BODY_LIMIT: usize = 1 << 20;

/// What a service can do that has all roles but references.
fn capabilities(max_wait: &str) -> serde_json::Value {
    let durability =
        serde_json::json!({"process_kill": false, "power_loss": false, "node_loss": false});
    let admin = serde_json::json!({
        "list": true, "pause": true, "delete": true, "counts": true, "counts_exact": true,
        "oldest_age": true, "peek": true, "dead_letters": true, "redrive": true, "purge": true,
    });
    serde_json::json!({
        "version": "0", "max_wait": max_wait, "body_limit": BODY_LIMIT,
        "producer": {
            "durability": durability, "max_payload": 16 << 20, "max_headers": 64,
            "max_header_bytes": 8192, "max_batch": 1000, "dedup_window": null, "max_delay": null,
            "delay_precision": "1ms", "cancel": true, "routed": true, "require_route": true,
            "ttl": true,
        },
        "consumer": {
            "durability": durability, "max_receive": 10, "fencing": "server",
            "ack_confirmed": true, "settle_anywhere": true, "min_lease": "1ms", "max_lease": "1h",
            "redelivery_lag": "0s", "wake": {"poll": "25ms"}, "start_earliest": true,
            "priorities": 10, "strict_priorities": true, "ordering_keys": true,
            "equal_priorities": true, "keys_with_priorities": true, "key_blocking": "key", "nack_delay": true,
            "drop_counts_no_attempt": true, "overflow_reject": true, "overflow_drop_oldest": true,
            "expired_dead_letters": true, "broadcast": true, "max_retention": null, "admin": admin,
        },
        "state": {
            "durability": durability, "max_data": 1024, "max_writes": 10, "max_message": 1024,
            "max_page": 10, "dedup_window": "1h", "expiry_lag": "1s", "import_export": true,
            "deliver_local": true, "wake": "push",
        },
        "tasks": null,
        "references": null,
    })
}

/// For whom the tests act.
pub(crate) fn scope() -> Scope {
    Scope::parse("tests", "naïve").unwrap()
}
