//! `serve`: from a configuration to a service that listens, and back.

use std::future::Future;
use std::io::{self, Write as _};
use std::net::SocketAddr;

use axum::serve::ListenerExt;
use metrics_exporter_prometheus::PrometheusHandle;
use statehouse_config::{Config, Environment, Token, read_tokens};
use statehouse_contracts::{Error, ErrorKind, Registry, Result};
use statehouse_service::{App, http};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{adapters, telemetry};

/// Runs the service of this process until a signal ends it. One line on standard output says
/// where it listens, once it does.
///
/// # Errors
/// Those of [`Service::open`] and [`Service::run`].
pub async fn serve(config: Config) -> Result<()> {
    telemetry::start_log(&config.log)?;
    let tokens = read_tokens(&config.tokens, &Environment::of_process())?;
    let metrics = match config.telemetry.metrics {
        true => Some(telemetry::start_metrics()?),
        false => None,
    };
    if let Some(metrics) = metrics.clone() {
        tokio::spawn(telemetry::keep_up(metrics));
    }
    let stop = until_signalled()?;
    let service = Service::open(config, &adapters::registry(), tokens, metrics).await?;
    announce(&service);
    service.run(stop).await
}

fn announce(service: &Service) {
    let address = service.address();
    for opened in service.app().backends().opened() {
        let roles = opened.roles.join(", ");
        tracing::info!(backend = %opened.endpoint, roles, "opened");
    }
    // Whoever does not read standard output does not need the line.
    let _ = writeln!(io::stdout(), "statehouse listens on http://{address}");
}

/// A service that listens.
#[derive(Debug)]
pub struct Service {
    app: App,
    listener: TcpListener,
    address: SocketAddr,
    tokens: Vec<Token>,
    metrics: Option<PrometheusHandle>,
}

impl Service {
    /// Listens, and opens the backends.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) when the address is in use,
    /// [`PermissionDenied`](ErrorKind::PermissionDenied) when it may not be used,
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for an address that others can reach without
    /// a token; and those of the backends.
    pub async fn open(
        config: Config,
        registry: &Registry,
        tokens: Vec<Token>,
        metrics: Option<PrometheusHandle>,
    ) -> Result<Self> {
        let listen = config.server.listen;
        if !listen.ip().is_loopback() && tokens.is_empty() {
            return Err(Error::invalid(format!(
                "{listen} can be reached from other machines; give the service a token in \
                 [[server.tokens]], or listen on 127.0.0.1"
            )));
        }
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|error| cannot_listen(listen, &error))?;
        let address = listener
            .local_addr()
            .map_err(|error| cannot_listen(listen, &error))?;
        let app = App::open(config, registry).await?;
        Ok(Self {
            app,
            listener,
            address,
            tokens,
            metrics,
        })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The service behind the API.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Serves until `stop` is done. Then it accepts nothing more, finishes what it accepted within
    /// `server.shutdown_grace`, and closes the backends.
    ///
    /// # Errors
    /// When the listener breaks, or what was accepted could not be finished.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let grace = self.app.config().server.shutdown_grace;
        let router = http::router(self.app.clone(), self.tokens, self.metrics)?;
        let listener = self.listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY cannot be set");
            }
        });
        let (app, stopping) = (self.app.clone(), CancellationToken::new());
        let announce = stopping.clone();
        let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
            stop.await;
            app.drain();
            announce.cancel();
        });
        let too_long = async {
            stopping.cancelled().await;
            tokio::time::sleep(grace).await;
        };
        let served = tokio::select! {
            served = serving => served.map_err(|error| {
                Error::new(ErrorKind::Unavailable, "the listener broke").with_source(error)
            }),
            () = too_long => {
                tracing::warn!("requests did not finish within {grace:?}; they are given up");
                Ok(())
            }
        };
        let closed = self.app.close().await;
        served.and(closed)
    }
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> Error {
    let (kind, advice) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            ErrorKind::Unavailable,
            "; another program listens there: stop it, or choose another port with --listen",
        ),
        io::ErrorKind::PermissionDenied => (
            ErrorKind::PermissionDenied,
            "; choose a port above 1023 with --listen",
        ),
        io::ErrorKind::AddrNotAvailable => (
            ErrorKind::InvalidArgument,
            "; this machine has no such address",
        ),
        _ => (ErrorKind::Unavailable, ""),
    };
    Error::new(kind, format!("cannot listen on {address}: {error}{advice}"))
}

/// Ends with the first SIGTERM or SIGINT (Ctrl-C); a second one ends the process at once.
///
/// # Errors
/// [`Internal`](ErrorKind::Internal) when signals cannot be heard.
pub fn until_signalled() -> Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let deaf = |error| Error::internal("signals cannot be heard").with_source(error);
    let mut terminate = signal(SignalKind::terminate()).map_err(deaf)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(deaf)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("shutting down; a second signal ends the process at once");
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::warn!("ended at once by a second signal");
            std::process::exit(130);
        });
    })
}
