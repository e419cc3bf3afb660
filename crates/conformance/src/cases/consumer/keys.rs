//! Ordering keys.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use futures::future::join_all;
use statehouse_contracts::{Consumer, ConsumerExt, ErrorKind, KeyBlocking, Message, Receive};
use tokio::sync::Mutex;

use crate::case::case;
use crate::cases::desk::{Desk, group, keyed, priority, said, spec, text, urgent};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, eventually, expect_kind, fail};

pub(crate) fn cases() -> Vec<Case> {
    let keys = |case: Case| case.consumer(|c| c.ordering_keys);
    let both = |case: Case| {
        case.consumer(|c| c.keys_with_priorities && c.strict_priorities && c.priorities > 1)
    };
    let only_the_key = |case: Case| keys(case).consumer(|c| c.key_blocking == KeyBlocking::Key);
    vec![
        keys(case!(messages_of_a_key_come_one_at_a_time)),
        only_the_key(case!(one_receive_takes_one_message_of_each_key)),
        only_the_key(case!(a_leased_head_blocks_only_its_key)),
        only_the_key(case!(a_retry_blocks_only_its_key)).consumer(|c| c.nack_delay),
        keys(case!(a_blocked_key_holds_up_no_message_without_one)),
        keys(case!(a_lease_that_ends_keeps_the_order_of_its_key)),
        keys(case!(a_dead_letter_frees_its_key)),
        keys(case!(a_message_that_used_up_its_deliveries_frees_its_key)),
        keys(case!(the_order_of_a_key_holds_under_many_consumers)),
        keys(case!(without_ordering_keys_are_ignored)),
        both(case!(a_key_keeps_its_order_whatever_the_priorities)),
        both(case!(a_key_competes_with_the_priority_of_its_head)),
        case!(ordering_is_refused).consumer(|c| !c.ordering_keys),
    ]
}

async fn messages_of_a_key_come_one_at_a_time(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all(["1", "2", "3"].map(|n| keyed("k", n)))
        .await?;
    for n in ["1", "2", "3"] {
        let delivery = desk.next_says(n).await?;
        desk.stays_empty().await?;
        desk.ack(&delivery).await?;
    }
    Ok(())
}

async fn one_receive_takes_one_message_of_each_key(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all([
        keyed("k", "k1"),
        keyed("k", "k2"),
        keyed("l", "l1"),
        text("free"),
    ])
    .await?;
    // A broker may need more than one call for all.
    let mut got = HashSet::new();
    eventually(desk.timing.patience, "one message of each key", || async {
        let receive = Receive::new(10, desk.timing.quiet);
        Ok(Some(desk.consumer.receive(&desk.group, receive).await?).filter(|got| !got.is_empty()))
    })
    .await
    .map(|first| got.extend(first.iter().map(said)))?;
    let more = desk
        .consumer
        .receive(&desk.group, Receive::new(10, desk.timing.quiet))
        .await?;
    got.extend(more.iter().map(said));
    ensure_eq(
        got,
        HashSet::from(["k1", "l1", "free"].map(String::from)),
        "what was taken",
    )
}

async fn a_leased_head_blocks_only_its_key(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all([
        keyed("k", "k1"),
        keyed("k", "k2"),
        keyed("l", "l1"),
        text("free"),
    ])
    .await?;
    let head = desk.next_says("k1").await?;
    desk.all_say(&["l1", "free"]).await?;
    desk.stays_empty().await?;
    desk.ack(&head).await?;
    desk.all_say(&["k2"]).await
}

async fn a_blocked_key_holds_up_no_message_without_one(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all([keyed("k", "k1"), keyed("k", "k2")]).await?;
    let head = desk.next_says("k1").await?;
    desk.send_all([text("a"), text("b")]).await?;
    desk.all_say(&["a", "b"]).await?;
    desk.stays_empty().await?;
    desk.ack(&head).await?;
    desk.all_say(&["k2"]).await
}

async fn a_retry_blocks_only_its_key(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all([keyed("k", "k1"), keyed("k", "k2"), keyed("l", "l1")])
        .await?;
    let first = desk.next_says("k1").await?;
    let (wait, nacked) = (desk.timing.delay * 5, Instant::now());
    desk.nack_after(&first, wait).await?;
    desk.all_say(&["l1"]).await?;
    let again = desk.next_within(wait + desk.timing.late).await?;
    ensure(nacked.elapsed() >= wait, "the key must wait for its retry")?;
    ensure_eq(
        (said(&again).as_str(), again.attempt),
        ("k1", 2),
        "what comes after the retry",
    )?;
    desk.ack(&again).await?;
    desk.all_say(&["k2"]).await
}

