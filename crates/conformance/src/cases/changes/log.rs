//! What a change tells.

use statehouse_contracts::{
    Change, ChangeData, ContentType, OpId, Prune, RollbackTo, Transaction, Write,
};

use crate::case::case;
use crate::cases::shelf::{LONG, Shelf, append, delete, key, put, put_for, transaction};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_limit, some};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(every_write_is_a_change_in_order),
        case!(a_change_tells_what_was_done),
        case!(a_change_tells_its_commit_op_id_and_principal),
        case!(a_put_carries_its_whole_content),
        case!(an_append_carries_what_was_appended),
        case!(a_rollback_carries_its_whole_content),
        case!(a_change_carries_what_the_record_tells),
        case!(a_tombstone_has_no_content),
        case!(a_pruned_version_has_no_content),
        case!(a_forgotten_key_stays_in_the_log),
        case!(a_page_holds_at_most_the_limit),
        case!(a_page_may_split_a_commit_and_misses_nothing),
        case!(each_change_can_be_resumed_from),
        case!(a_limit_beyond_max_page_is_refused),
    ]
}

/// The one change that these writes made last.
async fn last(shelf: &Shelf, writes: impl IntoIterator<Item = Write>) -> Result<Change, Failure> {
    let mut change = None;
    for write in writes {
        let head = shelf.state.head().await?;
        shelf.write(write).await?;
        change = shelf.changes(&head, 0).await?.pop();
    }
    some(change, "change")
}

fn data(change: &Change) -> Option<&ChangeData> {
    change.content.as_ref().map(|content| &content.data)
}

async fn every_write_is_a_change_in_order(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let head = shelf.state.head().await?;
    shelf
        .write_all([put("b", "1"), put("a", "1"), put("b", "2")])
        .await?;
    shelf.apply([put("c", "1"), put("a", "2")]).await?;
    let expected = ["put b 1", "put a 1", "put b 2", "put c 1", "put a 2"];
    shelf.changes_are(&head, &expected).await
}

async fn a_change_tells_what_was_done(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let head = shelf.state.head().await?;
    let back = || Write::rollback(key("k"), RollbackTo::Previous);
    shelf
        .write_all([put("k", "a"), append("k", "b"), delete("k"), back(), back()])
        .await?;
    let expected = [
        "put k 1",
        "append k 2",
        "delete k 3",
        "rollback k 4",
        "delete k 5",
    ];
    shelf.changes_are(&head, &expected).await
}

async fn a_change_tells_its_commit_op_id_and_principal(cx: Context) -> Outcome {
    let shelf = Shelf::on(&cx, &*cx.backend().await?, &cx.scope_of("ünï / 🦀")?).await?;
    let head = shelf.state.head().await?;
    let op_id = Some(OpId::new("op / 🦀")?);
    let named = Transaction {
        op_id: op_id.clone(),
        ..transaction([put("a", "1"), put("b", "1")])
    };
    let first = shelf.state.apply(named).await?;
    let second = shelf.apply([put("a", "2")]).await?;
    let told: Vec<_> = shelf
        .changes(&head, 0)
        .await?
        .into_iter()
        .map(|c| (c.commit, c.at, c.op_id, c.by.to_string()))
        .collect();
    let by = || "ünï / 🦀".to_owned();
    let of_first = || (first.commit, first.at, op_id.clone(), by());
    let expected = [
        of_first(),
        of_first(),
        (second.commit, second.at, None, by()),
    ];
    ensure_eq(
        told,
        expected,
        "commit, time, op_id and principal of the changes",
    )
}

async fn a_put_carries_its_whole_content(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let change = last(&shelf, [append("k", "a"), put("k", "b")]).await?;
    ensure_eq(
        data(&change),
        Some(&ChangeData::Whole("b".into())),
        "the data of a put",
    )
}

async fn an_append_carries_what_was_appended(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let change = last(&shelf, [put("k", "a"), append("k", "b"), append("k", "c")]).await?;
    ensure_eq(
        data(&change),
        Some(&ChangeData::Appended("c".into())),
        "the data of an append",
    )
}

async fn a_rollback_carries_its_whole_content(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let back = Write::rollback(key("k"), RollbackTo::Version(2));
    let change = last(
        &shelf,
        [put("k", "a"), append("k", "b"), put("k", "c"), back],
    )
    .await?;
    ensure_eq(
        data(&change),
        Some(&ChangeData::Whole("ab".into())),
        "the data of a rollback",
    )
}

