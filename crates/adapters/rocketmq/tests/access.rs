//! Brokers that do not let everybody in: ACL and TLS.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{
    Backend, ConsumerExt, Endpoint, Error, ErrorKind, Factory, GroupName, GroupSpec, Message,
    Pattern, Payload, Producer, ProducerExt, Result, Scope, Topic,
};
use statehouse_integration_tests::{Authority, Options, Outcome, Server, Service, Tests, cases};
use statehouse_rocketmq::RocketmqFactory;

/// How long a broker may take to hand out what was sent.
const WAIT: Duration = Duration::from_secs(10);

/// As the table of services says.
const ADMIN: &str = "admin-of-tests";
const SECRET: &str = "open-sesame-4711";

const APP: &str = "app-of-tests";
const OTHER: &str = "close-sesame-0815";

fn main() -> ExitCode {
    Tests::of_adapter("rocketmq")
        .with(cases![
            acl_lets_in_whom_it_knows,
            tls_trusts_the_given_authority_alone,
        ])
        .main()
}

async fn acl_lets_in_whom_it_knows(service: &'static Service) -> Outcome {
    let server = Options::new(service).variant("acl")?.start().await?;
    let place = server.url().trim_start_matches("rocketmq://").to_owned();
    let url = |user: &str, secret: &str| format!("rocketmq://{user}:{secret}@{place}");
    works(&url(ADMIN, SECRET)).await?;

    let table = [
        (url(ADMIN, OTHER), "refuses the access key"),
        (url("nobody-of-tests", SECRET), "refuses the access key"),
        (server.url().to_owned(), "wants an access key"),
    ];
    for (url, says) in table {
        let error = refusal(&url).await?;
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.message().contains(says), "{error}");
        shows_no_secret(&error);
    }
    a_user_keeps_to_its_rights(&server, &url(APP, SECRET)).await
}

/// The rights that the README names are enough for the groups that they name, and for no other.
async fn a_user_keeps_to_its_rights(server: &Server, url: &str) -> Outcome {
    let user = format!("createUser -u {APP} -p {SECRET} -t Normal");
    admin(server, &user).await?;
    let rights = format!(
        "createAcl -s User:{APP} -r 'Topic:*,Group:statehouse*' \
         -a Pub,Sub,Create,Update,Delete,Get,List -d Allow"
    );
    admin(server, &rights).await?;
    works(url).await?;
    let backend = open(&format!("{url}?consumer_group=other")).await?;
    let consumer = backend.consumer(&Scope::parse("works", "tester")?).await?;
    let spec = GroupSpec::new(Pattern::ALL);
    let declared = consumer.declare(&GroupName::new("g")?, &spec).await;
    let error = declared.expect_err("it may not make this group");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.message().contains("no permission"), "{error}");
    shows_no_secret(&error);
    Ok(backend.close().await?)
}

async fn tls_trusts_the_given_authority_alone(service: &'static Service) -> Outcome {
    let (authority, stranger) = (Authority::new("ours")?, Authority::new("theirs")?);
    let server = with_tls(service, &authority).await?;
    let folder = tempfile::tempdir()?;
    let (ours, theirs) = (
        folder.path().join("ours.pem"),
        folder.path().join("theirs.pem"),
    );
    std::fs::write(&ours, authority.pem())?;
    std::fs::write(&theirs, stranger.pem())?;
    let trusting =
        |file: &Path| format!("{}?tls=true&tls_ca_file={}", server.url(), file.display());
    works(&trusting(&ours)).await?;
    works(&format!("{}?tls=true&tls_verify=false", server.url())).await?;

    let elsewhere = trusting(&ours).replace("127.0.0.1", "localhost");
    let table = [
        (
            trusting(&theirs),
            ErrorKind::PermissionDenied,
            "UnknownIssuer",
        ),
        (elsewhere, ErrorKind::PermissionDenied, "NotValidForName"),
        (
            trusting(Path::new("/no/such")),
            ErrorKind::InvalidArgument,
            "tls_ca_file names",
        ),
        (
            server.url().to_owned(),
            ErrorKind::Unavailable,
            "add tls=true",
        ),
    ];
    for (url, kind, says) in table {
        let error = refusal(&url).await?;
        assert_eq!(error.kind(), kind, "{url}: {error}");
        assert!(error.message().contains(says), "{url}: {error}");
    }
    Ok(())
}

/// With a certificate of this authority.
async fn with_tls(service: &'static Service, authority: &Authority) -> Result<Server> {
    let (certificate, key) = authority.signs("127.0.0.1")?;
    Options::new(service)
        .variant("tls")?
        .file("/etc/statehouse/server.pem", certificate)
        .file("/etc/statehouse/server.key", key)
        .start()
        .await
}

async fn open(url: &str) -> Result<Arc<dyn Backend>> {
    RocketmqFactory.open(&Endpoint::parse(url)?).await
}

/// The error of opening, which must fail.
async fn refusal(url: &str) -> std::result::Result<Error, String> {
    match open(url).await {
        Ok(_) => Err(format!("{url}: it opens, and should not")),
        Err(error) => Ok(error),
    }
}

/// Declares, sends, receives, settles, looks and deletes.
async fn works(url: &str) -> Outcome {
    let backend = open(url).await?;
    let scope = Scope::parse("works", "tester")?;
    let consumer = backend.consumer(&scope).await?;
    let group = GroupName::new("g")?;
    consumer
        .declare(&group, &GroupSpec::new(Pattern::ALL))
        .await?;
    let message = send(&*backend.producer(&scope).await?).await?;
    let delivery = consumer.receive_one(&group, WAIT).await?;
    let delivery = delivery.ok_or("nothing came")?;
    assert_eq!(delivery.received.message.id, message.id);
    consumer.ack(&delivery).await?;
    let groups = consumer.groups().await?;
    assert!(groups.iter().any(|it| it.group == group), "{groups:?}");
    assert!(consumer.delete_group(&group).await?);
    Ok(backend.close().await?)
}

async fn send(producer: &dyn Producer) -> Result<Message> {
    let message = Message::new(Topic::new("t")?, Payload::text("a"));
    producer.send_one(message.clone()).await?;
    Ok(message)
}

/// Runs the broker's own tool as its administrator.
async fn admin(server: &Server, words: &str) -> Outcome {
    let script = format!(
        "mkdir -p $ROCKETMQ_HOME/conf && printf 'accessKey: {ADMIN}\nsecretKey: {SECRET}\n' \
         > $ROCKETMQ_HOME/conf/tools.yml && cd $ROCKETMQ_HOME/bin && \
         export JAVA_OPT_EXT=-XX:TieredStopAtLevel=1 && sh mqadmin {words} -n 127.0.0.1:9876 -c statehouse"
    );
    let output = server.exec(["bash", "-c", &script]).await?;
    match output.stdout.contains("success") {
        true => Ok(()),
        false => Err(format!("{words}: {output:?}").into()),
    }
}

fn shows_no_secret(error: &Error) {
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(SECRET) && !shown.contains(OTHER), "{shown}");
}
