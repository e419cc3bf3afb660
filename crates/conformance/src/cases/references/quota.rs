//! The byte quota of a namespace.

use std::time::Duration;

use statehouse_contracts::{ErrorKind, PutContent, ReferenceId};

use super::{Shelf, holder, raw};
use crate::case::case;
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, eventually, expect_kind, some};

pub(crate) fn cases() -> Vec<Case> {
    let full = vec![
        case!(a_quota_is_reported),
        case!(what_is_held_is_never_evicted),
        case!(a_put_beyond_the_quota_changes_nothing),
        case!(content_that_is_there_needs_no_room),
        case!(expired_content_goes_first).references(|c| c.ttl),
        case!(unheld_content_goes_before_cache_content),
        case!(cache_content_goes_least_recently_used_first),
        case!(touching_marks_cache_content_as_used),
        case!(no_more_goes_than_room_is_needed_for),
        case!(each_namespace_has_its_own_quota),
    ];
    full.into_iter().map(Case::quota).collect()
}

/// A store with a quota, and a fifth of it as the size to put.
async fn shelf(cx: &Context) -> Result<(Shelf, usize), Failure> {
    let store = cx
        .with_quota()
        .await?
        .backend()
        .references(cx.scope())
        .await?;
    let quota = some(store.capability().quota, "quota")?;
    let fifth = usize::try_from(quota / 5).unwrap_or(usize::MAX);
    Ok((
        Shelf {
            store,
            patience: cx.timing().patience,
        },
        fifth,
    ))
}

fn cached(content: PutContent) -> PutContent {
    PutContent {
        cache: true,
        holder: None,
        ..content
    }
}

/// Fills four fifths with held content.
async fn fill(shelf: &Shelf, fifth: usize) -> Result<Vec<ReferenceId>, Failure> {
    let mut ids = Vec::new();
    for salt in 100..104 {
        ids.push(
            shelf
                .put(raw(salt, fifth).held_by(holder("fill")))
                .await?
                .id,
        );
    }
    Ok(ids)
}

async fn a_quota_is_reported(cx: Context) -> Outcome {
    let (shelf, _) = shelf(&cx).await?;
    let quota = some(shelf.store.capability().quota, "quota")?;
    ensure(
        (64 << 10..=16 << 20).contains(&quota),
        "the quota for tests is 64 KiB to 16 MiB",
    )
}

async fn what_is_held_is_never_evicted(cx: Context) -> Outcome {
    let (shelf, fifth) = shelf(&cx).await?;
    let ids = fill(&shelf, fifth).await?;
    let put = shelf.store.put(raw(1, fifth * 2)).await;
    expect_kind(put, ErrorKind::QuotaExceeded)?;
    for id in ids {
        ensure(shelf.has(&id).await?, "held content stays")?;
    }
    Ok(())
}

async fn a_put_beyond_the_quota_changes_nothing(cx: Context) -> Outcome {
    let (shelf, fifth) = shelf(&cx).await?;
    fill(&shelf, fifth).await?;
    // It could go, but its going would not be enough.
    let small = shelf.put(cached(raw(2, fifth / 4))).await?.id;
    let before = shelf.store.stats().await?;
    let put = shelf.store.put(raw(1, fifth * 2)).await;
    expect_kind(put, ErrorKind::QuotaExceeded)?;
    ensure_eq(shelf.store.stats().await?, before, "the sums")?;
    ensure(shelf.has(&small).await?, "nothing was evicted in vain")
}

async fn content_that_is_there_needs_no_room(cx: Context) -> Outcome {
    let (shelf, fifth) = shelf(&cx).await?;
    let ids = fill(&shelf, fifth).await?;
    shelf
        .put(raw(5, fifth * 9 / 10).held_by(holder("fill")))
        .await?;
    let again = shelf
        .store
        .put(raw(100, fifth).held_by(holder("another")))
        .await?;
    ensure_eq(
        (again.created, again.reference.id),
        (false, ids[0]),
        "the put of the same content",
    )
}

