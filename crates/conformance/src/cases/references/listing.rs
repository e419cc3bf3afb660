//! Lists and sums.

use std::collections::BTreeSet;

use statehouse_contracts::{
    ErrorKind, PageCursor, PutContent, ReferenceId, ReferenceKind, ReferenceQuery,
};

use super::{Shelf, held, holder, raw};
use crate::case::case;
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(entries_are_listed_in_the_order_of_their_ids),
        case!(a_list_goes_on_page_by_page),
        case!(a_list_may_be_of_one_kind),
        case!(a_list_may_be_of_one_holder),
        case!(a_list_tells_what_is_known_of_each_entry),
        case!(a_cursor_that_is_none_is_refused),
        case!(stats_sum_over_the_namespace),
        case!(stats_count_collections),
    ]
}

/// All ids that the query finds, over its pages.
async fn listed(shelf: &Shelf, query: ReferenceQuery) -> Result<Vec<ReferenceId>, Failure> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = shelf
            .store
            .list(ReferenceQuery {
                after,
                ..query.clone()
            })
            .await?;
        let fits = query.limit == 0 || page.items.len() <= query.limit;
        ensure(fits, "a page holds no more than asked for")?;
        ids.extend(page.items.iter().map(|info| info.reference.id));
        after = page.next;
        if after.is_none() {
            return Ok(ids);
        }
    }
}

async fn fill(shelf: &Shelf, number: usize) -> Result<Vec<ReferenceId>, Failure> {
    let mut ids = BTreeSet::new();
    for n in 0..number {
        ids.insert(shelf.put(held(&format!("content {n}"), "h")).await?.id);
    }
    Ok(ids.into_iter().collect())
}

async fn entries_are_listed_in_the_order_of_their_ids(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    ensure_eq(
        listed(&shelf, ReferenceQuery::default()).await?,
        Vec::new(),
        "an empty list",
    )?;
    let ids = fill(&shelf, 20).await?;
    ensure_eq(
        listed(&shelf, ReferenceQuery::default()).await?,
        ids,
        "the ids, in order",
    )
}

async fn a_list_goes_on_page_by_page(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let ids = fill(&shelf, 20).await?;
    for limit in [1, 7, 10, 20] {
        let query = ReferenceQuery {
            limit,
            ..ReferenceQuery::default()
        };
        ensure_eq(
            &listed(&shelf, query).await?,
            &ids,
            &format!("pages of {limit}"),
        )?;
    }
    Ok(())
}

async fn a_list_may_be_of_one_kind(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    fill(&shelf, 3).await?;
    let kind = ReferenceKind::ObservabilityTrace;
    let id = shelf
        .put(PutContent {
            kind,
            ..held("trace", "h")
        })
        .await?
        .id;
    let query = ReferenceQuery {
        kind: Some(kind),
        ..ReferenceQuery::default()
    };
    ensure_eq(
        listed(&shelf, query).await?,
        vec![id],
        "the entries of one kind",
    )
}

async fn a_list_may_be_of_one_holder(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let ids = fill(&shelf, 6).await?;
    for id in &ids[..3] {
        shelf.store.retain(id, &holder("i"), None).await?;
    }
    shelf.store.release(&ids[0], &holder("i")).await?;
    let of = |name| ReferenceQuery {
        holder: Some(holder(name)),
        limit: 2,
        ..Default::default()
    };
    ensure_eq(
        &listed(&shelf, of("i")).await?,
        &ids[1..3].to_vec(),
        "what one holder holds",
    )?;
    ensure_eq(listed(&shelf, of("h")).await?, ids, "what the other holds")
}

async fn a_list_tells_what_is_known_of_each_entry(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(held("a", "h")).await?.id;
    let page = shelf.store.list(ReferenceQuery::default()).await?;
    ensure_eq(
        page.items,
        vec![shelf.store.stat(&id).await?],
        "what list and stat say",
    )
}

async fn a_cursor_that_is_none_is_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    fill(&shelf, 3).await?;
    for text in ["", "no cursor", "ünsinn", "-1"] {
        let after = Some(PageCursor(text.to_owned()));
        let page = shelf
            .store
            .list(ReferenceQuery {
                after,
                ..Default::default()
            })
            .await;
        expect_kind(page, ErrorKind::InvalidArgument)?;
    }
    Ok(())
}

async fn stats_sum_over_the_namespace(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    ensure_eq(
        shelf.store.stats().await?.entries,
        0,
        "the entries of a new namespace",
    )?;
    shelf.put(raw(1, 5_000).held_by(holder("h"))).await?;
    let text = "compressible ".repeat(1_000);
    let loose = shelf.store.put(held(&text, "i")).await?.reference;
    shelf.store.release(&loose.id, &holder("i")).await?;
    let stored = shelf.store.stat(&loose.id).await?.stored_size;
    let stats = shelf.store.stats().await?;
    ensure_eq(
        (stats.entries, stats.held),
        (2, 1),
        "entries, and those that are held",
    )?;
    ensure_eq(stats.plain_bytes, 5_000 + loose.size, "the plain bytes")?;
    ensure_eq(stats.stored_bytes, 5_000 + stored, "the stored bytes")
}

async fn stats_count_collections(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let before = shelf.store.stats().await?;
    let id = shelf.put(held("a", "h")).await?.id;
    shelf.store.release(&id, &holder("h")).await?;
    shelf.store.collect_garbage().await?;
    let after = shelf.store.stats().await?;
    ensure(
        after.collections > before.collections,
        "the collection counts",
    )?;
    ensure_eq(after.evictions, before.evictions + 1, "what was collected")
}
