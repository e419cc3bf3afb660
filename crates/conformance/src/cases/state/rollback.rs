//! Going back.

use statehouse_contracts::{
    ContentType, ErrorKind, Operation, Precondition, Prune, RollbackTo, StateManagerExt, Version,
    Write,
};

use crate::case::case;
use crate::cases::shelf::{LONG, Shelf, delete, key, put};
use crate::{Case, Context, Outcome, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(a_rollback_is_a_new_version_with_earlier_content),
        case!(a_rollback_to_previous_twice_is_the_undo),
        case!(a_rollback_to_a_version_takes_that_one),
        case!(a_rollback_to_the_current_version_repeats_it),
        case!(a_rollback_takes_type_and_schema_but_no_expiry),
        case!(a_rollback_onto_a_tombstone_deletes),
        case!(a_rollback_from_a_tombstone_restores),
        case!(a_rollback_from_a_tombstone_onto_a_tombstone_makes_no_version),
        case!(a_rollback_without_a_predecessor_is_not_found),
        case!(a_rollback_to_a_version_that_never_was_is_not_found),
        case!(a_rollback_of_an_unknown_key_is_not_found),
        case!(a_rollback_to_a_pruned_version_is_pruned),
        case!(a_failed_precondition_comes_first),
    ]
}

fn previous() -> Write {
    Write::rollback(key("k"), RollbackTo::Previous)
}

fn to(version: Version) -> Write {
    Write::rollback(key("k"), RollbackTo::Version(version))
}

async fn a_rollback_is_a_new_version_with_earlier_content(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write_all([put("k", "a"), put("k", "b")]).await?;
    let head = shelf.state.head().await?;
    ensure_eq(
        shelf.write(previous()).await?,
        3,
        "the version of a rollback",
    )?;
    shelf.story_is("k", &["3 a", "2 b", "1 a"]).await?;
    shelf.changes_are(&head, &["rollback k 3"]).await
}

async fn a_rollback_to_previous_twice_is_the_undo(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all([put("k", "a"), put("k", "b"), put("k", "c")])
        .await?;
    shelf
        .write_all([previous(), previous(), previous()])
        .await?;
    shelf
        .story_is("k", &["6 b", "5 c", "4 b", "3 c", "2 b", "1 a"])
        .await
}

async fn a_rollback_to_a_version_takes_that_one(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all(["a", "b", "c", "d"].map(|text| put("k", text)))
        .await?;
    shelf.write_all([to(1), to(3)]).await?;
    shelf
        .story_is("k", &["6 c", "5 a", "4 d", "3 c", "2 b", "1 a"])
        .await
}

async fn a_rollback_to_the_current_version_repeats_it(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all([put("k", "a"), put("k", "b"), to(2)])
        .await?;
    shelf.story_is("k", &["3 b", "2 b", "1 a"]).await
}

async fn a_rollback_takes_type_and_schema_but_no_expiry(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let operation = Operation::Put {
        data: "{}".into(),
        content_type: ContentType::JSON,
        schema: Some("s".into()),
        ttl: Some(LONG),
    };
    let typed = Write {
        operation,
        ..put("k", "")
    };
    shelf
        .write_all([typed, put("k", "text"), previous()])
        .await?;
    let record = shelf.live("k").await?;
    let got = (
        record.content_type,
        record.schema.as_deref(),
        record.expires_at,
    );
    ensure_eq(
        got,
        (ContentType::JSON, Some("s"), None),
        "type, schema and expiry",
    )?;
    ensure_eq(
        record.created_at,
        shelf.state.read_version(&key("k"), 1).await?.created_at,
        "created_at",
    )
}

async fn a_rollback_onto_a_tombstone_deletes(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all([put("k", "a"), delete("k"), put("k", "b")])
        .await?;
    let head = shelf.state.head().await?;
    ensure_eq(
        shelf.write(previous()).await?,
        4,
        "the version of a rollback",
    )?;
    shelf
        .story_is("k", &["4 deleted", "3 b", "2 deleted", "1 a"])
        .await?;
    shelf.changes_are(&head, &["delete k 4"]).await
}

async fn a_rollback_from_a_tombstone_restores(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write_all([put("k", "a"), delete("k")]).await?;
    let applied = shelf.apply([previous()]).await?;
    ensure_eq(applied.versions, [3], "the version of a rollback")?;
    shelf.story_is("k", &["3 a", "2 deleted", "1 a"]).await?;
    ensure_eq(
        shelf.live("k").await?.created_at,
        applied.at,
        "created_at after a tombstone",
    )
}

async fn a_rollback_from_a_tombstone_onto_a_tombstone_makes_no_version(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all([put("k", "a"), delete("k"), put("k", "b"), delete("k")])
        .await?;
    ensure_eq(shelf.write(to(2)).await?, 4, "the version that it answers")?;
    shelf
        .story_is("k", &["4 deleted", "3 b", "2 deleted", "1 a"])
        .await
}

/// The rollback must be refused so, and add nothing.
async fn is_refused(shelf: &Shelf, write: Write, kind: ErrorKind) -> Outcome {
    let before = shelf.history("k").await?;
    expect_kind(shelf.state.write(write).await, kind)?;
    ensure_eq(
        shelf.history("k").await?,
        before,
        "the history after a refusal",
    )
}

async fn a_rollback_without_a_predecessor_is_not_found(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put("k", "a")).await?;
    is_refused(&shelf, previous(), ErrorKind::NotFound).await
}

async fn a_rollback_to_a_version_that_never_was_is_not_found(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write_all([put("k", "a"), put("k", "b")]).await?;
    for version in [0, 3, i64::MAX as u64] {
        is_refused(&shelf, to(version), ErrorKind::NotFound).await?;
    }
    Ok(())
}

async fn a_rollback_of_an_unknown_key_is_not_found(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    for write in [previous(), to(0), to(1)] {
        is_refused(&shelf, write, ErrorKind::NotFound).await?;
    }
    Ok(())
}

async fn a_rollback_to_a_pruned_version_is_pruned(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all(["a", "b", "c"].map(|text| put("k", text)))
        .await?;
    let prune = Prune {
        keep_last: Some(1),
        ..Prune::default()
    };
    shelf.state.prune(prune).await?;
    is_refused(&shelf, to(1), ErrorKind::Pruned).await?;
    is_refused(&shelf, previous(), ErrorKind::Pruned).await
}

async fn a_failed_precondition_comes_first(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write_all([put("k", "a"), put("k", "b")]).await?;
    let stale = Precondition::Version(1);
    is_refused(&shelf, previous().when(stale), ErrorKind::Conflict).await?;
    is_refused(&shelf, to(9).when(stale), ErrorKind::Conflict).await
}
