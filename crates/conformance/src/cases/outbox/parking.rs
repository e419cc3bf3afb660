//! Entries that were refused for good.

use std::time::Instant;

use statehouse_contracts::{ErrorKind, PageCursor};

use super::relay::{Relay, keyed, message, parked, said, sent};
use crate::case::case;
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(a_parked_entry_is_visible_with_its_reason),
        case!(a_parked_entry_blocks_only_its_key),
        case!(what_comes_later_behind_a_parked_entry_waits_too),
        case!(a_parked_entry_without_a_key_blocks_nothing),
        case!(what_is_blocked_still_waits),
        case!(an_unparked_entry_is_sent_again_at_its_old_place),
        case!(an_unparked_entry_can_be_parked_again),
        case!(discarding_a_parked_entry_frees_its_key),
        case!(a_key_is_free_when_its_last_parked_entry_is_gone),
        case!(unparking_wakes_who_waits),
        case!(what_is_not_parked_cannot_be_unparked_or_discarded),
        case!(the_pages_of_parked_entries_join),
        case!(a_page_cursor_that_is_none_is_refused),
        case!(parking_is_no_change),
    ]
}

/// Three messages of the key `k` and two others; the first of `k` is parked.
async fn blocked(cx: &Context) -> Result<(Relay, u64), Failure> {
    let messages = [
        keyed("k", "k1"),
        message("a"),
        keyed("k", "k2"),
        keyed("l", "l1"),
        keyed("k", "k3"),
    ];
    let relay = Relay::with(cx, messages).await?;
    let entries = relay.read(0).await?;
    relay.settle([parked(&entries[0], "too large")]).await?;
    Ok((relay, entries[0].position))
}

async fn a_parked_entry_is_visible_with_its_reason(cx: Context) -> Outcome {
    let (relay, position) = blocked(&cx).await?;
    let entries = relay.parked(0).await?;
    let shown: Vec<_> = entries
        .iter()
        .map(|e| (e.position, said(e), e.parked.as_deref()))
        .collect();
    ensure_eq(
        shown,
        [(position, "k1".to_owned(), Some("too large"))],
        "the parked entries",
    )
}

async fn a_parked_entry_blocks_only_its_key(cx: Context) -> Outcome {
    let (relay, position) = blocked(&cx).await?;
    relay.reads(&["a", "l1"]).await?;
    let after: Vec<String> = relay.read(position).await?.iter().map(said).collect();
    ensure_eq(after, ["a", "l1"], "what is read after the parked entry")
}

async fn what_comes_later_behind_a_parked_entry_waits_too(cx: Context) -> Outcome {
    let (relay, _) = blocked(&cx).await?;
    let later = super::relay::only([keyed("k", "k4"), message("b")]);
    relay.shelf.state.apply(later).await?;
    relay.reads(&["a", "l1", "b"]).await.map(|_| ())
}

async fn a_parked_entry_without_a_key_blocks_nothing(cx: Context) -> Outcome {
    let relay = Relay::with(&cx, ["a", "b"].map(message)).await?;
    let entries = relay.read(0).await?;
    relay.settle([parked(&entries[0], "no")]).await?;
    relay.reads(&["b"]).await.map(|_| ())
}

async fn what_is_blocked_still_waits(cx: Context) -> Outcome {
    let (relay, _) = blocked(&cx).await?;
    relay.depth_is(4).await
}

async fn an_unparked_entry_is_sent_again_at_its_old_place(cx: Context) -> Outcome {
    let (relay, position) = blocked(&cx).await?;
    relay.shelf.state.outbox_unpark(position).await?;
    let entries = relay.reads(&["k1", "a", "k2", "l1", "k3"]).await?;
    ensure_eq(
        (entries[0].position, &entries[0].parked),
        (position, &None),
        "its place",
    )?;
    relay.depth_is(5).await?;
    ensure_eq(relay.parked(0).await?.len(), 0, "how many are parked")?;
    relay.settle(entries.iter().map(sent)).await?;
    relay.depth_is(0).await
}

async fn an_unparked_entry_can_be_parked_again(cx: Context) -> Outcome {
    let (relay, position) = blocked(&cx).await?;
    relay.shelf.state.outbox_unpark(position).await?;
    let entries = relay.read(0).await?;
    relay.settle([parked(&entries[0], "again")]).await?;
    relay.reads(&["a", "l1"]).await?;
    let reasons: Vec<_> = relay
        .parked(0)
        .await?
        .into_iter()
        .map(|entry| entry.parked)
        .collect();
    ensure_eq(reasons, [Some("again".to_owned())], "the reasons")
}

