//! Waiting for changes.

use std::time::{Duration, Instant};

use statehouse_contracts::{ChangePage, Cursor, Error, ErrorKind};
use tokio::task::JoinHandle;

use crate::case::case;
use crate::cases::shelf::{Shelf, delete, put, told};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(what_is_there_comes_at_once),
        case!(nothing_in_time_is_ok_and_empty),
        case!(a_write_wakes_who_waits),
        case!(a_write_by_another_handle_wakes_who_waits),
        case!(all_who_wait_are_woken),
        case!(a_write_in_another_namespace_wakes_nobody),
        case!(dropping_a_wait_loses_nothing),
        case!(closing_the_handle_ends_the_wait),
        case!(closing_the_backend_ends_the_wait),
        case!(a_write_by_another_process_wakes_who_waits).reopens(),
    ]
}

type Waiting = JoinHandle<Result<ChangePage, Error>>;

fn wait(shelf: &Shelf, after: &Cursor) -> Waiting {
    let (shelf, after) = (shelf.clone(), after.clone());
    tokio::spawn(async move { shelf.state.changes(&after, 0, shelf.patience).await })
}

async fn answer(waiting: Waiting) -> Result<Result<ChangePage, Error>, Failure> {
    waiting
        .await
        .map_err(|error| Failure::new(error.to_string()))
}

/// Waits from the head; then `write` must end the wait early.
async fn is_woken(reader: &Shelf, writer: &Shelf) -> Outcome {
    let head = reader.state.head().await?;
    let waiting = wait(reader, &head);
    // sleep: a call that waits cannot be told from one that has not begun
    tokio::time::sleep(reader.quiet).await;
    ensure(!waiting.is_finished(), "without a change the call waits")?;
    writer.write(put("k", "a")).await?;
    let start = Instant::now();
    let page = answer(waiting).await??;
    let names: Vec<String> = page.changes.iter().map(told).collect();
    ensure_eq(names, ["put k 1"], "the changes")?;
    ensure(
        start.elapsed() < reader.patience / 2,
        "the wait ends soon after the write",
    )
}

async fn what_is_there_comes_at_once(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let head = shelf.state.head().await?;
    shelf.write_all([put("k", "a"), delete("k")]).await?;
    let start = Instant::now();
    let page = shelf.state.changes(&head, 0, shelf.patience).await?;
    ensure_eq(page.changes.len(), 2, "the number of changes")?;
    ensure(start.elapsed() < shelf.patience / 2, "it does not wait")
}

async fn nothing_in_time_is_ok_and_empty(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put("k", "a")).await?;
    let head = shelf.state.head().await?;
    let start = Instant::now();
    let page = shelf.state.changes(&head, 0, shelf.quiet).await?;
    ensure(start.elapsed() >= shelf.quiet, "it waits as long as asked")?;
    ensure_eq((page.changes.len(), page.next), (0, head), "the page")
}

async fn a_write_wakes_who_waits(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    is_woken(&shelf, &shelf).await
}

async fn a_write_by_another_handle_wakes_who_waits(cx: Context) -> Outcome {
    is_woken(&Shelf::new(&cx).await?, &Shelf::new(&cx).await?).await
}

async fn a_write_by_another_process_wakes_who_waits(cx: Context) -> Outcome {
    let one = cx.fresh().await?;
    let two = one.beside().await?;
    let one = Shelf::on(&cx, &**one.backend(), cx.scope()).await?;
    let two = Shelf::on(&cx, &**two.backend(), cx.scope()).await?;
    is_woken(&one, &two).await
}

async fn all_who_wait_are_woken(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let head = shelf.state.head().await?;
    let waiting: Vec<Waiting> = (0..5).map(|_| wait(&shelf, &head)).collect();
    // sleep: all five must be waiting, which nothing tells
    tokio::time::sleep(shelf.quiet).await;
    shelf.write(put("k", "a")).await?;
    for waiting in waiting {
        ensure_eq(
            answer(waiting).await??.changes.len(),
            1,
            "the number of changes",
        )?;
    }
    Ok(())
}

async fn a_write_in_another_namespace_wakes_nobody(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let there = Shelf::on(&cx, &*cx.backend().await?, &cx.other_scope()?).await?;
    let waiting = wait(&shelf, &shelf.state.head().await?);
    there.write(put("k", "a")).await?;
    // sleep: nothing may happen, so there is nothing to poll for
    tokio::time::sleep(shelf.quiet).await;
    ensure(!waiting.is_finished(), "the call still waits")?;
    waiting.abort();
    Ok(())
}

async fn dropping_a_wait_loses_nothing(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let head = shelf.state.head().await?;
    let waiting = wait(&shelf, &head);
    // sleep: the call should be waiting when it is dropped, which nothing tells
    tokio::time::sleep(Duration::from_millis(10)).await;
    waiting.abort();
    shelf.write(put("k", "a")).await?;
    shelf.changes_are(&head, &["put k 1"]).await
}

async fn closing_the_handle_ends_the_wait(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let waiting = wait(&shelf, &shelf.state.head().await?);
    // sleep: the call should be waiting, which nothing tells
    tokio::time::sleep(shelf.quiet).await;
    shelf.state.close().await?;
    expect_kind(answer(waiting).await?, ErrorKind::Closed).map(|_| ())
}

async fn closing_the_backend_ends_the_wait(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    let shelf = Shelf::on(&cx, &**instance.backend(), cx.scope()).await?;
    let waiting = wait(&shelf, &shelf.state.head().await?);
    // sleep: the call should be waiting, which nothing tells
    tokio::time::sleep(shelf.quiet).await;
    instance.backend().close().await?;
    expect_kind(answer(waiting).await?, ErrorKind::Closed).map(|_| ())
}
