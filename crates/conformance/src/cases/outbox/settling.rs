//! What becomes of entries that were sent.

use super::relay::{Relay, keyed, message, sent};
use crate::case::case;
use crate::{Case, Context, Outcome, ensure_eq};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(what_was_sent_leaves_the_outbox),
        case!(entries_may_be_settled_in_any_order),
        case!(what_is_settled_already_is_passed_over),
        case!(settling_nothing_is_ok),
        case!(a_sent_entry_of_a_key_leaves_the_rest_of_it),
    ]
}

async fn what_was_sent_leaves_the_outbox(cx: Context) -> Outcome {
    let relay = Relay::with(&cx, ["a", "b", "c"].map(message)).await?;
    let entries = relay.read(0).await?;
    relay.settle(entries[..2].iter().map(sent)).await?;
    relay.depth_is(1).await?;
    relay.reads(&["c"]).await?;
    ensure_eq(relay.parked(0).await?.len(), 0, "how many are parked")
}

async fn entries_may_be_settled_in_any_order(cx: Context) -> Outcome {
    let relay = Relay::with(&cx, ["a", "b", "c"].map(message)).await?;
    let entries = relay.read(0).await?;
    relay.settle([sent(&entries[1])]).await?;
    relay.reads(&["a", "c"]).await?;
    relay.settle([sent(&entries[2]), sent(&entries[0])]).await?;
    relay.reads(&[]).await?;
    relay.depth_is(0).await
}

async fn what_is_settled_already_is_passed_over(cx: Context) -> Outcome {
    let relay = Relay::with(&cx, ["a", "b"].map(message)).await?;
    let entries = relay.read(0).await?;
    for _ in 0..2 {
        relay.settle([sent(&entries[0])]).await?;
        relay.depth_is(1).await?;
    }
    relay.settle(entries.iter().map(sent)).await?;
    relay.depth_is(0).await
}

async fn settling_nothing_is_ok(cx: Context) -> Outcome {
    let relay = Relay::with(&cx, [message("a")]).await?;
    relay.settle([]).await?;
    relay.depth_is(1).await
}

async fn a_sent_entry_of_a_key_leaves_the_rest_of_it(cx: Context) -> Outcome {
    let messages = [keyed("k", "k1"), keyed("l", "l1"), keyed("k", "k2")];
    let relay = Relay::with(&cx, messages).await?;
    let entries = relay.reads(&["k1", "l1", "k2"]).await?;
    relay.settle([sent(&entries[0])]).await?;
    relay.reads(&["l1", "k2"]).await.map(|_| ())
}
