//! How versions count, and who and when they tell.

use std::time::Duration;

use statehouse_contracts::{ErrorKind, HistoryQuery, Precondition, StateManagerExt, Write};

use crate::case::case;
use crate::cases::shelf::{Shelf, append, delete, key, put};
use crate::{Case, Context, Outcome, ensure, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(versions_count_from_one),
        case!(each_key_counts_for_itself),
        case!(a_delete_is_a_version),
        case!(a_delete_of_nothing_makes_no_version),
        case!(a_delete_of_a_tombstone_makes_no_version),
        case!(versions_go_on_after_a_delete),
        case!(a_key_comes_to_life_once),
        case!(a_key_comes_to_life_again_after_a_tombstone),
        case!(each_version_tells_who_wrote_it),
        case!(each_version_tells_when_it_was_written),
        case!(a_version_beyond_all_is_never_there),
        case!(a_version_that_does_not_fit_is_refused),
    ]
}

async fn versions_count_from_one(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    for (text, version) in [("a", 1), ("b", 2), ("c", 3)] {
        ensure_eq(
            shelf.write(put("k", text)).await?,
            version,
            "the version written",
        )?;
        shelf.reads("k", Some(&format!("{version} {text}"))).await?;
    }
    ensure_eq(
        shelf.write(append("k", "d")).await?,
        4,
        "the version of an append",
    )
}

async fn each_key_counts_for_itself(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all([put("a", "1"), put("a", "2"), put("b", "1")])
        .await?;
    shelf.reads("a", Some("2 2")).await?;
    shelf.reads("b", Some("1 1")).await
}

async fn a_delete_is_a_version(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put("k", "a")).await?;
    ensure_eq(
        shelf.write(delete("k")).await?,
        2,
        "the version of a delete",
    )?;
    shelf.reads("k", None).await?;
    shelf.story_is("k", &["2 deleted", "1 a"]).await?;
    let tombstone = shelf.state.read_version(&key("k"), 2).await?;
    ensure(tombstone.data.is_empty(), "a tombstone has no content")
}

async fn a_delete_of_nothing_makes_no_version(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let head = shelf.state.head().await?;
    ensure_eq(
        shelf.write(delete("k")).await?,
        0,
        "the version of a delete of nothing",
    )?;
    shelf.story_is("k", &[]).await?;
    shelf.changes_are(&head, &[]).await?;
    ensure_eq(
        shelf.write(put("k", "a")).await?,
        1,
        "the first version after it",
    )
}

async fn a_delete_of_a_tombstone_makes_no_version(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write_all([put("k", "a"), delete("k")]).await?;
    let head = shelf.state.head().await?;
    ensure_eq(
        shelf.write(delete("k")).await?,
        2,
        "the version of a repeated delete",
    )?;
    shelf.story_is("k", &["2 deleted", "1 a"]).await?;
    shelf.changes_are(&head, &[]).await
}

async fn versions_go_on_after_a_delete(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write_all([put("k", "a"), delete("k")]).await?;
    ensure_eq(
        shelf.write(put("k", "b")).await?,
        3,
        "the version after a tombstone",
    )?;
    shelf.story_is("k", &["3 b", "2 deleted", "1 a"]).await
}

async fn a_key_comes_to_life_once(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let other = Shelf::on(&cx, &*cx.backend().await?, &cx.scope_of("somebody else")?).await?;
    let first = shelf.apply([put("k", "a")]).await?;
    // sleep: the clock must move on between the two times
    tokio::time::sleep(Duration::from_millis(2)).await;
    other.write_all([put("k", "b"), append("k", "c")]).await?;
    let record = shelf.live("k").await?;
    ensure_eq(record.created_at, first.at, "created_at")?;
    ensure_eq(&record.created_by, &cx.scope().principal, "created_by")
}

async fn a_key_comes_to_life_again_after_a_tombstone(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let other = Shelf::on(&cx, &*cx.backend().await?, &cx.scope_of("somebody else")?).await?;
    shelf.write_all([put("k", "a"), delete("k")]).await?;
    let again = other.apply([put("k", "b")]).await?;
    let record = shelf.live("k").await?;
    ensure_eq(record.created_at, again.at, "created_at after a tombstone")?;
    ensure_eq(
        record.created_by.as_str(),
        "somebody else",
        "created_by after a tombstone",
    )
}

async fn each_version_tells_who_wrote_it(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let other = Shelf::on(&cx, &*cx.backend().await?, &cx.scope_of("ünï / 🦀")?).await?;
    shelf.write(put("k", "a")).await?;
    other.write_all([append("k", "b"), delete("k")]).await?;
    shelf.write(put("k", "c")).await?;
    let history = shelf.history("k").await?;
    let who: Vec<&str> = history
        .iter()
        .map(|record| record.updated_by.as_str())
        .collect();
    let own = cx.scope().principal.as_str();
    ensure_eq(
        who,
        [own, "ünï / 🦀", "ünï / 🦀", own],
        "who wrote, newest first",
    )
}

async fn each_version_tells_when_it_was_written(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let mut times = Vec::new();
    for write in [put("k", "a"), append("k", "b"), delete("k"), put("k", "c")] {
        times.push(shelf.apply([write]).await?.at);
    }
    ensure(times.is_sorted(), "the times of commits do not go back")?;
    times.reverse();
    let history = shelf.history("k").await?;
    let updated: Vec<_> = history.iter().map(|record| record.updated_at).collect();
    ensure_eq(updated, times, "updated_at, newest first")
}

async fn a_version_beyond_all_is_never_there(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let (k, beyond) = (key("k"), i64::MAX as u64);
    shelf.write(put("k", "a")).await?;
    expect_kind(
        shelf.state.read_version(&k, beyond).await,
        ErrorKind::NotFound,
    )?;
    let write = put("k", "b").when(Precondition::Version(beyond));
    expect_kind(shelf.state.write(write).await, ErrorKind::Conflict)?;
    let query = HistoryQuery {
        before: Some(beyond),
        ..HistoryQuery::default()
    };
    ensure_eq(
        shelf.state.history(&k, query).await?.len(),
        1,
        "the versions below the largest",
    )?;
    shelf.reads("k", Some("1 a")).await
}

async fn a_version_that_does_not_fit_is_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let (k, too_large) = (key("k"), u64::MAX);
    shelf.write(put("k", "a")).await?;
    let to = statehouse_contracts::RollbackTo::Version(too_large);
    let writes = [
        put("k", "b").when(Precondition::Version(too_large)),
        Write::rollback(k.clone(), to),
    ];
    for write in writes {
        expect_kind(shelf.state.write(write).await, ErrorKind::InvalidArgument)?;
    }
    expect_kind(
        shelf.state.read_version(&k, too_large).await,
        ErrorKind::InvalidArgument,
    )?;
    shelf.story_is("k", &["1 a"]).await
}