async fn a_change_carries_what_the_record_tells(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let change = last(&shelf, [put("k", "a"), put_for("k", "b", LONG)]).await?;
    let record = shelf.live("k").await?;
    let content = some(change.content, "content of a live version")?;
    ensure_eq(change.at, record.updated_at, "the time")?;
    ensure_eq(change.by, record.updated_by, "the principal")?;
    ensure_eq(content.content_type, ContentType::TEXT, "the content type")?;
    let told = (
        content.schema,
        content.created_at,
        content.created_by,
        content.expires_at,
    );
    let read = (
        record.schema,
        record.created_at,
        record.created_by,
        record.expires_at,
    );
    ensure_eq(told, read, "schema, creation and expiry")
}

async fn a_tombstone_has_no_content(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let change = last(&shelf, [put("k", "a"), delete("k")]).await?;
    ensure_eq(change.content, None, "the content of a tombstone")
}

async fn contents(shelf: &Shelf) -> Result<Vec<bool>, Failure> {
    let oldest = shelf.state.oldest().await?;
    let changes = shelf.changes(&oldest, 0).await?;
    Ok(changes
        .iter()
        .map(|change| change.content.is_some())
        .collect())
}

async fn a_pruned_version_has_no_content(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all(["a", "b", "c"].map(|text| put("k", text)))
        .await?;
    shelf
        .write_all(["a", "b", "c"].map(|text| append("l", text)))
        .await?;
    ensure_eq(
        contents(&shelf).await?,
        [true; 6],
        "which have content before",
    )?;
    let prune = Prune {
        keep_last: Some(1),
        ..Prune::default()
    };
    shelf.state.prune(prune).await?;
    let expected = [false, false, true, false, false, true];
    ensure_eq(
        contents(&shelf).await?,
        expected,
        "which have content after",
    )
}

async fn a_forgotten_key_stays_in_the_log(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let oldest = shelf.state.oldest().await?;
    shelf.write_all([put("k", "a"), delete("k")]).await?;
    let prune = Prune {
        tombstones: Some(std::time::Duration::ZERO),
        ..Prune::default()
    };
    shelf.state.prune(prune).await?;
    shelf.write(put("k", "b")).await?;
    shelf
        .changes_are(&oldest, &["put k 1", "delete k 2", "put k 3"])
        .await?;
    ensure_eq(
        contents(&shelf).await?,
        [false, false, true],
        "which have content",
    )
}

async fn a_page_holds_at_most_the_limit(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let head = shelf.state.head().await?;
    shelf
        .write_all((0..7).map(|n| put(&n.to_string(), "")))
        .await?;
    let whole = shelf.changes(&head, 0).await?;
    for limit in [1, 2, 7, 8] {
        ensure_eq(
            shelf.changes(&head, limit).await?,
            whole.clone(),
            "the pages joined",
        )?;
    }
    Ok(())
}

async fn a_page_may_split_a_commit_and_misses_nothing(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let head = shelf.state.head().await?;
    shelf.apply((0..9).map(|n| put(&n.to_string(), ""))).await?;
    shelf.write(put("after", "")).await?;
    let whole = shelf.changes(&head, 0).await?;
    ensure_eq(whole.len(), 10, "the number of changes")?;
    ensure_eq(shelf.changes(&head, 4).await?, whole, "the pages joined")
}

async fn each_change_can_be_resumed_from(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let head = shelf.state.head().await?;
    shelf.apply([put("a", "1"), put("b", "1")]).await?;
    shelf.write_all([put("a", "2"), delete("b")]).await?;
    let whole = shelf.changes(&head, 0).await?;
    for (place, change) in whole.iter().enumerate() {
        let rest = shelf.changes(&change.cursor, 0).await?;
        ensure(
            rest == whole[place + 1..],
            "the rest after a change's cursor",
        )?;
    }
    let end = some(whole.last(), "last change")?;
    ensure_eq(&shelf.state.head().await?, &end.cursor, "the head")
}

async fn a_limit_beyond_max_page_is_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let (head, limit) = (
        shelf.state.head().await?,
        shelf.state.capability().max_page + 1,
    );
    let page = shelf
        .state
        .changes(&head, limit, std::time::Duration::ZERO)
        .await;
    expect_limit(page, "max_page")
}
