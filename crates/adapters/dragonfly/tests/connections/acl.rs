//! Users with few rights.

use statehouse_contracts::ErrorKind;
use statehouse_integration_tests::{Outcome, Server, Service};

use super::{cli, open, put, refusal, state, works};

/// The rights that the README names.
const DOCUMENTED: [&str; 6] = [
    "~sh:*",
    "&sh:*",
    "+@all",
    "-@dangerous",
    "+info",
    "+config|get",
];

const INSIDE: u16 = 6379;

/// The URL for a new user with these rights, and with those taken away.
async fn user(
    server: &Server,
    service: &Service,
    name: &str,
    without: &[&str],
) -> Result<String, String> {
    let password = format!(">secret-of-{name}");
    let mut words = vec!["ACL", "SETUSER", name, "on", &password];
    words.extend(DOCUMENTED);
    words.extend(without);
    cli(server, service, INSIDE, &words).await?;
    let place = server.url().trim_start_matches("redis://");
    Ok(format!("redis://{name}:secret-of-{name}@{place}"))
}

pub(super) async fn a_user_with_the_documented_rights_works(service: &'static Service) -> Outcome {
    let server = Server::start(service).await?;
    let url = user(&server, service, "app", &[]).await?;
    let backend = open(&url).await?;
    works(&*backend).await?;
    backend.close().await?;
    let wrong = refusal(&url.replace("secret-of", "no-secret-of")).await?;
    assert_eq!(wrong.kind(), ErrorKind::PermissionDenied, "{wrong}");
    assert!(wrong.to_string().contains("credentials"), "{wrong}");
    Ok(())
}

pub(super) async fn a_user_with_few_rights_hears_which_is_missing(
    service: &'static Service,
) -> Outcome {
    let server = Server::start(service).await?;
    let table = [
        ("no-scripts", &["-evalsha", "-eval"][..], "evalsha"),
        ("no-writes", &["-xadd"], "command"),
        ("no-keys", &["resetkeys", "~other:*"], "key"),
    ];
    for (name, without, names) in table {
        let url = user(&server, service, name, without).await?;
        let attempt = async {
            let backend = open(&url).await?;
            let state = state(&*backend, "few").await?;
            put(&*state, "a").await
        };
        let Err(error) = attempt.await else {
            return Err(format!("{name}: it works, and should not").into());
        };
        let said = error.to_string();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{name}: {said}");
        assert!(error.message().contains(names), "{name}: {said}");
        assert!(!error.is_ambiguous(), "{name}: {said}");
    }
    Ok(())
}
