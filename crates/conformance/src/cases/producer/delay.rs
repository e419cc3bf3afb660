//! Messages that are due later.

use std::time::{Duration, Instant};

use statehouse_contracts::{ErrorKind, Message, MessageId, ProducerExt, SendOptions};

use crate::case::case;
use crate::cases::desk::{Desk, delayed, keyed, said, text};
use crate::{Case, Context, Outcome, ensure, ensure_eq, expect_kind, expect_limit};

pub(crate) fn cases() -> Vec<Case> {
    let delays = |case: Case| case.producer(|c| c.max_delay.is_some());
    let cancels = |case: Case| case.producer(|c| c.max_delay.is_some() && c.cancel);
    vec![
        delays(case!(a_delayed_message_comes_when_it_is_due_and_not_before)),
        delays(case!(a_delayed_message_holds_up_no_other)),
        delays(case!(what_became_due_first_comes_first)),
        delays(case!(each_group_waits_for_the_delay)),
        case!(a_delay_with_an_ordering_key_is_refused),
        delays(case!(a_delay_beyond_the_limit_is_refused)),
        case!(a_delay_is_refused).producer(|c| c.max_delay.is_none()),
        cancels(case!(a_cancelled_message_is_seen_by_no_group)),
        cancels(case!(a_message_is_cancelled_once)),
        cancels(case!(of_one_id_the_last_is_cancelled)).producer(|c| c.dedup_window.is_some()),
        cancels(case!(what_is_due_cannot_be_cancelled)),
        cancels(case!(what_is_unknown_cannot_be_cancelled)),
        case!(cancelling_is_refused).producer(|c| !c.cancel),
    ]
}

const AN_HOUR: Duration = Duration::from_secs(3600);

async fn a_delayed_message_comes_when_it_is_due_and_not_before(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let start = Instant::now();
    desk.send(delayed(desk.timing.delay, "a")).await?;
    desk.next_within(desk.timing.delay + desk.timing.late)
        .await?;
    ensure(
        start.elapsed() >= desk.timing.delay,
        "it must not come before it is due",
    )
}

async fn a_delayed_message_holds_up_no_other(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all([delayed(AN_HOUR, "later"), text("now")])
        .await?;
    desk.all_say(&["now"]).await?;
    desk.stays_empty().await
}

async fn what_became_due_first_comes_first(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let delay = desk.timing.delay;
    // In one call, so that their delays begin together.
    let batch = vec![delayed(delay * 2, "a"), delayed(delay, "b"), text("c")];
    for sent in desk.producer.send(batch, SendOptions::default()).await? {
        sent?;
    }
    let mut got = Vec::new();
    for _ in 0..3 {
        let delivery = desk.next_within(delay * 2 + desk.timing.late).await?;
        got.push(said(&delivery));
        desk.ack(&delivery).await?;
    }
    ensure_eq(got, ["c", "b", "a"], "what came, in order")
}

async fn each_group_waits_for_the_delay(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let other = desk.of("other");
    other.declare(|_| {}).await?;
    desk.send(delayed(desk.timing.delay, "a")).await?;
    for desk in [&desk, &other] {
        desk.next_within(desk.timing.delay + desk.timing.late)
            .await?;
    }
    Ok(())
}

async fn a_delay_with_an_ordering_key_is_refused(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let message = Message {
        delay: desk.timing.delay,
        ..keyed("k", "a")
    };
    let sent = desk.producer.send_one(message).await;
    expect_kind(sent, ErrorKind::InvalidArgument)?;
    desk.stays_empty().await
}

async fn a_delay_beyond_the_limit_is_refused(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let limit = cx
        .expected()
        .producer
        .and_then(|c| c.max_delay)
        .unwrap_or_default();
    // Where the limit is as long as can be said, nothing lies beyond it.
    let Some(beyond) = limit.checked_add(Duration::from_secs(1)) else {
        return Ok(());
    };
    expect_limit(
        desk.producer.send_one(delayed(beyond, "a")).await,
        "max_delay",
    )
}

async fn a_delay_is_refused(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let sent = desk
        .producer
        .send_one(delayed(desk.timing.delay, "a"))
        .await;
    expect_kind(sent, ErrorKind::Unsupported)?;
    desk.stays_empty().await
}

async fn a_cancelled_message_is_seen_by_no_group(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let other = desk.of("other");
    other.declare(|_| {}).await?;
    // Long enough that a busy machine does not let it become due before it is cancelled.
    let message = delayed(desk.timing.delay + Duration::from_secs(1), "a");
    let delay = message.delay;
    let sent = desk.send(message).await?;
    ensure(
        desk.producer.cancel(sent.id).await?,
        "a scheduled message can be taken back",
    )?;
    let wait = delay + desk.timing.quiet;
    let marker = delayed(wait, "b");
    desk.send(marker).await?;
    for desk in [&desk, &other] {
        let next = desk.next_within(wait + desk.timing.late).await?;
        ensure_eq(said(&next), "b", "what comes first")?;
    }
    Ok(())
}

async fn a_message_is_cancelled_once(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let sent = desk.send(delayed(AN_HOUR, "a")).await?;
    ensure(
        desk.producer.cancel(sent.id).await?,
        "the first cancel takes it back",
    )?;
    ensure(
        !desk.producer.cancel(sent.id).await?,
        "the second finds nothing",
    )
}

async fn of_one_id_the_last_is_cancelled(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    // Long enough that a busy machine does not let it become due before it is cancelled.
    let delay = desk.timing.delay + Duration::from_secs(1);
    let id = MessageId::random();
    for key in ["first", "last"] {
        let message = Message {
            id,
            idempotency_key: Some(key.to_owned()),
            ..delayed(delay, key)
        };
        ensure_eq(
            desk.send(message).await?.duplicate_of,
            None,
            "duplicate_of with a key of its own",
        )?;
    }
    ensure(desk.producer.cancel(id).await?, "the last is taken back")?;
    let delivery = desk.next_within(delay + desk.timing.late).await?;
    ensure_eq(said(&delivery), "first", "what comes all the same")?;
    desk.ack(&delivery).await?;
    desk.stays_empty().await
}

async fn what_is_due_cannot_be_cancelled(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let (ready, taken) = (text("ready"), text("taken"));
    desk.send(taken.clone()).await?;
    let delivery = desk.next_says("taken").await?;
    desk.send(ready.clone()).await?;
    for id in [ready.id, taken.id] {
        ensure(
            !desk.producer.cancel(id).await?,
            "what is due cannot be taken back",
        )?;
    }
    desk.ack(&delivery).await?;
    desk.all_say(&["ready"]).await
}

async fn what_is_unknown_cannot_be_cancelled(cx: Context) -> Outcome {
    let cancelled = cx.producer().await?.cancel(MessageId::random()).await?;
    ensure(!cancelled, "an unknown message cannot be taken back")
}

async fn cancelling_is_refused(cx: Context) -> Outcome {
    let cancelled = cx.producer().await?.cancel(MessageId::random()).await;
    expect_kind(cancelled, ErrorKind::Unsupported).map(|_| ())
}