async fn discarding_a_parked_entry_frees_its_key(cx: Context) -> Outcome {
    let (relay, position) = blocked(&cx).await?;
    relay.shelf.state.outbox_discard(position).await?;
    relay.reads(&["a", "k2", "l1", "k3"]).await?;
    relay.depth_is(4).await?;
    ensure_eq(relay.parked(0).await?.len(), 0, "how many are parked")
}

async fn a_key_is_free_when_its_last_parked_entry_is_gone(cx: Context) -> Outcome {
    let relay = Relay::with(&cx, ["k1", "k2", "k3"].map(|text| keyed("k", text))).await?;
    let entries = relay.read(0).await?;
    // A relay that sends ahead may have several of one key refused.
    relay
        .settle([parked(&entries[1], "no"), parked(&entries[0], "no")])
        .await?;
    relay.reads(&[]).await?;
    relay
        .shelf
        .state
        .outbox_discard(entries[0].position)
        .await?;
    relay.reads(&[]).await?;
    relay.shelf.state.outbox_unpark(entries[1].position).await?;
    relay.reads(&["k2", "k3"]).await.map(|_| ())
}

async fn unparking_wakes_who_waits(cx: Context) -> Outcome {
    let relay = Relay::with(&cx, [keyed("k", "k1")]).await?;
    let entries = relay.read(0).await?;
    relay.settle([parked(&entries[0], "no")]).await?;
    let waiter = relay.clone();
    let waiting = tokio::spawn(async move {
        let patience = waiter.shelf.patience;
        waiter
            .shelf
            .state
            .outbox_read(&waiter.token, 0, 0, patience)
            .await
    });
    // sleep: a call that waits cannot be told from one that has not begun
    tokio::time::sleep(relay.shelf.quiet).await;
    ensure(!waiting.is_finished(), "a parked entry is not read")?;
    let start = Instant::now();
    relay.shelf.state.outbox_unpark(entries[0].position).await?;
    let read = waiting
        .await
        .map_err(|error| Failure::new(error.to_string()))??;
    ensure_eq(read.len(), 1, "the number of entries")?;
    ensure(
        start.elapsed() < relay.shelf.patience / 2,
        "the wait ends soon after",
    )
}

async fn what_is_not_parked_cannot_be_unparked_or_discarded(cx: Context) -> Outcome {
    let (relay, position) = blocked(&cx).await?;
    let waiting = relay.read(0).await?[0].position;
    let state = &relay.shelf.state;
    for position in [waiting, 0, 1_000_000] {
        expect_kind(state.outbox_unpark(position).await, ErrorKind::NotFound)?;
        expect_kind(state.outbox_discard(position).await, ErrorKind::NotFound)?;
    }
    state.outbox_discard(position).await?;
    expect_kind(state.outbox_discard(position).await, ErrorKind::NotFound)?;
    expect_kind(state.outbox_unpark(position).await, ErrorKind::NotFound).map(|_| ())
}

async fn the_pages_of_parked_entries_join(cx: Context) -> Outcome {
    let texts = ["a", "b", "c", "d", "e"];
    let relay = Relay::with(&cx, texts.map(message)).await?;
    let entries = relay.read(0).await?;
    relay
        .settle(entries.iter().rev().map(|entry| parked(entry, "no")))
        .await?;
    relay.depth_is(0).await?;
    for limit in [0, 1, 2, 5] {
        let shown: Vec<String> = relay.parked(limit).await?.iter().map(said).collect();
        ensure_eq(shown, texts, &format!("pages of {limit}"))?;
    }
    Ok(())
}

async fn a_page_cursor_that_is_none_is_refused(cx: Context) -> Outcome {
    let (relay, _) = blocked(&cx).await?;
    for nonsense in ["", "nonsense", "🦀"] {
        let cursor = PageCursor(nonsense.into());
        let page = relay.shelf.state.outbox_parked(0, Some(&cursor)).await;
        expect_kind(page, ErrorKind::InvalidArgument)?;
    }
    Ok(())
}

async fn parking_is_no_change(cx: Context) -> Outcome {
    let (relay, position) = blocked(&cx).await?;
    let head = relay.shelf.state.oldest().await?;
    relay.shelf.state.outbox_unpark(position).await?;
    relay.shelf.changes_are(&head, &[]).await
}
