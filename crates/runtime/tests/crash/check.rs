//! What must hold in the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_contracts::{
    HistoryQuery, StateKey, StateManager, StateManagerExt, TaskState, Version,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ledger::Ledger;
use crate::load;
use crate::server::{Server, scope};

/// How long the rest may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn everything(server: &Server, ledger: &Arc<Ledger>) {
    let backend = server.connect().await;
    let state = backend.state(&scope()).await.unwrap();
    let versions = written_is_there(&*state, ledger).await;
    changes_are_complete(&*state, &versions).await;
    drain(server, ledger, &versions).await;

    assert_eq!(
        ledger.missing_messages().len(),
        0,
        "acknowledged messages are lost"
    );
    let tasks = backend.tasks(&scope()).await.unwrap();
    for id in ledger.open_tasks() {
        // Its completion may have been done and not answered.
        let state = tasks.get(&id).await.unwrap().map(|task| task.state);
        assert_eq!(state, Some(TaskState::Completed), "task {id}");
    }
    for (key, last) in &versions {
        let events = ledger.events_of(&key.to_string());
        assert_eq!(
            events,
            (1..=*last).collect::<Vec<_>>(),
            "the events of {key}"
        );
    }
    assert_eq!(ledger.violations(), Vec::<String>::new());
}

/// Every acknowledged version reads back; answers the last version of each key.
async fn written_is_there(state: &dyn StateManager, ledger: &Ledger) -> HashMap<StateKey, Version> {
    let mut versions = HashMap::new();
    for (key, acknowledged) in ledger.written() {
        let current = state.get(&key).await.unwrap().unwrap();
        let mut stored = HashMap::new();
        let mut query = HistoryQuery::default();
        loop {
            let page = state.history(&key, query).await.unwrap();
            let Some(last) = page.last() else { break };
            query.before = Some(last.version);
            stored.extend(page.into_iter().map(|record| (record.version, record.data)));
        }
        assert_eq!(stored.len() as u64, current.version, "the history of {key}");
        for (version, data) in acknowledged {
            assert_eq!(
                stored.get(&version).map(|data| &data[..]),
                Some(data.as_bytes()),
                "{key} at {version}"
            );
        }
        versions.insert(key, current.version);
    }
    versions
}

/// The change log has every version of every key once, in order.
async fn changes_are_complete(state: &dyn StateManager, versions: &HashMap<StateKey, Version>) {
    let mut seen: HashMap<StateKey, Version> = HashMap::new();
    let mut cursor = state.oldest().await.unwrap();
    loop {
        let page = state.changes(&cursor, 0, Duration::ZERO).await.unwrap();
        if page.changes.is_empty() {
            break;
        }
        for change in page.changes {
            let last = seen.entry(change.key.clone()).or_default();
            assert_eq!(change.version, *last + 1, "the changes of {}", change.key);
            *last = change.version;
        }
        cursor = page.next;
    }
    assert_eq!(&seen, versions);
}

/// Lets consumers and workers take what is left.
async fn drain(server: &Server, ledger: &Arc<Ledger>, versions: &HashMap<StateKey, Version>) {
    let backend = server.connect().await;
    let consumer = backend.consumer(&scope()).await.unwrap();
    let tasks = backend.tasks(&scope()).await.unwrap();
    let stop = CancellationToken::new();
    let mut running = JoinSet::new();
    running.spawn(load::receive(
        consumer.clone(),
        Arc::clone(ledger),
        stop.clone(),
    ));
    running.spawn(load::listen(consumer, Arc::clone(ledger), stop.clone()));
    running.spawn(load::work(tasks.clone(), Arc::clone(ledger), stop.clone()));
    let started = Instant::now();
    loop {
        let depth = tasks.depth(&load::stack()).await.unwrap();
        let events = versions
            .iter()
            .all(|(key, last)| ledger.events_of(&key.to_string()).len() as u64 >= *last);
        let worked = depth.ready + depth.running + depth.delayed == 0;
        if ledger.missing_messages().is_empty() && worked && events {
            break;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "not drained in time: {depth:?}, {} messages missing, events complete: {events}",
            ledger.missing_messages().len()
        );
        // sleep: the interval of a poll with a deadline.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.cancel();
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
}
