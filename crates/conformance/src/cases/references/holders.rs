//! Content lives as long as somebody holds it.

use std::time::Duration;

use futures::future::join_all;
use statehouse_contracts::{ErrorKind, PutContent, ReferenceId};

use super::{Shelf, held, holder};
use crate::case::case;
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, eventually, expect_kind, some};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(a_put_without_a_holder_makes_one),
        case!(each_put_without_a_holder_makes_another),
        case!(a_put_for_a_holder_holds),
        case!(a_repeated_put_of_a_holder_counts_once),
        case!(a_repeated_retain_counts_once),
        case!(a_repeated_release_counts_once),
        case!(racing_puts_of_one_holder_count_once),
        case!(racing_holders_all_count),
        case!(releasing_answers_whether_it_held),
        case!(retaining_unknown_content_is_not_found),
        case!(resolving_changes_no_holder),
        case!(held_content_is_not_collected),
        case!(content_that_one_of_two_releases_is_not_collected),
        case!(content_that_all_released_is_collected),
        case!(content_without_a_holder_can_be_kept_again),
        case!(content_without_a_holder_reads_until_it_is_collected),
        case!(a_holder_may_expire),
        case!(retaining_again_renews_an_expiring_holder),
        case!(an_expired_holder_holds_nothing),
        case!(cache_content_has_no_holder),
        case!(cache_content_is_not_collected),
        case!(cache_content_with_a_holder_is_refused),
    ]
}

async fn a_put_without_a_holder_makes_one(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let put = shelf.store.put(PutContent::new("a")).await?;
    let made = some(put.holder, "holder that the put made")?;
    ensure_eq(shelf.holders(&put.reference.id).await?, 1, "the holders")?;
    ensure(
        shelf.store.release(&put.reference.id, &made).await?,
        "the made holder holds",
    )?;
    ensure_eq(
        shelf.holders(&put.reference.id).await?,
        0,
        "the holders after its release",
    )
}

async fn each_put_without_a_holder_makes_another(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let first = shelf.store.put(PutContent::new("a")).await?;
    let second = shelf.store.put(PutContent::new("a")).await?;
    ensure(first.holder != second.holder, "two holders are made")?;
    ensure_eq(shelf.holders(&first.reference.id).await?, 2, "the holders")
}

async fn a_put_for_a_holder_holds(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let put = shelf.store.put(held("a", "h")).await?;
    ensure_eq(put.holder, Some(holder("h")), "the holder")?;
    ensure_eq(shelf.holders(&put.reference.id).await?, 1, "the holders")
}

async fn a_repeated_put_of_a_holder_counts_once(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let first = shelf.store.put(held("a", "h")).await?;
    let again = shelf.store.put(held("a", "h")).await?;
    ensure(
        (first.created, again.created) == (true, false),
        "only the first is new",
    )?;
    ensure_eq(shelf.holders(&first.reference.id).await?, 1, "the holders")
}

async fn a_repeated_retain_counts_once(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(held("a", "h")).await?.id;
    for _ in 0..3 {
        shelf.store.retain(&id, &holder("i"), None).await?;
    }
    ensure_eq(shelf.holders(&id).await?, 2, "the holders")
}

async fn a_repeated_release_counts_once(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(held("a", "h")).await?.id;
    shelf.store.retain(&id, &holder("i"), None).await?;
    for _ in 0..3 {
        shelf.store.release(&id, &holder("h")).await?;
    }
    ensure_eq(shelf.holders(&id).await?, 1, "the holders")
}

/// Puts the same content at once for each of these holders.
async fn race(shelf: &Shelf, holders: impl Iterator<Item = String>) -> Result<usize, Failure> {
    let puts = holders.map(|name| {
        let store = shelf.store.clone();
        tokio::spawn(async move { store.put(held("a", &name)).await })
    });
    let mut created = 0;
    for put in join_all(puts).await {
        let put = put.map_err(|error| Failure::new(error.to_string()))??;
        created += usize::from(put.created);
    }
    Ok(created)
}

async fn racing_puts_of_one_holder_count_once(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let created = race(&shelf, (0..10).map(|_| "h".to_owned())).await?;
    ensure_eq(created, 1, "how many puts made the content")?;
    ensure_eq(
        shelf.holders(&ReferenceId::of(b"a")).await?,
        1,
        "the holders",
    )
}

async fn racing_holders_all_count(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let created = race(&shelf, (0..10).map(|n| format!("h{n}"))).await?;
    ensure_eq(created, 1, "how many puts made the content")?;
    ensure_eq(
        shelf.holders(&ReferenceId::of(b"a")).await?,
        10,
        "the holders",
    )
}

async fn releasing_answers_whether_it_held(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(held("a", "h")).await?.id;
    ensure(
        !shelf.store.release(&id, &holder("stranger")).await?,
        "a stranger held nothing",
    )?;
    ensure(
        shelf.store.release(&id, &holder("h")).await?,
        "the holder held it",
    )?;
    ensure(
        !shelf.store.release(&id, &holder("h")).await?,
        "and holds it no more",
    )?;
    let unknown = shelf
        .store
        .release(&ReferenceId::of(b"unknown"), &holder("h"))
        .await?;
    ensure(!unknown, "nobody holds unknown content")
}

