//! TLS: whom the client trusts, and whom the server does.

use statehouse_contracts::ErrorKind;
use statehouse_integration_tests::{Authority, Options, Outcome, Server, Service};

use super::{open, refusal, works};

/// A server that speaks TLS, with a certificate of `authority`.
async fn start(
    service: &'static Service,
    authority: &Authority,
    asks_clients: &str,
) -> Result<Server, Box<dyn std::error::Error + Send + Sync>> {
    let (certificate, key) = authority.signs("127.0.0.1")?;
    let started = Options::new(service)
        .port("tls")
        .file("/tmp/tls/ca.pem", authority.pem())
        .file("/tmp/tls/server.pem", certificate)
        .file("/tmp/tls/server.key", key)
        .arguments(["--tls-port", "${tls}", "--tls-auth-clients", asks_clients])
        .arguments(["--tls-cert-file", "/tmp/tls/server.pem"])
        .arguments(["--tls-key-file", "/tmp/tls/server.key"])
        .arguments(["--tls-ca-cert-file", "/tmp/tls/ca.pem"])
        .start();
    Ok(started.await?)
}

pub(super) async fn tls_trusts_the_given_authority_alone(service: &'static Service) -> Outcome {
    let (authority, stranger) = (Authority::new("ours")?, Authority::new("theirs")?);
    let server = start(service, &authority, "no").await?;
    let folder = tempfile::tempdir()?;
    let (ours, theirs) = (
        folder.path().join("ours.pem"),
        folder.path().join("theirs.pem"),
    );
    std::fs::write(&ours, authority.pem())?;
    std::fs::write(&theirs, stranger.pem())?;
    let url = format!("rediss://127.0.0.1:{}/0", server.port("tls")?);

    let backend = open(&format!("{url}?tls_ca={}", ours.display())).await?;
    works(&*backend).await?;
    backend.close().await?;

    let wrong = refusal(&format!("{url}?tls_ca={}", theirs.display())).await?;
    let said = wrong.to_string();
    assert_eq!(wrong.kind(), ErrorKind::PermissionDenied, "{said}");
    assert!(
        said.contains("certificate") && said.contains("tls_ca"),
        "{said}"
    );
    assert!(said.contains("UnknownIssuer"), "it names the cause: {said}");

    let elsewhere = url.replace("127.0.0.1", "localhost");
    let other_name = refusal(&format!("{elsewhere}?tls_ca={}", ours.display())).await?;
    let said = other_name.to_string();
    assert_eq!(other_name.kind(), ErrorKind::PermissionDenied, "{said}");

    let plain = server.url().replace("redis:", "rediss:");
    let no_tls = refusal(&format!(
        "{plain}?tls_ca={}&connect_timeout=2s",
        ours.display()
    ))
    .await?;
    assert_eq!(no_tls.kind(), ErrorKind::Unavailable, "{no_tls}");
    Ok(())
}

pub(super) async fn a_client_proves_who_it_is(service: &'static Service) -> Outcome {
    let authority = Authority::new("ours")?;
    let server = start(service, &authority, "yes").await?;
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    let (certificate, key) = authority.signs("client")?;
    std::fs::write(file("ca.pem"), authority.pem())?;
    std::fs::write(file("client.pem"), certificate)?;
    std::fs::write(file("client.key"), key)?;
    let ca = file("ca.pem");
    let url = format!(
        "rediss://127.0.0.1:{}/0?tls_ca={}",
        server.port("tls")?,
        ca.display()
    );

    let nobody = refusal(&format!("{url}&connect_timeout=2s")).await?;
    let kinds = [ErrorKind::Unavailable, ErrorKind::PermissionDenied];
    assert!(kinds.contains(&nobody.kind()), "{nobody}");

    let (certificate, key) = (file("client.pem"), file("client.key"));
    let known = format!(
        "{url}&tls_cert={}&tls_key={}",
        certificate.display(),
        key.display()
    );
    let backend = open(&known).await?;
    works(&*backend).await?;
    Ok(backend.close().await?)
}
