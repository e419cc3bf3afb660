//! How TLS is spoken: whom to trust, and who we are.

use std::path::Path;
use std::sync::Arc;

use fred::types::config::{TlsConfig, TlsConnector};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use statehouse_contracts::{Error, Result};

use crate::config::Config;

/// The TLS that `config` asks for.
///
/// # Errors
/// `InvalidArgument` when a certificate or key cannot be read.
pub(crate) fn tls(config: &Config) -> Result<TlsConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal("no TLS version can be spoken").with_source(error))?
        .with_root_certificates(roots(config)?);
    let client = match (&config.tls_cert, &config.tls_key) {
        (Some(cert), Some(key)) => {
            let key_of = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| unreadable("tls_key", key, error))?;
            builder
                .with_client_auth_cert(certificates("tls_cert", cert)?, key_of)
                .map_err(|error| unreadable("tls_key", key, error))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(client).into())
}

fn roots(config: &Config) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match &config.tls_ca {
        Some(path) => {
            for certificate in certificates("tls_ca", path)? {
                roots
                    .add(certificate)
                    .map_err(|error| unreadable("tls_ca", path, error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(Error::invalid(
            "there is no certificate to trust; name the server's authority with tls_ca=FILE",
        ));
    }
    Ok(roots)
}

fn certificates(parameter: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(parameter, path, error))
}

fn unreadable(
    parameter: &str,
    path: &Path,
    error: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    Error::invalid(format!(
        "{parameter} names {}, which cannot be used; it must be a PEM file",
        path.display()
    ))
    .with_source(error)
}
