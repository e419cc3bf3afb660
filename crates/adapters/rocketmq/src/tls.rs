//! How TLS is spoken, and why it is not when it is not: of a connection that it could not make, the
//! client library tells nothing.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rocketmq_transport::api::{TlsClientConfig, TlsConfig};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use statehouse_contracts::{Error, ErrorKind, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::Tls;

/// How long a handshake may take that is made to see why there is no connection.
const HANDSHAKE: Duration = Duration::from_secs(1);

/// The library's settings.
pub(crate) fn settings(tls: &Tls) -> TlsConfig {
    // The library takes the process's own, which there is not in programs with several to choose
    // from. Where somebody has chosen, that is left.
    let _ = ring::default_provider().install_default();
    TlsConfig {
        enable: true,
        test_mode_enable: false,
        // Otherwise what a broker on this machine is set to would count here, too.
        config_file: String::new(),
        client: TlsClientConfig {
            auth_server: tls.verify,
            trust_cert_path: tls.ca_file.clone(),
            cert_path: tls.cert_file.clone(),
            key_path: tls.key_file.clone(),
            ..TlsClientConfig::default()
        },
        ..TlsConfig::default()
    }
}

/// The failure of a first request to `server`, which accepts connections, as TLS explains it.
pub(crate) async fn explained(error: Error, tls: Option<&Tls>, server: &str) -> Error {
    let may_be_tls = match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Timeout => true,
        ErrorKind::InvalidArgument => tls.is_some(),
        _ => false,
    };
    if !may_be_tls {
        return error;
    }
    let config = match config(tls) {
        Ok(config) => config,
        Err(unusable) => return unusable,
    };
    if tls.is_none() && takes_plain(server).await {
        return error;
    }
    let ended = handshake(config, server).await;
    let why = ended.as_ref().err().and_then(of_tls);
    let explanation = match tls {
        Some(tls) => why.and_then(|why| refused(why, tls, server)),
        None => (ended.is_ok() || why.is_some_and(is_distrust)).then(|| wanted(server)),
    };
    explanation.unwrap_or(error)
}

/// The beginning of a request of 256 bytes without TLS: as many bytes as a server needs to tell.
const PLAIN: [u8; 16] = [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Whether the server goes on after the beginning of a request that is no handshake: one that wants
/// TLS closes at once, one that only offers it waits for the rest.
async fn takes_plain(server: &str) -> bool {
    let answered = async {
        let mut stream = TcpStream::connect(server).await?;
        stream.write_all(&PLAIN).await?;
        stream.read(&mut [0]).await
    };
    timeout(HANDSHAKE, answered).await.is_err()
}

/// Makes a connection, and waits a moment for what a server has against it that said yes at first.
async fn handshake(config: ClientConfig, server: &str) -> io::Result<()> {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    let host = host.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    let connected = async {
        let stream = TcpStream::connect(server).await?;
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await
    };
    let mut stream = timeout(HANDSHAKE, connected).await??;
    match timeout(HANDSHAKE, stream.read(&mut [0])).await {
        Ok(Err(error)) if of_tls(&error).is_some() => Err(error),
        _ => Ok(()),
    }
}

fn of_tls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn is_distrust(why: &rustls::Error) -> bool {
    matches!(why, rustls::Error::InvalidCertificate(_))
}

/// The handshake's failure in the words of the contracts; none where it tells nothing.
fn refused(why: &rustls::Error, tls: &Tls, server: &str) -> Option<Error> {
    let (kind, what) = match why {
        rustls::Error::InvalidCertificate(cause) if tls.verify => (
            ErrorKind::PermissionDenied,
            format!(
                "the certificate of {server} is not accepted ({cause:?}); tls_ca_file names the \
                 file of the authority to trust"
            ),
        ),
        rustls::Error::AlertReceived(alert) => (
            ErrorKind::PermissionDenied,
            format!(
                "{server} does not accept this client ({alert:?}); tls_cert_file and tls_key_file \
                 name its certificate"
            ),
        ),
        rustls::Error::InvalidMessage(_) => (
            ErrorKind::Unavailable,
            format!("{server} speaks no TLS; the URL says tls=true"),
        ),
        _ => return None,
    };
    Some(Error::new(kind, what).with_operation("connect"))
}

fn wanted(server: &str) -> Error {
    let what = format!("{server} closes connections without TLS; add tls=true to the URL");
    Error::new(ErrorKind::Unavailable, what).with_operation("connect")
}

/// The same as the library makes of the settings. Without settings nobody is trusted.
fn config(tls: Option<&Tls>) -> Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal("no TLS version can be spoken").with_source(error))?;
    let Some(tls) = tls else {
        let nobody = RootCertStore::empty();
        return Ok(builder.with_root_certificates(nobody).with_no_client_auth());
    };
    let builder = builder.with_root_certificates(roots(tls)?);
    let (Some(cert), Some(key)) = (&tls.cert_file, &tls.key_file) else {
        return Ok(builder.with_no_client_auth());
    };
    let own = certificates("tls_cert_file", cert)?;
    PrivateKeyDer::from_pem_file(key)
        .map_err(|error| unusable("tls_key_file", key, error))
        .and_then(|secret| {
            let with_key = builder.with_client_auth_cert(own, secret);
            with_key.map_err(|error| unusable("tls_key_file", key, error))
        })
}

fn roots(tls: &Tls) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(path) = &tls.ca_file else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    for certificate in certificates("tls_ca_file", path)? {
        let added = roots.add(certificate);
        added.map_err(|error| unusable("tls_ca_file", path, error))?;
    }
    Ok(roots)
}

fn certificates(parameter: &str, path: &str) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = read.map_err(|error| unusable(parameter, path, error))?;
    match found.is_empty() {
        true => Err(unusable(parameter, path, "it has no certificate")),
        false => Ok(found),
    }
}

fn unusable(parameter: &str, path: &str, why: impl Display) -> Error {
    Error::invalid(format!(
        "{parameter} names {path}, which cannot be used ({why}); it must be a PEM file"
    ))
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, CertificateError, InvalidMessage};

    use super::*;

    fn tls(verify: bool) -> Tls {
        Tls {
            ca_file: None,
            cert_file: None,
            key_file: None,
            verify,
        }
    }

    #[test]
    fn each_refusal_has_its_kind() {
        use rustls::Error as Why;
        let unknown = Why::InvalidCertificate(CertificateError::UnknownIssuer);
        let table = [
            (
                unknown.clone(),
                true,
                Some((ErrorKind::PermissionDenied, "UnknownIssuer")),
            ),
            (unknown, false, None),
            (
                Why::AlertReceived(AlertDescription::CertificateRequired),
                true,
                Some((ErrorKind::PermissionDenied, "tls_cert_file")),
            ),
            (
                Why::InvalidMessage(InvalidMessage::InvalidContentType),
                true,
                Some((ErrorKind::Unavailable, "speaks no TLS")),
            ),
            (Why::HandshakeNotComplete, true, None),
        ];
        for (why, verify, expected) in table {
            let error = refused(&why, &tls(verify), "ns:9876");
            match (&error, expected) {
                (None, None) => {}
                (Some(error), Some((kind, says))) => {
                    assert_eq!(error.kind(), kind, "{why}");
                    assert!(error.message().contains(says), "{error}");
                }
                _ => panic!("{why}: {error:?}"),
            }
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let missing = Tls {
            ca_file: Some("/no/such/file".to_owned()),
            ..tls(true)
        };
        let error = config(Some(&missing)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(
            error.message().contains("tls_ca_file names /no/such/file"),
            "{error}"
        );
    }
}
