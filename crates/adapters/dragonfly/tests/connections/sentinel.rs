//! Sentinels: the primary is found through one, also after another has taken its place.

use std::time::{Duration, Instant};

use statehouse_contracts::{ErrorKind, StateKey, StateManagerExt};
use statehouse_integration_tests::{Options, Outcome, Server, Service};

use super::{PATIENCE, cli, open, put, start, state, until};

const SENTINEL: &str = "
port ${sentinel}
sentinel monitor main 127.0.0.1 ${first} 1
sentinel down-after-milliseconds main 1000
sentinel failover-timeout main 5000
";

/// A primary, its replica and a sentinel that knows both.
async fn three(
    service: &'static Service,
) -> Result<Server, Box<dyn std::error::Error + Send + Sync>> {
    let server = Options::new(service)
        .port("first")
        .port("second")
        .port("sentinel")
        .file("/tmp/sentinel/sentinel.conf", SENTINEL)
        .start()
        .await?;
    let [first, second] = [server.port("first")?, server.port("second")?];
    let [one, two] = [first.to_string(), second.to_string()];
    let told = |outcome: Outcome| outcome.map_err(|e| format!("{e:?}"));
    let primary = ["--port", &one, "--dir", "/tmp/sentinel", "--save", ""];
    told(start(&server, service, &primary).await)?;
    let replica = [
        "--port",
        &two,
        "--dir",
        "/tmp/sentinel",
        "--save",
        "",
        "--replicaof",
    ];
    let replica = [&replica[..], &["127.0.0.1", &one]].concat();
    told(start(&server, service, &replica).await)?;
    let link = "master_link_status:up";
    told(until(&server, service, second, &["INFO", "replication"], link).await)?;
    let watcher = ["/tmp/sentinel/sentinel.conf", "--sentinel"];
    told(start(&server, service, &watcher).await)?;
    let sentinel = server.port("sentinel")?;
    told(
        until(
            &server,
            service,
            sentinel,
            &["SENTINEL", "replicas", "main"],
            &two,
        )
        .await,
    )?;
    Ok(server)
}

pub(super) async fn a_failover_is_found_through_the_sentinel(service: &'static Service) -> Outcome {
    let server = three(service).await?;
    let [first, second, sentinel] = [
        server.port("first")?,
        server.port("second")?,
        server.port("sentinel")?,
    ];
    let url = format!("redis://127.0.0.1:{sentinel}/0?sentinel=main&timeout=2s");
    let backend = open(&url).await?;
    let state = state(&*backend, "sentinel").await?;
    put(&*state, "before").await?;
    until(
        &server,
        service,
        second,
        &["DBSIZE"],
        &cli(&server, service, first, &["DBSIZE"]).await?,
    )
    .await?;

    // It ends without an answer.
    let _ = cli(&server, service, first, &["SHUTDOWN", "NOSAVE"]).await;
    let limit = Instant::now() + PATIENCE;
    while let Err(error) = put(&*state, "after").await {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(
            Instant::now() < limit,
            "the new primary is not found: {error}"
        );
        // sleep: between two looks of a poll with a deadline
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let kept = state.get(&StateKey::parse("note", "before")?).await?;
    assert!(kept.is_some(), "what the replica had is still there");
    let role = cli(&server, service, second, &["ROLE"]).await?;
    assert!(role.starts_with("master"), "{role}");
    Ok(backend.close().await?)
}
