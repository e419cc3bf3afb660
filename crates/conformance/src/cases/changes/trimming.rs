//! Trimming the log.

use std::time::Duration;

use statehouse_contracts::Trim;

use crate::case::case;
use crate::cases::shelf::{Shelf, put};
use crate::{Case, Context, Outcome, ensure_eq};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(a_trim_without_a_bound_trims_nothing),
        case!(keep_last_keeps_the_newest_changes),
        case!(max_age_keeps_the_young_changes),
        case!(a_change_goes_beyond_either_bound),
        case!(trimming_forgets_no_version),
        case!(a_trim_is_of_its_namespace_only),
        case!(the_log_goes_on_after_it_was_emptied),
    ]
}

fn trim(keep_last: Option<u64>, max_age: Option<Duration>) -> Trim {
    Trim { keep_last, max_age }
}

async fn three(cx: &Context) -> Result<Shelf, crate::Failure> {
    let shelf = Shelf::new(cx).await?;
    shelf
        .write_all(["a", "b", "c"].map(|text| put("k", text)))
        .await?;
    Ok(shelf)
}

async fn oldest_is(shelf: &Shelf, expected: &[&str]) -> Outcome {
    shelf
        .changes_are(&shelf.state.oldest().await?, expected)
        .await
}

async fn a_trim_without_a_bound_trims_nothing(cx: Context) -> Outcome {
    let shelf = three(&cx).await?;
    ensure_eq(
        shelf.state.trim(Trim::default()).await?,
        0,
        "how many changes went",
    )?;
    oldest_is(&shelf, &["put k 1", "put k 2", "put k 3"]).await
}

async fn keep_last_keeps_the_newest_changes(cx: Context) -> Outcome {
    let shelf = three(&cx).await?;
    ensure_eq(
        shelf.state.trim(trim(Some(3), None)).await?,
        0,
        "how many changes went",
    )?;
    ensure_eq(
        shelf.state.trim(trim(Some(1), None)).await?,
        2,
        "how many changes went",
    )?;
    ensure_eq(
        shelf.state.trim(trim(Some(1), None)).await?,
        0,
        "how many went again",
    )?;
    oldest_is(&shelf, &["put k 3"]).await
}

async fn max_age_keeps_the_young_changes(cx: Context) -> Outcome {
    let shelf = three(&cx).await?;
    let hour = Some(Duration::from_secs(3600));
    ensure_eq(
        shelf.state.trim(trim(None, hour)).await?,
        0,
        "how many changes went",
    )?;
    // sleep: the changes must grow older than the age given
    tokio::time::sleep(Duration::from_millis(5)).await;
    let instant = Some(Duration::from_millis(1));
    ensure_eq(
        shelf.state.trim(trim(None, instant)).await?,
        3,
        "how many changes went",
    )?;
    oldest_is(&shelf, &[]).await
}

async fn a_change_goes_beyond_either_bound(cx: Context) -> Outcome {
    let shelf = three(&cx).await?;
    let hour = Some(Duration::from_secs(3600));
    ensure_eq(
        shelf.state.trim(trim(Some(2), hour)).await?,
        1,
        "how many changes went",
    )?;
    oldest_is(&shelf, &["put k 2", "put k 3"]).await
}

async fn trimming_forgets_no_version(cx: Context) -> Outcome {
    let shelf = three(&cx).await?;
    shelf.state.trim(trim(Some(1), None)).await?;
    shelf.story_is("k", &["3 c", "2 b", "1 a"]).await
}

async fn a_trim_is_of_its_namespace_only(cx: Context) -> Outcome {
    let shelf = three(&cx).await?;
    let there = Shelf::on(&cx, &*cx.backend().await?, &cx.other_scope()?).await?;
    there
        .write_all(["a", "b"].map(|text| put("k", text)))
        .await?;
    shelf.state.trim(trim(Some(1), None)).await?;
    oldest_is(&there, &["put k 1", "put k 2"]).await
}

async fn the_log_goes_on_after_it_was_emptied(cx: Context) -> Outcome {
    let shelf = three(&cx).await?;
    let head = shelf.state.head().await?;
    ensure_eq(
        shelf.state.trim(trim(Some(0), None)).await?,
        3,
        "how many changes went",
    )?;
    ensure_eq(
        shelf.state.oldest().await?,
        head.clone(),
        "the oldest place of an empty log",
    )?;
    shelf.write(put("k", "d")).await?;
    shelf.changes_are(&head, &["put k 4"]).await?;
    oldest_is(&shelf, &["put k 4"]).await
}
