//! The connections to one service, and what it said of itself.

use std::fmt::{self, Debug};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::HeaderMap;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Request, Response};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use statehouse_contracts::{Endpoint, Error, Result, Scope};
use statehouse_wire::{CapabilitiesDoc, header};
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::connector::{Connector, connector};
use crate::request::encoded;

/// Shorter than services and proxies keep an idle connection, so that none is used that the other
/// side is about to close.
const IDLE: Duration = Duration::from_secs(20);

/// The connections to one service.
pub(crate) struct Client {
    connections: legacy::Client<Connector, Full<Bytes>>,
    /// Scheme, host, port and path prefix, without a slash at the end.
    base: String,
    authorization: Option<HeaderValue>,
    /// How long an answer may take, beside the time a call asked to wait.
    pub(crate) timeout: Duration,
}

impl Client {
    pub(crate) fn new(endpoint: &Endpoint, config: &Config) -> Result<Self> {
        let connections = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(config.pool)
            .build(connector(endpoint, config.connect_timeout.0)?);
        Ok(Self {
            connections,
            base: base(endpoint),
            authorization: authorization(config)?,
            timeout: config.timeout.0,
        })
    }

    /// Where the service is, for people.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Sends a request whose URI begins at [`Client::base`].
    pub(crate) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, legacy::Error> {
        if let Some(authorization) = &self.authorization {
            let value = authorization.clone();
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        self.connections.request(request).await
    }
}

impl Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.base)
    }
}

fn base(endpoint: &Endpoint) -> String {
    let mut base = format!(
        "{}://{}",
        endpoint.scheme(),
        endpoint.host().unwrap_or_default()
    );
    if let Some(port) = endpoint.port() {
        base.push_str(&format!(":{port}"));
    }
    let path = endpoint.path();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        base.push('/');
        base.push_str(&encoded(segment));
    }
    base
}

fn authorization(config: &Config) -> Result<Option<HeaderValue>> {
    let Some(token) = config.token()? else {
        return Ok(None);
    };
    let value = HeaderValue::try_from(format!("Bearer {}", token.reveal()));
    let mut value = value.map_err(|_| Error::invalid("the token is no header value"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// One role's handle: for whom it acts, and whether it was closed.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(crate) client: std::sync::Arc<Client>,
    pub(crate) capabilities: std::sync::Arc<CapabilitiesDoc>,
    /// The namespace and the principal.
    pub(crate) scope: HeaderMap,
    /// Cancelled when the handle or its backend is closed.
    pub(crate) closed: CancellationToken,
}

impl Handle {
    /// The headers that say for whom a handle acts.
    pub(crate) fn scope(scope: &Scope) -> Result<HeaderMap> {
        let mut headers = HeaderMap::with_capacity(2);
        let names = [
            (header::NAMESPACE, scope.namespace.as_str()),
            (header::PRINCIPAL, scope.principal.as_str()),
        ];
        for (name, text) in names {
            let value = HeaderValue::try_from(header::encode(text).as_ref());
            let value =
                value.map_err(|_| Error::invalid(format!("{text:?} cannot stand in a header")))?;
            headers.insert(name, value);
        }
        Ok(headers)
    }

    /// The longest wait of one request.
    pub(crate) fn max_wait(&self) -> Duration {
        self.capabilities.max_wait.0
    }

    /// The most bytes of items in one request.
    pub(crate) fn room(&self) -> usize {
        crate::batch::room(self.capabilities.body_limit)
    }

    pub(crate) fn close(&self) {
        self.closed.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_what_stands_before_the_routes() {
        let table = [
            ("http://127.0.0.1:7717", "http://127.0.0.1:7717"),
            ("http://[::1]:7717/", "http://[::1]:7717"),
            ("https://h/a%20b/c/?pool=2", "https://h/a%20b/c"),
            ("http://h:80/", "http://h"),
        ];
        for (url, expected) in table {
            assert_eq!(base(&Endpoint::parse(url).unwrap()), expected);
        }
    }

    #[test]
    fn any_principal_fits_into_a_header() {
        let scope = Scope::parse("default", " naïve 🦀 100% ").unwrap();
        let headers = Handle::scope(&scope).unwrap();
        let value = headers.get(header::PRINCIPAL).unwrap();
        let back = header::decode(header::PRINCIPAL, value.as_bytes()).unwrap();
        assert_eq!(back, scope.principal.as_str());
    }
}
