//! Namespaces, closing and reopening.

use statehouse_contracts::{ErrorKind, PutContent, ReferenceQuery};

use super::{Shelf, held, holder, raw};
use crate::case::case;
use crate::{Case, Context, Outcome, ensure, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(namespaces_see_nothing_of_each_other),
        case!(equal_content_is_not_shared_between_namespaces),
        case!(closing_twice_is_ok),
        case!(after_closing_it_is_closed),
        case!(closing_one_handle_leaves_the_others_open),
        case!(content_and_holders_come_back_after_reopening)
            .reopens()
            .references(|c| c.durability.process_kill),
        case!(another_process_sees_what_is_put_here).reopens(),
    ]
}

async fn namespaces_see_nothing_of_each_other(cx: Context) -> Outcome {
    let here = Shelf::new(&cx).await?;
    let there = cx.backend().await?.references(&cx.other_scope()?).await?;
    let id = here.put(held("a", "h")).await?.id;
    expect_kind(there.resolve(&id).await, ErrorKind::NotFound)?;
    expect_kind(
        there.retain(&id, &holder("h"), None).await,
        ErrorKind::NotFound,
    )?;
    ensure(
        !there.release(&id, &holder("h")).await?,
        "nobody holds it there",
    )?;
    ensure(!there.delete(&id).await?, "it is not there to delete")?;
    ensure(
        there
            .list(ReferenceQuery::default())
            .await?
            .items
            .is_empty(),
        "it is not listed",
    )?;
    ensure_eq(there.stats().await?.entries, 0, "the entries there")?;
    ensure(here.has(&id).await?, "it stays where it is")
}

async fn equal_content_is_not_shared_between_namespaces(cx: Context) -> Outcome {
    let here = Shelf::new(&cx).await?;
    let there = cx.backend().await?.references(&cx.other_scope()?).await?;
    let id = here.put(held("a", "h")).await?.id;
    let put = there.put(held("a", "h")).await?;
    ensure(put.created, "the content is new in the other namespace")?;
    there.delete(&id).await?;
    ensure_eq(
        &here.store.resolve(&id).await?.bytes[..],
        b"a",
        "the content here",
    )?;
    ensure_eq(here.holders(&id).await?, 1, "the holders here")
}

async fn closing_twice_is_ok(cx: Context) -> Outcome {
    let store = cx.references().await?;
    store.close().await?;
    Ok(store.close().await?)
}

async fn after_closing_it_is_closed(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(held("a", "h")).await?.id;
    shelf.store.close().await?;
    expect_kind(
        shelf.store.put(PutContent::new("b")).await,
        ErrorKind::Closed,
    )?;
    expect_kind(shelf.store.resolve(&id).await, ErrorKind::Closed)?;
    expect_kind(shelf.store.stats().await, ErrorKind::Closed).map(|_| ())
}

async fn closing_one_handle_leaves_the_others_open(cx: Context) -> Outcome {
    let (first, second) = (Shelf::new(&cx).await?, Shelf::new(&cx).await?);
    let id = first.put(held("a", "h")).await?.id;
    first.store.close().await?;
    ensure(second.has(&id).await?, "the other handle is open")
}

async fn content_and_holders_come_back_after_reopening(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    let store = instance.backend().references(cx.scope()).await?;
    let content = raw(1, 100_000).held_by(holder("h"));
    let bytes = content.bytes.clone();
    let id = store.put(content).await?.reference.id;
    let before = store.stat(&id).await?;
    let again = instance.reopen().await?;
    let store = again.backend().references(cx.scope()).await?;
    ensure_eq(store.stat(&id).await?, before, "what is known of it")?;
    ensure(
        store.resolve(&id).await?.bytes == bytes,
        "the content comes back unchanged",
    )?;
    store.put(raw(1, 100_000).held_by(holder("h"))).await?;
    ensure_eq(
        store.stat(&id).await?.holders,
        1,
        "the holders after a repeated put",
    )?;
    ensure(
        store.release(&id, &holder("h")).await?,
        "the holder still holds it",
    )
}

async fn another_process_sees_what_is_put_here(cx: Context) -> Outcome {
    let here = cx.fresh().await?;
    let there = here.beside().await?;
    let put = here
        .backend()
        .references(cx.scope())
        .await?
        .put(held("a", "h"))
        .await?;
    let store = there.backend().references(cx.scope()).await?;
    ensure_eq(
        &store.resolve(&put.reference.id).await?.bytes[..],
        b"a",
        "the content",
    )
}
