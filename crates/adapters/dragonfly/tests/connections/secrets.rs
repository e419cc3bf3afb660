//! No password in what people and logs get to see.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};

use statehouse_contracts::{Endpoint, ErrorKind, Scope};
use statehouse_dragonfly::Config;
use statehouse_integration_tests::{Options, Outcome, Service};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::{open, put, refusal, works};

const RIGHT: &str = "open-sesame-4711";
const WRONG: &str = "close-sesame-0815";

/// Who must be heard: the adapter, and its client library.
const HEARD: [&str; 2] = [" statehouse_dragonfly::", " fred::"];

/// What sets the server's password: its requests have it in them.
const DOCKER: [&str; 4] = ["bollard", "hyper", "hyper_util", "testcontainers"];

/// What was logged in this process, except by Docker's client.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .map_err(|_| io::ErrorKind::Other)?
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Log {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        let but_docker = Targets::new()
            .with_default(LevelFilter::TRACE)
            .with_targets(DOCKER.map(|name| (name, LevelFilter::OFF)));
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(log.clone())
            .finish()
            .with(but_docker)
            .init();
        log
    })
}

pub(super) async fn no_password_shows_anywhere(service: &'static Service) -> Outcome {
    let log = log();
    let server = Options::new(service).proxied().start().await?;
    let place = server.url().trim_start_matches("redis://").to_owned();
    let inside = [
        &format!("{}-cli", service.name()),
        "CONFIG",
        "SET",
        "requirepass",
        RIGHT,
    ];
    server.exec(inside).await?;
    let url = |password: &str| format!("redis://:{password}@{place}?timeout=1s");
    let mut shown = Vec::new();

    let endpoint = Endpoint::parse(&url(RIGHT))?;
    let config: Config = endpoint.parameters()?;
    shown.push(format!("{endpoint} {endpoint:?} {config:?}"));
    for refused in [
        url(WRONG),
        server.url().to_owned(),
        format!("{}&surprise=1", url(RIGHT)),
    ] {
        let error = refusal(&refused).await?;
        shown.push(format!("{error} {error:?}"));
    }
    let error = refusal(&url(WRONG)).await?;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");

    let backend = open(&url(RIGHT)).await?;
    works(&*backend).await?;
    let scope = Scope::parse("secrets", "tester")?;
    let state = backend.state(&scope).await?;
    let (producer, consumer) = (
        backend.producer(&scope).await?,
        backend.consumer(&scope).await?,
    );
    let (tasks, references) = (
        backend.tasks(&scope).await?,
        backend.references(&scope).await?,
    );
    shown.push(format!("{backend:?} {:?}", backend.info().await?));
    shown.push(format!(
        "{state:?} {producer:?} {consumer:?} {tasks:?} {references:?}"
    ));
    server.hold()?;
    // The connection is replaced, and a warning says so.
    let error = put(&*state, "a").await.expect_err("nothing is answered");
    shown.push(format!("{error} {error:?}"));
    server.cut()?;
    let error = put(&*state, "a").await.expect_err("the connection is cut");
    shown.push(format!("{error} {error:?}"));
    server.restore()?;
    shown.push(format!("{backend:?}"));
    backend.close().await?;

    let logged = log.0.lock().map_err(|_| "the log is broken")?.clone();
    let logged = String::from_utf8_lossy(&logged).into_owned();
    for who in HEARD {
        assert!(logged.contains(who), "nothing is heard of{who}");
    }
    shown.push(logged);
    for line in shown.iter().flat_map(|text| text.lines()) {
        for password in [RIGHT, WRONG] {
            assert!(!line.contains(password), "a password is shown: {line}");
        }
    }
    Ok(())
}