async fn expired_content_goes_first(cx: Context) -> Outcome {
    let (shelf, fifth) = shelf(&cx).await?;
    let loose = shelf.put(raw(1, fifth).held_by(holder("h"))).await?.id;
    shelf.store.release(&loose, &holder("h")).await?;
    let brief = PutContent {
        ttl: Some(Duration::from_millis(200)),
        ..raw(2, fifth)
    };
    let brief = shelf.put(brief).await?.id;
    for salt in 3..6 {
        shelf.put(raw(salt, fifth * 9 / 10)).await?;
    }
    eventually(shelf.patience, "the end of the content's ttl", || async {
        Ok((!shelf.has(&brief).await?).then_some(()))
    })
    .await?;
    shelf.put(raw(6, fifth)).await?;
    ensure(
        shelf.has(&loose).await?,
        "the expired content makes room enough",
    )
}

async fn unheld_content_goes_before_cache_content(cx: Context) -> Outcome {
    let (shelf, fifth) = shelf(&cx).await?;
    let cache = shelf.put(cached(raw(1, fifth))).await?.id;
    let loose = shelf.put(raw(2, fifth).held_by(holder("h"))).await?.id;
    shelf.store.release(&loose, &holder("h")).await?;
    for salt in 3..6 {
        shelf.put(raw(salt, fifth * 9 / 10)).await?;
    }
    shelf.put(raw(6, fifth)).await?;
    ensure(!shelf.has(&loose).await?, "what nobody holds makes room")?;
    ensure(shelf.has(&cache).await?, "and cache content stays")
}

/// Two entries of cache content and three held ones: nearly full.
async fn two_cached(shelf: &Shelf, fifth: usize) -> Result<[ReferenceId; 2], Failure> {
    let first = shelf.put(cached(raw(1, fifth))).await?.id;
    let second = shelf.put(cached(raw(2, fifth))).await?.id;
    for salt in 3..6 {
        shelf.put(raw(salt, fifth * 9 / 10)).await?;
    }
    Ok([first, second])
}

async fn cache_content_goes_least_recently_used_first(cx: Context) -> Outcome {
    let (shelf, fifth) = shelf(&cx).await?;
    let [first, second] = two_cached(&shelf, fifth).await?;
    shelf.store.resolve(&first).await?;
    shelf.put(raw(6, fifth)).await?;
    ensure(shelf.has(&first).await?, "what was used later stays")?;
    ensure(
        !shelf.has(&second).await?,
        "what was used less recently goes",
    )
}

async fn touching_marks_cache_content_as_used(cx: Context) -> Outcome {
    let (shelf, fifth) = shelf(&cx).await?;
    let [first, second] = two_cached(&shelf, fifth).await?;
    shelf.store.touch(&first, None).await?;
    shelf.put(raw(6, fifth)).await?;
    ensure(
        shelf.has(&first).await? && !shelf.has(&second).await?,
        "the touched one stays",
    )
}

async fn no_more_goes_than_room_is_needed_for(cx: Context) -> Outcome {
    let (shelf, fifth) = shelf(&cx).await?;
    two_cached(&shelf, fifth).await?;
    let before = shelf.store.stats().await?;
    shelf.put(raw(6, fifth)).await?;
    let after = shelf.store.stats().await?;
    ensure_eq(after.entries, before.entries, "one goes, one comes")?;
    ensure_eq(
        after.evictions,
        before.evictions + 1,
        "how many were evicted",
    )
}

async fn each_namespace_has_its_own_quota(cx: Context) -> Outcome {
    let instance = cx.with_quota().await?;
    let here = instance.backend().references(cx.scope()).await?;
    let there = instance.backend().references(&cx.other_scope()?).await?;
    let quota = some(here.capability().quota, "quota")?;
    let most = usize::try_from(quota * 4 / 5).unwrap_or(usize::MAX);
    for store in [here, there] {
        store.put(raw(1, most)).await?;
    }
    Ok(())
}
