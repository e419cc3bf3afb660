//! `https:` against a server that speaks TLS.
#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

use std::process::Command;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use statehouse_contracts::{Endpoint, ErrorKind, Factory};
use statehouse_http::HttpFactory;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// The test that starts itself as its client, and where it tells that the server is.
const TEST: &str = "a_certificate_that_the_system_vouches_for_is_trusted_and_no_other";
const URL: &str = "TEST_TLS_SERVER";

/// What a service without any role says of itself.
const CAPABILITIES: &str = r#"{"version":"7","max_wait":"1s","body_limit":1048576,"producer":null,
    "consumer":null,"state":null,"tasks":null,"references":null}"#;

/// Serves the capabilities over TLS with a new certificate; answers the port and the certificate.
async fn serve() -> (u16, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate hangs up here.
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut request).await.unwrap() == 0 {
                        return;
                    }
                }
                let length = CAPABILITIES.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}"
                );
                let answer = format!("{head}\r\nconnection: close\r\n\r\n{CAPABILITIES}");
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            });
        }
    });
    (port, made.cert.pem())
}

/// Whether a client that trusts `certificate` opens the service at `port`, and what it says.
async fn opens(port: u16, certificate: String) -> (bool, String) {
    let name = format!("statehouse-tls-{}-{}.pem", std::process::id(), uuid());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, certificate).unwrap();
    // This says where the certificates of the system are; it is read when a client is made.
    let mut client = Command::new(std::env::current_exe().unwrap());
    client
        .args(["--exact", TEST])
        .env("SSL_CERT_FILE", &file)
        .env(URL, format!("https://localhost:{port}"));
    let ended = tokio::task::spawn_blocking(move || client.output());
    let ended = ended.await.unwrap().unwrap();
    std::fs::remove_file(&file).unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.success(), String::from_utf8(said).unwrap())
}

fn uuid() -> String {
    statehouse_contracts::MessageId::random().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_the_system_vouches_for_is_trusted_and_no_other() {
    if let Ok(url) = std::env::var(URL) {
        return open_and_close(&url).await;
    }
    let (port, certificate) = serve().await;
    let (opened, said) = opens(port, certificate).await;
    assert!(opened && said.contains("1 passed"), "{said}");
    let (_, other) = serve().await;
    let (opened, said) = opens(port, other).await;
    assert!(!opened && said.contains("certificate"), "{said}");
}

/// What the client does, in a process of its own.
async fn open_and_close(url: &str) {
    let opened = HttpFactory.open(&Endpoint::parse(url).unwrap()).await;
    let backend = opened.unwrap_or_else(|error| {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        panic!("{error}")
    });
    backend.close().await.unwrap();
}
