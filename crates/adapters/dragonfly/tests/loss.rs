//! What becomes of callers, and of what was accepted, when the server goes away.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use statehouse_contracts::{
    Backend, ContentType, Durability, Endpoint, Error, ErrorKind, Factory, Result, Scope, StateKey,
    StateManager, StateManagerExt, Transaction, Write,
};
use statehouse_dragonfly::DragonflyFactory;
use statehouse_integration_tests::{Options, Outcome, Server, Service, Tests, cases};

fn main() -> ExitCode {
    Tests::of_adapter("dragonfly")
        .with(cases![
            nothing_accepted_is_lost_when_the_server_is_killed,
            a_server_that_is_paused_hangs_no_caller,
            a_connection_that_is_cut_is_made_again,
            a_network_that_swallows_everything_hangs_no_caller,
            who_waits_for_changes_is_woken_after_a_restart,
        ])
        .main()
}

/// How long an answer may take in these tests, and how soon all must work again.
const TIMEOUT: Duration = Duration::from_secs(2);
const RECOVERY: Duration = Duration::from_secs(10);

/// A call that takes this long hangs: its timeout, the wait for a connection, a slow machine.
const HANGS: Duration = Duration::from_secs(8);

async fn open(server: &Server) -> Result<(Arc<dyn Backend>, Arc<dyn StateManager>)> {
    let endpoint = Endpoint::parse(&format!("{}?timeout=2s", server.url()))?;
    let backend = DragonflyFactory.open(&endpoint).await?;
    let state = backend.state(&Scope::parse("loss", "tester")?).await?;
    Ok((backend, state))
}

fn key(id: &str) -> StateKey {
    StateKey::parse("note", id).expect("a valid key")
}

async fn put(state: &dyn StateManager, id: &str) -> Result<()> {
    let write = Write::put(key(id), id.to_owned(), ContentType::TEXT);
    state.apply(Transaction::of(write)).await.map(|_| ())
}

/// A caller meanwhile hears that it may try again, or that it cannot know.
fn is_bearable(error: &Error) -> bool {
    error.kind() == ErrorKind::Unavailable
}

/// Calls until it succeeds; no call may hang, and every error must be bearable.
async fn works_again(state: &dyn StateManager, id: &str) -> Outcome {
    let limit = Instant::now() + RECOVERY;
    loop {
        let begun = Instant::now();
        let answer = put(state, id).await;
        assert!(begun.elapsed() < HANGS, "a call took {:?}", begun.elapsed());
        match answer {
            Ok(()) => return Ok(()),
            Err(error) => {
                assert!(is_bearable(&error), "{error}");
                assert!(
                    Instant::now() < limit,
                    "not working within {RECOVERY:?}: {error}"
                );
                // sleep: between two looks of a poll with a deadline
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Reading and writing fail as they should, in time, while the server does not answer.
async fn fails_in_time(state: &dyn StateManager) {
    let begun = Instant::now();
    let read = state.get(&key("before")).await.expect_err("no answer");
    assert!(is_bearable(&read) && !read.is_ambiguous(), "{read}");
    let write = put(state, "meanwhile").await.expect_err("no answer");
    assert!(is_bearable(&write), "{write}");
    assert!(
        begun.elapsed() < HANGS,
        "two calls took {:?}",
        begun.elapsed()
    );
}

/// Writes records of its own until told to stop; answers which were accepted.
async fn load(state: Arc<dyn StateManager>, writer: usize, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut accepted = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("{writer}-{number}");
        let begun = Instant::now();
        match put(&*state, &id).await {
            Ok(()) => accepted.push(id),
            Err(error) => assert!(is_bearable(&error), "{error}"),
        }
        assert!(begun.elapsed() < HANGS, "a call took {:?}", begun.elapsed());
    }
    accepted
}

async fn nothing_accepted_is_lost_when_the_server_is_killed(service: &'static Service) -> Outcome {
    if service.name() == "dragonfly" {
        // It keeps snapshots only, and claims to survive nothing.
        return Ok(());
    }
    let safe = [
        "--appendfsync",
        "always",
        "--no-appendfsync-on-rewrite",
        "no",
    ];
    let server = Options::new(service).arguments(safe).start().await?;
    let (backend, state) = open(&server).await?;
    assert_eq!(state.capability().durability, Durability::DISK);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8)
        .map(|writer| tokio::spawn(load(state.clone(), writer, stop.clone())))
        .collect();
    for _ in 0..2 {
        // sleep: the load must be under way when the server dies
        tokio::time::sleep(Duration::from_millis(700)).await;
        server.kill().await?;
        server.restart().await?;
        works_again(&*state, "again").await?;
    }
    stop.store(true, Ordering::Relaxed);
    let mut count = 0;
    for writer in writers {
        for id in writer.await.map_err(|error| error.to_string())? {
            let kept = state.get(&key(&id)).await?;
            assert!(kept.is_some(), "{id} was accepted and is lost");
            count += 1;
        }
    }
    assert!(count > 0, "something was accepted");
    Ok(backend.close().await?)
}

async fn a_server_that_is_paused_hangs_no_caller(service: &'static Service) -> Outcome {
    let server = Server::start(service).await?;
    let (backend, state) = open(&server).await?;
    put(&*state, "before").await?;
    server.pause().await?;
    fails_in_time(&*state).await;
    server.unpause().await?;
    works_again(&*state, "after").await?;
    Ok(backend.close().await?)
}

async fn a_connection_that_is_cut_is_made_again(service: &'static Service) -> Outcome {
    let server = Options::new(service).proxied().start().await?;
    let (backend, state) = open(&server).await?;
    put(&*state, "before").await?;
    server.cut()?;
    fails_in_time(&*state).await;
    server.restore()?;
    works_again(&*state, "after").await?;
    assert!(state.get(&key("before")).await?.is_some());
    Ok(backend.close().await?)
}

async fn a_network_that_swallows_everything_hangs_no_caller(service: &'static Service) -> Outcome {
    let server = Options::new(service).proxied().start().await?;
    let (backend, state) = open(&server).await?;
    put(&*state, "before").await?;
    server.hold()?;
    fails_in_time(&*state).await;
    server.restore()?;
    works_again(&*state, "after").await?;
    Ok(backend.close().await?)
}

async fn who_waits_for_changes_is_woken_after_a_restart(service: &'static Service) -> Outcome {
    let server = Server::start(service).await?;
    let (backend, state) = open(&server).await?;
    let head = state.head().await?;
    let waiting = tokio::spawn({
        let state = state.clone();
        async move { state.changes(&head, 0, Duration::from_secs(60)).await }
    });
    // sleep: the call must be waiting when the server ends
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.stop().await?;
    server.restart().await?;
    works_again(&*state, "after").await?;
    let page = tokio::time::timeout(RECOVERY + TIMEOUT, waiting).await;
    match page
        .map_err(|_| "nobody was woken")?
        .map_err(|error| error.to_string())?
    {
        Ok(page) => assert_eq!(page.changes[0].key, key("after")),
        // The log may be gone with the server, and says so.
        Err(error) => assert!(
            is_bearable(&error) || error.kind() == ErrorKind::CursorLost,
            "{error}"
        ),
    }
    Ok(backend.close().await?)
}
