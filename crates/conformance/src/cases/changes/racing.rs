//! Readers beside many writers.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use statehouse_contracts::{Change, Cursor, Version};
use tokio::task::JoinHandle;

use crate::case::case;
use crate::cases::shelf::{Shelf, append, put};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(a_reader_beside_many_writers_misses_nothing),
        case!(a_waiting_reader_beside_many_writers_misses_nothing),
        case!(two_readers_see_the_same_order),
    ]
}

const WRITERS: usize = 6;
const ROUNDS: usize = 12;
const KEYS: usize = 4;

/// Each round writes two keys of all writers and one of its own, in one transaction.
async fn write(shelf: Shelf, writer: usize) -> Outcome {
    for round in 0..ROUNDS {
        let (first, second) = ((writer + round) % KEYS, (writer + round + 1) % KEYS);
        let text = format!("{writer}.{round}");
        let own = format!("own {writer}");
        let keys = [format!("k{first}"), format!("k{second}")];
        shelf
            .apply([
                append(&keys[0], &text),
                put(&own, &text),
                put(&keys[1], &text),
            ])
            .await?;
    }
    Ok(())
}

fn start(shelves: Vec<Shelf>) -> JoinHandle<Outcome> {
    tokio::spawn(async move {
        let writers = shelves.into_iter().enumerate();
        let tasks: Vec<_> = writers
            .map(|(n, shelf)| tokio::spawn(write(shelf, n)))
            .collect();
        for task in tasks {
            task.await
                .map_err(|error| Failure::new(error.to_string()))??;
        }
        Ok(())
    })
}

async fn shelves(cx: &Context) -> Result<Vec<Shelf>, Failure> {
    let mut all = Vec::new();
    for _ in 0..WRITERS {
        all.push(Shelf::new(cx).await?);
    }
    Ok(all)
}

/// Reads by pages of three until all writers are done and the log has ended.
async fn read(
    shelf: Shelf,
    from: Cursor,
    wait: Duration,
    done: Arc<AtomicBool>,
) -> Result<Vec<Change>, Failure> {
    let (mut all, mut cursor) = (Vec::new(), from);
    loop {
        let last = done.load(Ordering::SeqCst);
        let page = shelf.state.changes(&cursor, 3, wait).await?;
        ensure(page.changes.len() <= 3, "a page holds at most the limit")?;
        if page.changes.is_empty() && last {
            return Ok(all);
        }
        all.extend(page.changes);
        cursor = page.next;
        tokio::task::yield_now().await;
    }
}

/// Every version of every key exactly once, in order; commits in order and whole.
fn is_complete(changes: &[Change]) -> Outcome {
    ensure_eq(changes.len(), WRITERS * ROUNDS * 3, "the number of changes")?;
    let mut versions: BTreeMap<&str, Version> = BTreeMap::new();
    for change in changes {
        let last = versions.entry(change.key.id.as_str()).or_default();
        ensure_eq(
            change.version,
            *last + 1,
            &format!("the next version of {}", change.key),
        )?;
        *last = change.version;
    }
    ensure(
        changes.is_sorted_by_key(|change| change.commit),
        "the commits are in order",
    )?;
    let whole = changes
        .chunks(3)
        .all(|three| three.iter().all(|c| c.commit == three[0].commit));
    ensure(whole, "the changes of a commit stand together")?;
    let cursors: HashSet<&Cursor> = changes.iter().map(|change| &change.cursor).collect();
    ensure_eq(
        cursors.len(),
        changes.len(),
        "the number of different cursors",
    )
}

/// Writes and reads at the same time, with so many readers.
async fn race(cx: &Context, readers: usize, wait: Duration) -> Result<Vec<Vec<Change>>, Failure> {
    let shelves = shelves(cx).await?;
    let from = shelves[0].state.head().await?;
    let done = Arc::new(AtomicBool::new(false));
    let mut reading = Vec::new();
    for _ in 0..readers {
        let shelf = Shelf::new(cx).await?;
        reading.push(tokio::spawn(read(shelf, from.clone(), wait, done.clone())));
    }
    let written = start(shelves)
        .await
        .map_err(|error| Failure::new(error.to_string()));
    done.store(true, Ordering::SeqCst);
    written??;
    let mut all = Vec::new();
    for reader in reading {
        all.push(
            reader
                .await
                .map_err(|error| Failure::new(error.to_string()))??,
        );
    }
    Ok(all)
}

async fn a_reader_beside_many_writers_misses_nothing(cx: Context) -> Outcome {
    let seen = race(&cx, 1, Duration::ZERO).await?;
    is_complete(&seen[0])
}

async fn a_waiting_reader_beside_many_writers_misses_nothing(cx: Context) -> Outcome {
    let seen = race(&cx, 1, Duration::from_millis(50)).await?;
    is_complete(&seen[0])
}

async fn two_readers_see_the_same_order(cx: Context) -> Outcome {
    let seen = race(&cx, 2, Duration::from_millis(5)).await?;
    is_complete(&seen[0])?;
    ensure(seen[0] == seen[1], "both readers see the same")
}