async fn retaining_unknown_content_is_not_found(cx: Context) -> Outcome {
    let store = cx.references().await?;
    let retained = store
        .retain(&ReferenceId::of(b"unknown"), &holder("h"), None)
        .await;
    expect_kind(retained, ErrorKind::NotFound).map(|_| ())
}

async fn resolving_changes_no_holder(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(held("a", "h")).await?.id;
    for _ in 0..3 {
        shelf.store.resolve(&id).await?;
        shelf.store.resolve_range(&id, 0..1).await?;
    }
    ensure_eq(shelf.holders(&id).await?, 1, "the holders")
}

async fn held_content_is_not_collected(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(held("a", "h")).await?.id;
    ensure_eq(
        shelf.store.collect_garbage().await?.entries,
        0,
        "how many entries were collected",
    )?;
    ensure_eq(
        &shelf.store.resolve(&id).await?.bytes[..],
        b"a",
        "the content",
    )
}

async fn content_that_one_of_two_releases_is_not_collected(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(held("a", "h")).await?.id;
    shelf.put(held("a", "i")).await?;
    shelf.store.release(&id, &holder("h")).await?;
    shelf.store.collect_garbage().await?;
    ensure(shelf.has(&id).await?, "the other still holds it")
}

async fn content_that_all_released_is_collected(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(held("gone", "h")).await?.id;
    let kept = shelf.put(held("kept", "h")).await?.id;
    shelf.store.release(&id, &holder("h")).await?;
    let stored = shelf.store.stat(&id).await?.stored_size;
    let collected = shelf.store.collect_garbage().await?;
    ensure_eq(
        (collected.entries, collected.bytes),
        (1, stored),
        "what was collected",
    )?;
    expect_kind(shelf.store.resolve(&id).await, ErrorKind::NotFound)?;
    ensure(shelf.has(&kept).await?, "what is held stays")
}

async fn content_without_a_holder_can_be_kept_again(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let (put, retained) = (
        shelf.put(held("a", "h")).await?.id,
        shelf.put(held("b", "h")).await?.id,
    );
    for id in [&put, &retained] {
        shelf.store.release(id, &holder("h")).await?;
    }
    ensure(
        !shelf.store.put(held("a", "i")).await?.created,
        "it is still there for a put",
    )?;
    shelf.store.retain(&retained, &holder("i"), None).await?;
    shelf.store.collect_garbage().await?;
    ensure(
        shelf.has(&put).await? && shelf.has(&retained).await?,
        "both are kept",
    )
}

async fn content_without_a_holder_reads_until_it_is_collected(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(held("a", "h")).await?.id;
    shelf.store.release(&id, &holder("h")).await?;
    ensure_eq(
        &shelf.store.resolve(&id).await?.bytes[..],
        b"a",
        "the content",
    )
}

/// As long as it takes for `short` holds to be over.
const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(3600);

async fn a_holder_may_expire(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(held("a", "h")).await?.id;
    shelf
        .store
        .retain(&id, &holder("brief"), Some(SHORT))
        .await?;
    eventually(shelf.patience, "the end of the brief hold", || async {
        Ok((shelf.holders(&id).await? == 1).then_some(()))
    })
    .await
}

async fn retaining_again_renews_an_expiring_holder(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let (renewed, brief) = (
        shelf.put(held("a", "h")).await?.id,
        shelf.put(held("b", "h")).await?.id,
    );
    for id in [&renewed, &brief] {
        shelf.store.retain(id, &holder("h"), Some(SHORT)).await?;
    }
    shelf
        .store
        .retain(&renewed, &holder("h"), Some(LONG))
        .await?;
    eventually(shelf.patience, "the end of the brief hold", || async {
        Ok((shelf.holders(&brief).await? == 0).then_some(()))
    })
    .await?;
    ensure_eq(
        shelf.holders(&renewed).await?,
        1,
        "the holders of what was renewed",
    )
}

async fn an_expired_holder_holds_nothing(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(held("a", "h")).await?.id;
    shelf.store.retain(&id, &holder("h"), Some(SHORT)).await?;
    eventually(
        shelf.patience,
        "the collection of what nobody holds any more",
        || async {
            shelf.store.collect_garbage().await?;
            Ok((!shelf.has(&id).await?).then_some(()))
        },
    )
    .await
}

fn cached(text: &str) -> PutContent {
    PutContent {
        cache: true,
        ..PutContent::new(text.to_owned())
    }
}

async fn cache_content_has_no_holder(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let put = shelf.store.put(cached("a")).await?;
    ensure_eq(put.holder, None, "the holder of cache content")?;
    let info = shelf.store.stat(&put.reference.id).await?;
    ensure_eq(
        (info.holders, info.cache),
        (0, true),
        "the holders, and whether it is cache",
    )
}

async fn cache_content_is_not_collected(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(cached("a")).await?.id;
    shelf.store.collect_garbage().await?;
    ensure(
        shelf.has(&id).await?,
        "cache content is there until there is no room",
    )
}

async fn cache_content_with_a_holder_is_refused(cx: Context) -> Outcome {
    let store = cx.references().await?;
    let put = store.put(cached("a").held_by(holder("h"))).await;
    expect_kind(put, ErrorKind::InvalidArgument).map(|_| ())
}
