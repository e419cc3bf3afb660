//! Cursors, good and bad.

use std::time::Duration;

use statehouse_contracts::{
    Cursor, Detail, ErrorKind, FollowerName, FollowerSpec, FollowerStart, Trim,
};

use crate::case::case;
use crate::cases::shelf::{Shelf, put};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind, fail};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(head_and_oldest_of_an_empty_log_work),
        case!(head_before_list_misses_nothing),
        case!(a_trimmed_cursor_is_lost),
        case!(a_cursor_at_the_edge_of_trimming_works),
        case!(a_lost_cursor_tells_where_to_go_on),
        case!(a_cursor_of_another_namespace_is_lost),
        case!(a_cursor_of_another_store_is_lost),
        case!(a_cursor_that_no_log_made_is_refused),
        case!(a_cursor_works_in_any_handle),
        case!(a_cursor_survives_a_restart)
            .reopens()
            .state(|c| c.durability.process_kill),
    ]
}

async fn put_many(shelf: &Shelf, count: usize) -> Result<(), Failure> {
    shelf
        .write_all((0..count).map(|n| put("k", &n.to_string())))
        .await
}

async fn is_lost(shelf: &Shelf, cursor: &Cursor) -> Result<(Cursor, Cursor), Failure> {
    let answer = shelf.state.changes(cursor, 0, Duration::ZERO).await;
    let error = expect_kind(answer, ErrorKind::CursorLost)?;
    match error.detail() {
        Some(Detail::CursorLost { oldest, head }) => Ok((oldest.clone(), head.clone())),
        other => fail(format!(
            "a lost cursor tells oldest and head, got {other:?}"
        )),
    }
}

fn keep(keep_last: u64) -> Trim {
    Trim {
        keep_last: Some(keep_last),
        max_age: None,
    }
}

async fn head_and_oldest_of_an_empty_log_work(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let (head, oldest) = (shelf.state.head().await?, shelf.state.oldest().await?);
    shelf.changes_are(&head, &[]).await?;
    shelf.write(put("k", "a")).await?;
    shelf.changes_are(&head, &["put k 1"]).await?;
    shelf.changes_are(&oldest, &["put k 1"]).await
}

async fn head_before_list_misses_nothing(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    put_many(&shelf, 3).await?;
    let head = shelf.state.head().await?;
    shelf
        .write_all([put("k", "after the head"), put("l", "too")])
        .await?;
    let listed = shelf.records(crate::cases::shelf::notes()).await?;
    shelf.write(put("k", "after the list")).await?;
    let mut known: std::collections::BTreeMap<String, u64> = listed
        .iter()
        .map(|record| (record.key.id.to_string(), record.version))
        .collect();
    for change in shelf.changes(&head, 0).await? {
        let version = known.entry(change.key.id.to_string()).or_default();
        *version = change.version.max(*version);
    }
    let expected = [("k".to_owned(), 5), ("l".to_owned(), 1)];
    ensure_eq(
        known.into_iter().collect::<Vec<_>>(),
        expected,
        "what list and changes tell",
    )
}

async fn a_trimmed_cursor_is_lost(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let start = shelf.state.head().await?;
    put_many(&shelf, 2).await?;
    let early = shelf.state.head().await?;
    put_many(&shelf, 8).await?;
    ensure_eq(shelf.state.trim(keep(3)).await?, 7, "how many changes went")?;
    is_lost(&shelf, &start).await?;
    is_lost(&shelf, &early).await.map(|_| ())
}

async fn a_cursor_at_the_edge_of_trimming_works(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    put_many(&shelf, 7).await?;
    let edge = shelf.state.head().await?;
    put_many(&shelf, 3).await?;
    shelf.state.trim(keep(3)).await?;
    shelf
        .changes_are(&edge, &["put k 8", "put k 9", "put k 10"])
        .await?;
    shelf
        .changes_are(
            &shelf.state.oldest().await?,
            &["put k 8", "put k 9", "put k 10"],
        )
        .await
}

async fn a_lost_cursor_tells_where_to_go_on(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let start = shelf.state.head().await?;
    put_many(&shelf, 5).await?;
    shelf.state.trim(keep(2)).await?;
    let (oldest, head) = is_lost(&shelf, &start).await?;
    shelf.changes_are(&oldest, &["put k 4", "put k 5"]).await?;
    shelf.changes_are(&head, &[]).await?;
    let follower = FollowerName::new("f")?;
    let spec = FollowerSpec {
        start: FollowerStart::At(start),
        max_lag: None,
    };
    expect_kind(
        shelf.state.follow(&follower, spec).await,
        ErrorKind::CursorLost,
    )
    .map(|_| ())
}

async fn a_cursor_of_another_namespace_is_lost(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let there = Shelf::on(&cx, &*cx.backend().await?, &cx.other_scope()?).await?;
    put_many(&shelf, 3).await?;
    put_many(&there, 3).await?;
    let (oldest, head) = is_lost(&shelf, &there.state.head().await?).await?;
    ensure_eq(
        shelf.changes(&oldest, 0).await?.len(),
        3,
        "the changes from the oldest",
    )?;
    shelf.changes_are(&head, &[]).await
}

/// As after the store was replaced by another under the same name.
async fn a_cursor_of_another_store_is_lost(cx: Context) -> Outcome {
    let (one, two) = (cx.fresh().await?, cx.fresh().await?);
    let one = Shelf::on(&cx, &**one.backend(), cx.scope()).await?;
    let two = Shelf::on(&cx, &**two.backend(), cx.scope()).await?;
    put_many(&one, 3).await?;
    if !two.history("k").await?.is_empty() {
        // Both are clients of one server, which has one log for both.
        return two.changes_are(&one.state.head().await?, &[]).await;
    }
    put_many(&two, 5).await?;
    is_lost(&two, &one.state.head().await?).await?;
    // Here it is also ahead of the log.
    is_lost(&one, &two.state.head().await?).await.map(|_| ())
}

async fn a_cursor_that_no_log_made_is_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    put_many(&shelf, 3).await?;
    let long = "x".repeat(10_000);
    for nonsense in ["", "nonsense", "🦀", "-1", "\0", "..", &long] {
        let cursor = Cursor(nonsense.into());
        let answer = shelf.state.changes(&cursor, 0, Duration::ZERO).await;
        expect_kind(answer, ErrorKind::InvalidArgument)?;
    }
    Ok(())
}

async fn a_cursor_works_in_any_handle(cx: Context) -> Outcome {
    let (one, two) = (Shelf::new(&cx).await?, Shelf::new(&cx).await?);
    let head = one.state.head().await?;
    one.write(put("k", "a")).await?;
    two.changes_are(&head, &["put k 1"]).await?;
    let printed = head.to_string();
    ensure(!printed.is_empty(), "a cursor can be printed")?;
    two.changes_are(&Cursor(printed), &["put k 1"]).await
}

async fn a_cursor_survives_a_restart(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    let shelf = Shelf::on(&cx, &**instance.backend(), cx.scope()).await?;
    put_many(&shelf, 2).await?;
    let cursor = shelf.state.head().await?;
    put_many(&shelf, 2).await?;
    let rest = shelf.changes(&cursor, 0).await?;
    let instance = instance.reopen().await?;
    let shelf = Shelf::on(&cx, &**instance.backend(), cx.scope()).await?;
    ensure_eq(
        shelf.changes(&cursor, 0).await?,
        rest,
        "the changes after a restart",
    )
}
