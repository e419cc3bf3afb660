//! How connections are made: plain, or with TLS where the crate is built with the feature `tls`.

use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use statehouse_contracts::{Endpoint, Error, Result};

/// How often a silent connection is probed, so that a broadcast notices a peer that is gone.
const KEEPALIVE: Duration = Duration::from_secs(30);

fn plain(connect_timeout: Duration) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(connect_timeout));
    connector.set_nodelay(true);
    connector.set_keepalive(Some(KEEPALIVE));
    connector.enforce_http(false);
    connector
}

#[cfg(not(feature = "tls"))]
mod chosen {
    use super::{Duration, Endpoint, Error, HttpConnector, Result, plain};

    pub(crate) type Connector = HttpConnector;

    pub(crate) fn connector(endpoint: &Endpoint, timeout: Duration) -> Result<Connector> {
        if endpoint.scheme() == "https" {
            let message = format!(
                "the URL {endpoint} needs TLS, which is not in this build; build with the feature \
                 tls of statehouse-http, or let a proxy on this machine speak TLS"
            );
            let kind = statehouse_contracts::ErrorKind::Unsupported;
            return Err(Error::new(kind, message));
        }
        Ok(plain(timeout))
    }
}

#[cfg(feature = "tls")]
mod chosen {
    use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};

    use super::{Duration, Endpoint, Error, HttpConnector, Result, plain};

    pub(crate) type Connector = HttpsConnector<HttpConnector>;

    pub(crate) fn connector(endpoint: &Endpoint, timeout: Duration) -> Result<Connector> {
        // Named here: other parts of a program may bring other implementations.
        let provider = rustls::crypto::ring::default_provider();
        let roots = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(|error| {
                Error::invalid(format!(
                    "the certificates of this system cannot be read for {endpoint}"
                ))
                .with_source(error)
            })?;
        // A plain URL has chosen so; an https: one never falls back.
        let schemes = match endpoint.scheme() {
            "https" => roots.https_only(),
            _ => roots.https_or_http(),
        };
        Ok(schemes.enable_http1().wrap_connector(plain(timeout)))
    }
}

pub(crate) use chosen::{Connector, connector};
