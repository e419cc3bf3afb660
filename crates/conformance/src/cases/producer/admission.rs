//! Full groups.

use std::time::{Duration, Instant};

use statehouse_contracts::{ErrorKind, Message, Overflow, ProducerExt, SendOptions};

use crate::case::case;
use crate::cases::desk::{Desk, delayed, keyed, text};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    let reject = |case: Case| case.consumer(|c| c.overflow_reject);
    let drop = |case: Case| case.consumer(|c| c.overflow_drop_oldest);
    vec![
        reject(case!(a_full_group_makes_a_send_wait_then_refuses_it)),
        reject(case!(a_send_may_refuse_to_wait_for_admission)),
        reject(case!(a_refused_message_reached_no_group_at_all)),
        reject(case!(a_refused_message_can_be_sent_again)),
        reject(case!(a_waiting_send_is_admitted_when_there_is_room)),
        reject(case!(what_is_in_flight_takes_room)),
        reject(case!(what_is_delayed_takes_room)).producer(|c| c.max_delay.is_some()),
        reject(case!(the_later_items_of_a_refused_key_are_refused)).consumer(|c| c.ordering_keys),
        case!(rejecting_overflow_is_refused).consumer(|c| !c.overflow_reject),
        drop(case!(a_full_group_drops_its_oldest)),
        drop(case!(what_was_dropped_is_counted)).consumer(|c| c.admin.counts),
        drop(case!(what_is_in_flight_is_not_dropped)),
        case!(dropping_the_oldest_is_refused).consumer(|c| !c.overflow_drop_oldest),
    ]
}

/// Waits for admission as briefly as a case can see.
fn briefly() -> SendOptions {
    SendOptions {
        admission: Duration::from_millis(50),
        ..SendOptions::default()
    }
}

async fn full(cx: &Context, overflow: Overflow) -> Result<Desk, Failure> {
    let desk = Desk::with(cx, |spec| {
        spec.max_length = Some(2);
        spec.overflow = overflow;
    })
    .await?;
    desk.send_all(["a", "b"].map(text)).await?;
    Ok(desk)
}

async fn is_refused(desk: &Desk, message: Message) -> Outcome {
    let sent = desk.producer.send_with(message, briefly()).await;
    expect_kind(sent, ErrorKind::Overloaded).map(|_| ())
}

async fn a_full_group_makes_a_send_wait_then_refuses_it(cx: Context) -> Outcome {
    let desk = full(&cx, Overflow::Reject).await?;
    let start = Instant::now();
    is_refused(&desk, text("c")).await?;
    ensure(
        start.elapsed() >= briefly().admission,
        "the send must wait for admission first",
    )?;
    desk.all_say(&["a", "b"]).await?;
    desk.stays_empty().await
}

async fn a_send_may_refuse_to_wait_for_admission(cx: Context) -> Outcome {
    let desk = full(&cx, Overflow::Reject).await?;
    let options = SendOptions {
        admission: Duration::ZERO,
        ..SendOptions::default()
    };
    let sent = desk.producer.send_with(text("c"), options).await;
    expect_kind(sent, ErrorKind::Overloaded)?;
    desk.all_say(&["a"]).await?;
    desk.producer.send_with(text("d"), options).await?;
    desk.all_say(&["b", "d"]).await
}

async fn a_refused_message_reached_no_group_at_all(cx: Context) -> Outcome {
    let desk = full(&cx, Overflow::Reject).await?;
    let roomy = desk.of("roomy");
    roomy.declare(|_| {}).await?;
    is_refused(&desk, text("c")).await?;
    roomy.stays_empty().await
}

async fn a_refused_message_can_be_sent_again(cx: Context) -> Outcome {
    let desk = full(&cx, Overflow::Reject).await?;
    let message = text("c");
    is_refused(&desk, message.clone()).await?;
    desk.all_say(&["a"]).await?;
    ensure_eq(
        desk.send(message).await?.duplicate_of,
        None,
        "duplicate_of after a refusal",
    )?;
    desk.all_say(&["b", "c"]).await
}

async fn a_waiting_send_is_admitted_when_there_is_room(cx: Context) -> Outcome {
    let desk = full(&cx, Overflow::Reject).await?;
    let options = SendOptions {
        admission: desk.timing.patience,
        ..SendOptions::default()
    };
    let producer = desk.producer.clone();
    let waiting = tokio::spawn(async move { producer.send_with(text("c"), options).await });
    let first = desk.next_says("a").await?;
    desk.stays_waiting(&waiting).await?;
    desk.ack(&first).await?;
    waiting
        .await
        .map_err(|error| Failure::new(error.to_string()))??;
    desk.all_say(&["b", "c"]).await
}

async fn what_is_in_flight_takes_room(cx: Context) -> Outcome {
    let desk = full(&cx, Overflow::Reject).await?;
    let first = desk.next().await?;
    is_refused(&desk, text("c")).await?;
    desk.ack(&first).await?;
    desk.send(text("d")).await?;
    desk.all_say(&["b", "d"]).await
}

async fn what_is_delayed_takes_room(cx: Context) -> Outcome {
    let desk = Desk::with(&cx, |spec| spec.max_length = Some(1)).await?;
    desk.send(delayed(Duration::from_secs(3600), "later"))
        .await?;
    is_refused(&desk, text("now")).await
}

async fn the_later_items_of_a_refused_key_are_refused(cx: Context) -> Outcome {
    let desk = Desk::with(&cx, |spec| spec.max_length = Some(1)).await?;
    let batch = vec![keyed("k", "k1"), keyed("k", "k2"), keyed("k", "k3")];
    let mut answers = desk.producer.send(batch, briefly()).await?;
    ensure_eq(answers.len(), 3, "the number of answers")?;
    answers.remove(0)?;
    expect_kind(answers.remove(0), ErrorKind::Overloaded)?;
    expect_kind(answers.remove(0), ErrorKind::Conflict)?;
    desk.all_say(&["k1"]).await?;
    desk.stays_empty().await
}

async fn is_unsupported(cx: &Context, overflow: Overflow) -> Outcome {
    let consumer = cx.consumer().await?;
    let mut spec = crate::cases::desk::spec(cx);
    spec.max_length = Some(2);
    spec.overflow = overflow;
    let declared = consumer
        .declare(&crate::cases::desk::group("g"), &spec)
        .await;
    expect_kind(declared, ErrorKind::Unsupported).map(|_| ())
}

async fn rejecting_overflow_is_refused(cx: Context) -> Outcome {
    is_unsupported(&cx, Overflow::Reject).await
}

async fn dropping_the_oldest_is_refused(cx: Context) -> Outcome {
    is_unsupported(&cx, Overflow::DropOldest).await
}

async fn a_full_group_drops_its_oldest(cx: Context) -> Outcome {
    let desk = full(&cx, Overflow::DropOldest).await?;
    desk.send(text("c")).await?;
    desk.all_say(&["b", "c"]).await?;
    desk.stays_empty().await
}

async fn what_was_dropped_is_counted(cx: Context) -> Outcome {
    let desk = full(&cx, Overflow::DropOldest).await?;
    desk.send_all(["c", "d"].map(text)).await?;
    let counts = desk.counts().await?;
    ensure_eq((counts.ready, counts.dropped), (2, 2), "ready and dropped")
}

async fn what_is_in_flight_is_not_dropped(cx: Context) -> Outcome {
    let desk = full(&cx, Overflow::DropOldest).await?;
    let first = desk.next_says("a").await?;
    desk.send(text("c")).await?;
    desk.ack(&first).await?;
    desk.all_say(&["c"]).await?;
    desk.stays_empty().await
}
