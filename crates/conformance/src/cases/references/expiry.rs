//! Content that expires.

use std::time::Duration;

use statehouse_contracts::{ErrorKind, PutContent, ReferenceId, ReferenceQuery};

use super::{Shelf, held, holder};
use crate::case::case;
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, eventually, expect_kind, some};

pub(crate) fn cases() -> Vec<Case> {
    let expiring = vec![
        case!(content_without_a_ttl_does_not_expire),
        case!(a_ttl_sets_when_content_expires),
        case!(expired_content_reads_as_absent_whoever_holds_it),
        case!(expired_content_is_collected),
        case!(a_put_of_expired_content_makes_it_anew),
        case!(a_later_put_with_a_longer_ttl_extends_it),
        case!(a_later_put_with_a_shorter_ttl_does_not_cut_it),
        case!(a_later_put_without_a_ttl_removes_it),
        case!(touching_sets_the_ttl_anew),
        case!(touching_without_a_ttl_removes_it),
        case!(expired_content_cannot_be_kept),
    ];
    let mut cases: Vec<Case> = expiring
        .into_iter()
        .map(|case| case.references(|c| c.ttl))
        .collect();
    cases.push(case!(a_ttl_is_refused).references(|c| !c.ttl));
    cases
}

const SHORT: Duration = Duration::from_millis(200);
const HOUR: Duration = Duration::from_secs(3600);

fn for_a(ttl: Duration, content: PutContent) -> PutContent {
    PutContent {
        ttl: Some(ttl),
        ..content
    }
}

/// Waits until the content reads as absent.
async fn until_gone(shelf: &Shelf, id: &ReferenceId) -> Outcome {
    eventually(shelf.patience, "the end of the content's ttl", || async {
        Ok((!shelf.has(id).await?).then_some(()))
    })
    .await
}

/// How long the content lives from when it was put.
async fn lives(shelf: &Shelf, id: &ReferenceId) -> Result<Option<Duration>, Failure> {
    let info = shelf.store.stat(id).await?;
    let lives = info
        .expires_at
        .map(|at| Duration::try_from(at.duration_since(info.created_at)));
    Ok(lives.map(Result::unwrap_or_default))
}

async fn content_without_a_ttl_does_not_expire(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(held("a", "h")).await?.id;
    ensure_eq(lives(&shelf, &id).await?, None, "when it expires")
}

async fn a_ttl_sets_when_content_expires(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(for_a(HOUR, held("a", "h"))).await?.id;
    ensure_eq(lives(&shelf, &id).await?, Some(HOUR), "how long it lives")
}

async fn expired_content_reads_as_absent_whoever_holds_it(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(for_a(SHORT, held("a", "h"))).await?.id;
    until_gone(&shelf, &id).await?;
    expect_kind(shelf.store.resolve(&id).await, ErrorKind::NotFound)?;
    expect_kind(
        shelf.store.resolve_range(&id, 0..1).await,
        ErrorKind::NotFound,
    )?;
    expect_kind(shelf.store.touch(&id, None).await, ErrorKind::NotFound)?;
    let listed = shelf.store.list(ReferenceQuery::default()).await?;
    ensure(listed.items.is_empty(), "expired content is not listed")
}

async fn expired_content_is_collected(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(for_a(SHORT, held("a", "h"))).await?.id;
    until_gone(&shelf, &id).await?;
    shelf.store.collect_garbage().await?;
    let stats = shelf.store.stats().await?;
    ensure_eq(
        (stats.entries, stats.stored_bytes),
        (0, 0),
        "what is stored after a collection",
    )
}

async fn a_put_of_expired_content_makes_it_anew(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(for_a(SHORT, held("a", "old"))).await?.id;
    until_gone(&shelf, &id).await?;
    ensure(
        shelf.store.put(held("a", "new")).await?.created,
        "the content is new",
    )?;
    ensure_eq(
        &shelf.store.resolve(&id).await?.bytes[..],
        b"a",
        "the content",
    )?;
    ensure_eq(lives(&shelf, &id).await?, None, "when it expires")?;
    ensure_eq(
        shelf.holders(&id).await?,
        1,
        "the holders, without those of the expired entry",
    )
}

async fn a_later_put_with_a_longer_ttl_extends_it(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(for_a(HOUR, held("a", "h"))).await?.id;
    shelf.put(for_a(HOUR * 2, held("a", "i"))).await?;
    let lives = some(lives(&shelf, &id).await?, "time at which it expires")?;
    ensure(
        lives >= HOUR * 2,
        "it must live as long as the later put says",
    )
}

async fn a_later_put_with_a_shorter_ttl_does_not_cut_it(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(for_a(HOUR, held("a", "h"))).await?.id;
    shelf.put(for_a(SHORT, held("a", "i"))).await?;
    ensure_eq(lives(&shelf, &id).await?, Some(HOUR), "how long it lives")
}

async fn a_later_put_without_a_ttl_removes_it(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(for_a(HOUR, held("a", "h"))).await?.id;
    shelf.put(held("a", "i")).await?;
    ensure_eq(lives(&shelf, &id).await?, None, "when it expires")
}

async fn touching_sets_the_ttl_anew(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(held("a", "h")).await?.id;
    shelf.store.touch(&id, Some(HOUR)).await?;
    let long = some(lives(&shelf, &id).await?, "time at which it expires")?;
    ensure(long >= HOUR, "it lives from now as long as the touch says")?;
    shelf.store.touch(&id, Some(SHORT)).await?;
    until_gone(&shelf, &id).await
}

async fn touching_without_a_ttl_removes_it(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(for_a(HOUR, held("a", "h"))).await?.id;
    shelf.store.touch(&id, None).await?;
    ensure_eq(lives(&shelf, &id).await?, None, "when it expires")
}

async fn expired_content_cannot_be_kept(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(for_a(SHORT, held("a", "h"))).await?.id;
    until_gone(&shelf, &id).await?;
    let retained = shelf.store.retain(&id, &holder("i"), None).await;
    expect_kind(retained, ErrorKind::NotFound).map(|_| ())
}

async fn a_ttl_is_refused(cx: Context) -> Outcome {
    let store = cx.references().await?;
    let put = store.put(for_a(HOUR, held("a", "h"))).await;
    expect_kind(put, ErrorKind::Unsupported).map(|_| ())
}