async fn a_lease_that_ends_keeps_the_order_of_its_key(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all([keyed("k", "k1"), keyed("k", "k2")]).await?;
    desk.next_briefly().await?;
    let again = desk
        .next_within(desk.timing.short_lease + desk.timing.redelivery)
        .await?;
    ensure_eq(
        (said(&again).as_str(), again.attempt),
        ("k1", 2),
        "what comes after the lease",
    )?;
    desk.ack(&again).await?;
    desk.all_say(&["k2"]).await
}

async fn a_dead_letter_frees_its_key(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all([keyed("k", "k1"), keyed("k", "k2")]).await?;
    let head = desk.next_says("k1").await?;
    desk.consumer.settle_one(head.dead_letter("poison")).await?;
    desk.all_say(&["k2"]).await
}

async fn a_message_that_used_up_its_deliveries_frees_its_key(cx: Context) -> Outcome {
    let desk = Desk::with(&cx, |spec| spec.max_deliveries = 2).await?;
    desk.send_all([keyed("k", "k1"), keyed("k", "k2")]).await?;
    for _ in 0..2 {
        let head = desk.next_says("k1").await?;
        desk.nack(&head, "fails").await?;
    }
    desk.all_say(&["k2"]).await
}

const KEYS: usize = 12;
const OF_EACH: usize = 8;

/// What came, by key, in the order of coming.
type Seen = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

/// Receives until all have come, or none comes any more; fails some deliveries once.
async fn consume(desk: Desk, seen: Seen) -> Result<(), Failure> {
    let mut last = Instant::now();
    while last.elapsed() < desk.timing.patience {
        if seen.lock().await.values().map(Vec::len).sum::<usize>() == KEYS * OF_EACH {
            return Ok(());
        }
        let receive = Receive::new(3, desk.timing.quiet);
        for delivery in desk.consumer.receive(&desk.group, receive).await? {
            last = Instant::now();
            let key = delivery.message().ordering_key.clone().unwrap_or_default();
            if delivery.attempt == 1 && said(&delivery).ends_with('5') {
                desk.nack(&delivery, "once more").await?;
                continue;
            }
            seen.lock()
                .await
                .entry(key)
                .or_default()
                .push(said(&delivery));
            desk.ack(&delivery).await?;
        }
    }
    fail("not all messages came")
}

async fn the_order_of_a_key_holds_under_many_consumers(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    for n in 0..OF_EACH {
        desk.send_all((0..KEYS).map(|key| keyed(&key.to_string(), &n.to_string())))
            .await?;
    }
    let seen = Seen::default();
    let consumers = (0..4).map(|_| tokio::spawn(consume(desk.clone(), seen.clone())));
    for consumer in join_all(consumers).await {
        consumer.map_err(|error| Failure::new(error.to_string()))??;
    }
    let expected: Vec<String> = (0..OF_EACH).map(|n| n.to_string()).collect();
    for (key, got) in seen.lock().await.iter() {
        ensure_eq(got, &expected, &format!("the order of key {key}"))?;
    }
    Ok(())
}

async fn without_ordering_keys_are_ignored(cx: Context) -> Outcome {
    let desk = Desk::with(&cx, |spec| spec.ordering = false).await?;
    desk.send_all([keyed("k", "a"), keyed("k", "b")]).await?;
    desk.next_says("a").await?;
    desk.next_says("b").await.map(|_| ())
}

fn keyed_at(level: u8, content: &str) -> Message {
    Message {
        priority: priority(level),
        ..keyed("k", content)
    }
}

async fn a_key_keeps_its_order_whatever_the_priorities(cx: Context) -> Outcome {
    let desk = Desk::by_priority(&cx).await?;
    desk.send_all([keyed_at(0, "1"), keyed_at(9, "2"), keyed_at(4, "3")])
        .await?;
    desk.all_say(&["1", "2", "3"]).await
}

async fn a_key_competes_with_the_priority_of_its_head(cx: Context) -> Outcome {
    let desk = Desk::by_priority(&cx).await?;
    desk.send_all([
        keyed_at(0, "k-low"),
        keyed_at(9, "k-high"),
        keyed_at(0, "k-low-again"),
    ])
    .await?;
    desk.send_all([urgent(9, "free-high"), urgent(0, "free-low")])
        .await?;
    // Once its first is done the key stands at its second one's priority, then at its third one's,
    // which was sent before `free-low`.
    desk.all_say(&["free-high", "k-low", "k-high", "k-low-again", "free-low"])
        .await
}

async fn ordering_is_refused(cx: Context) -> Outcome {
    let consumer: Arc<dyn Consumer> = cx.consumer().await?;
    let mut spec = spec(&cx);
    spec.ordering = true;
    let declared = consumer.declare(&group("g"), &spec).await;
    expect_kind(declared, ErrorKind::Unsupported).map(|_| ())
}
