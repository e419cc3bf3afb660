//! Earlier versions.

use statehouse_contracts::{ErrorKind, HistoryQuery, StateManagerExt};

use crate::case::case;
use crate::cases::shelf::{Shelf, append, delete, key, line, put};
use crate::{Case, Context, Outcome, ensure, ensure_eq, expect_kind, expect_limit};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(a_history_is_newest_first),
        case!(the_history_of_an_unknown_key_is_empty),
        case!(a_history_shows_tombstones),
        case!(a_history_goes_on_before_a_version),
        case!(a_history_has_at_most_the_limit),
        case!(a_history_without_data_shows_the_rest),
        case!(a_history_is_of_its_key_only),
        case!(each_version_can_be_read),
        case!(a_tombstone_can_be_read),
        case!(a_version_that_never_was_is_not_found),
        case!(a_limit_beyond_max_page_is_refused),
    ]
}

async fn four_versions(cx: &Context) -> Result<Shelf, crate::Failure> {
    let shelf = Shelf::new(cx).await?;
    shelf
        .write_all([put("k", "a"), append("k", "b"), delete("k"), put("k", "c")])
        .await?;
    shelf
        .write_all([put("j", "other"), put("ka", "other")])
        .await?;
    Ok(shelf)
}

async fn query_is(shelf: &Shelf, query: HistoryQuery, expected: &[&str]) -> Outcome {
    let history = shelf.state.history(&key("k"), query).await?;
    let lines: Vec<String> = history.iter().map(line).collect();
    ensure_eq(lines, expected, &format!("the history by {query:?}"))
}

async fn a_history_is_newest_first(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all(["a", "b", "c"].map(|text| put("k", text)))
        .await?;
    shelf.story_is("k", &["3 c", "2 b", "1 a"]).await
}

async fn the_history_of_an_unknown_key_is_empty(cx: Context) -> Outcome {
    let shelf = four_versions(&cx).await?;
    shelf.story_is("unknown", &[]).await
}

async fn a_history_shows_tombstones(cx: Context) -> Outcome {
    let shelf = four_versions(&cx).await?;
    shelf
        .story_is("k", &["4 c", "3 deleted", "2 ab", "1 a"])
        .await
}

async fn a_history_goes_on_before_a_version(cx: Context) -> Outcome {
    let shelf = four_versions(&cx).await?;
    let before = |version| HistoryQuery {
        before: Some(version),
        ..HistoryQuery::default()
    };
    let all = ["4 c", "3 deleted", "2 ab", "1 a"];
    for (version, skipped) in [(1000, 0), (5, 0), (4, 1), (3, 2), (2, 3), (1, 4), (0, 4)] {
        query_is(&shelf, before(version), &all[skipped..]).await?;
    }
    Ok(())
}

async fn a_history_has_at_most_the_limit(cx: Context) -> Outcome {
    let shelf = four_versions(&cx).await?;
    let query = |before, limit| HistoryQuery {
        before,
        limit,
        data: true,
    };
    query_is(&shelf, query(None, 2), &["4 c", "3 deleted"]).await?;
    query_is(&shelf, query(Some(3), 2), &["2 ab", "1 a"]).await?;
    query_is(&shelf, query(Some(3), 1), &["2 ab"]).await
}

async fn a_history_without_data_shows_the_rest(cx: Context) -> Outcome {
    let shelf = four_versions(&cx).await?;
    let mut whole = shelf.history("k").await?;
    let query = HistoryQuery {
        data: false,
        ..HistoryQuery::default()
    };
    let bare = shelf.state.history(&key("k"), query).await?;
    ensure(
        bare.iter().all(|record| record.data.is_empty()),
        "no data is read",
    )?;
    whole.iter_mut().for_each(|record| record.data.clear());
    ensure_eq(bare, whole, "the versions without their data")
}

async fn a_history_is_of_its_key_only(cx: Context) -> Outcome {
    let shelf = four_versions(&cx).await?;
    shelf.story_is("ka", &["1 other"]).await?;
    shelf.story_is("j", &["1 other"]).await
}

async fn each_version_can_be_read(cx: Context) -> Outcome {
    let shelf = four_versions(&cx).await?;
    for record in shelf.history("k").await? {
        let read = shelf.state.read_version(&key("k"), record.version).await?;
        ensure_eq(read, record, "the version read")?;
    }
    let current = shelf.state.get(&key("k")).await?;
    let read = shelf.state.read_version(&key("k"), 4).await?;
    ensure_eq(current, Some(read), "the current version")
}

async fn a_tombstone_can_be_read(cx: Context) -> Outcome {
    let shelf = four_versions(&cx).await?;
    let tombstone = shelf.state.read_version(&key("k"), 3).await?;
    ensure_eq(line(&tombstone), "3 deleted", "the tombstone")
}

async fn a_version_that_never_was_is_not_found(cx: Context) -> Outcome {
    let shelf = four_versions(&cx).await?;
    for (id, version) in [
        ("k", 0),
        ("k", 5),
        ("k", 1_000_000),
        ("unknown", 1),
        ("unknown", 0),
    ] {
        expect_kind(
            shelf.state.read_version(&key(id), version).await,
            ErrorKind::NotFound,
        )?;
    }
    Ok(())
}

async fn a_limit_beyond_max_page_is_refused(cx: Context) -> Outcome {
    let shelf = four_versions(&cx).await?;
    let query = HistoryQuery {
        limit: shelf.state.capability().max_page + 1,
        ..HistoryQuery::default()
    };
    expect_limit(shelf.state.history(&key("k"), query).await, "max_page")
}
