//! A TCP connection between client and server that a test can cut and hold.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use statehouse_contracts::{Error, ErrorKind, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::background;

/// What becomes of what either side sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// It arrives.
    Open,
    /// It waits, and nobody is told.
    Held,
    /// Connections are closed, new ones too.
    Cut,
    /// The same, for good.
    Gone,
}

/// Listens on the loopback interface and passes everything on, until told otherwise.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    flow: Arc<watch::Sender<Flow>>,
}

const BUFFER: usize = 64 * 1024;

impl Proxy {
    /// Listens on a free port for connections to `target`.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) when no port can be had.
    pub async fn to(target: SocketAddr) -> Result<Self> {
        Self::between(0, target).await
    }

    pub(crate) async fn between(port: u16, target: SocketAddr) -> Result<Self> {
        let listener = background::run(async move {
            let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
            bound.map_err(|error| unavailable(&error))
        });
        let listener = listener.await?;
        let address = listener.local_addr().map_err(|error| unavailable(&error))?;
        let (flow, _) = watch::channel(Flow::Open);
        let flow = Arc::new(flow);
        background::start(accept(listener, target, flow.clone()))?;
        Ok(Self {
            port: address.port(),
            flow,
        })
    }

    /// The port of the loopback interface that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes every connection, and each new one as soon as it is made, until
    /// [`restore`](Self::restore).
    pub fn cut(&self) {
        self.set(Flow::Cut);
    }

    /// Delivers nothing and closes nothing, as a network does that drops every packet, until
    /// [`restore`](Self::restore). Nothing is lost.
    pub fn hold(&self) {
        self.set(Flow::Held);
    }

    /// Passes everything on again.
    pub fn restore(&self) {
        self.set(Flow::Open);
    }

    fn set(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Flow::Gone);
    }
}

fn unavailable(error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("no proxy: {error}"))
}

async fn accept(listener: TcpListener, target: SocketAddr, flow: Arc<watch::Sender<Flow>>) {
    let mut gone = flow.subscribe();
    // The task must not keep its own channel open: only the proxy's end says that it is gone.
    let flow = flow.subscribe();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    tokio::spawn(connection(client, target, flow.clone()));
                }
            }
            _ = gone.wait_for(|flow| *flow == Flow::Gone) => return,
        }
    }
}

/// Passes on until either side closes, or the connection is cut; then both sides see a reset, as
/// nobody waits for what is still on the way.
async fn connection(client: TcpStream, target: SocketAddr, flow: watch::Receiver<Flow>) {
    let mut cut = flow.clone();
    let passing = async {
        let mut opened = flow.clone();
        let _ = opened.wait_for(|flow| *flow == Flow::Open).await;
        let Ok(server) = TcpStream::connect(target).await else {
            return;
        };
        // Small requests must not wait for one another.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            () = pass(from_client, to_server, flow.clone()) => {}
            () = pass(from_server, to_client, flow) => {}
        }
    };
    tokio::select! {
        () = passing => {}
        _ = cut.wait_for(|flow| matches!(flow, Flow::Cut | Flow::Gone)) => {}
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut flow: watch::Receiver<Flow>) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        if flow.wait_for(|flow| *flow == Flow::Open).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
