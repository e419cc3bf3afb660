//! A delivery is a lease.

use std::time::{Duration, Instant};

use statehouse_contracts::{Backoff, ConsumerExt, ErrorKind, Receive, Settle, SettleAction};

use crate::case::case;
use crate::cases::desk::{Desk, said, text};
use crate::{Case, Context, Outcome, ensure, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(attempts_count_from_one),
        case!(a_leased_message_is_not_handed_out_again),
        case!(what_is_not_settled_comes_back_after_its_lease),
        case!(what_is_dropped_comes_back_to_another_handle),
        case!(the_lease_of_the_group_counts_when_none_is_asked_for),
        case!(the_deadline_counts_from_before_the_answer),
        case!(a_settle_after_the_lease_is_lost_and_changes_nothing),
        case!(a_stale_token_cannot_settle_the_next_delivery),
        case!(an_extended_lease_lasts_longer),
        case!(an_extension_replaces_the_token),
        case!(an_extension_counts_from_now),
        case!(an_extension_after_the_lease_is_lost),
        case!(a_lease_shorter_than_the_limit_is_refused).consumer(|c| !c.min_lease.is_zero()),
        case!(a_lease_longer_than_the_limit_is_refused),
        case!(a_nack_waits_for_the_backoff_of_the_group),
        case!(the_backoff_grows_with_the_attempts),
        case!(a_nack_may_say_how_long_to_wait).consumer(|c| c.nack_delay),
        case!(a_nack_with_a_delay_is_refused).consumer(|c| !c.nack_delay),
    ]
}

async fn attempts_count_from_one(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    for attempt in 1..=3 {
        let delivery = desk.next().await?;
        ensure_eq(delivery.attempt, attempt, "the attempt")?;
        desk.nack(&delivery, "once more").await?;
    }
    Ok(())
}

async fn a_leased_message_is_not_handed_out_again(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    desk.next().await?;
    desk.stays_empty().await
}

async fn what_is_not_settled_comes_back_after_its_lease(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    let before = Instant::now();
    let first = desk.next_briefly().await?;
    let wait = desk.timing.short_lease + desk.timing.redelivery;
    let again = desk.next_within(wait).await?;
    ensure(
        before.elapsed() >= desk.timing.short_lease,
        "it must not come before the lease's end",
    )?;
    ensure_eq(
        (said(&again).as_str(), again.attempt),
        ("a", 2),
        "what came back",
    )?;
    ensure(
        again.lease.token != first.lease.token,
        "each delivery has a token of its own",
    )
}

async fn what_is_dropped_comes_back_to_another_handle(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    drop(desk.next_briefly().await?);
    let other = Desk::on(&cx, &*cx.backend().await?, cx.scope()).await?;
    let again = other
        .next_within(desk.timing.short_lease + desk.timing.redelivery)
        .await?;
    ensure_eq(again.attempt, 2, "the attempt")
}

async fn the_lease_of_the_group_counts_when_none_is_asked_for(cx: Context) -> Outcome {
    let lease = cx.timing().short_lease;
    let desk = Desk::with(&cx, |spec| spec.lease = lease).await?;
    desk.send(text("a")).await?;
    desk.next().await?;
    ensure_eq(
        desk.next_within(lease + desk.timing.redelivery)
            .await?
            .attempt,
        2,
        "the attempt",
    )
}

async fn the_deadline_counts_from_before_the_answer(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    let delivery = desk.next().await?;
    let latest = Instant::now() + desk.timing.long_lease;
    ensure(
        delivery.lease.deadline <= latest,
        "the deadline must not be later than the lease's end",
    )?;
    ensure(
        !delivery.lease.remaining().is_zero(),
        "a fresh lease must not be over",
    )
}

async fn a_settle_after_the_lease_is_lost_and_changes_nothing(cx: Context) -> Outcome {
    let desk = Desk::with(&cx, |spec| spec.max_deliveries = 9).await?;
    let wait = desk.timing.short_lease + desk.timing.redelivery;
    desk.send(text("a")).await?;
    let mut stale = desk.next_briefly().await?;
    let actions: [fn(&statehouse_contracts::Delivery) -> Settle; 3] = [
        |delivery| delivery.ack(),
        |delivery| delivery.nack("too late"),
        |delivery| delivery.dead_letter("too late"),
    ];
    for action in actions {
        // The next delivery shows that the lease has ended.
        let receive = Receive {
            lease: Some(desk.timing.short_lease),
            ..Receive::new(1, wait)
        };
        let next = desk.consumer.receive(&desk.group, receive).await?.pop();
        let next = crate::some(next, "delivery after the lease's end")?;
        ensure_eq(next.attempt, stale.attempt + 1, "the attempt")?;
        let settled = desk.consumer.settle_one(action(&stale)).await;
        expect_kind(settled, ErrorKind::LeaseLost)?;
        stale = next;
    }
    ensure_eq(
        desk.next_within(wait).await?.attempt,
        5,
        "the attempt after three late settles",
    )
}

async fn a_stale_token_cannot_settle_the_next_delivery(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    let stale = desk.next_briefly().await?;
    let fresh = desk
        .next_within(desk.timing.short_lease + desk.timing.redelivery)
        .await?;
    expect_kind(desk.consumer.ack(&stale).await, ErrorKind::LeaseLost)?;
    desk.nack(&fresh, "still mine").await?;
    desk.all_say(&["a"]).await?;
    desk.stays_empty().await
}

/// A lease that is long enough to be extended in time on a busy machine, and yet ends soon.
fn soon(cx: &Context) -> Duration {
    cx.timing().short_lease.max(Duration::from_millis(1500))
}

async fn an_extended_lease_lasts_longer(cx: Context) -> Outcome {
    let desk = Desk::with(&cx, |spec| spec.lease = soon(&cx)).await?;
    desk.send(text("a")).await?;
    let mut delivery = desk.next().await?;
    let first_deadline = delivery.lease.deadline;
    desk.consumer
        .extend(&mut delivery, desk.timing.long_lease)
        .await?;
    ensure(
        delivery.lease.deadline > first_deadline,
        "the new deadline is later",
    )?;
    let watch = soon(&cx) + desk.timing.quiet;
    let got = desk
        .consumer
        .receive(&desk.group, Receive::new(1, watch))
        .await?;
    ensure(
        got.is_empty(),
        "an extended lease must not end at its old time",
    )?;
    desk.ack(&delivery).await
}

async fn an_extension_replaces_the_token(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    let old = desk.next().await?;
    let mut new = old.clone();
    desk.consumer
        .extend(&mut new, desk.timing.long_lease)
        .await?;
    ensure(new.lease.token != old.lease.token, "the token is a new one")?;
    expect_kind(desk.consumer.ack(&old).await, ErrorKind::LeaseLost)?;
    desk.ack(&new).await
}

async fn an_extension_counts_from_now(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    let mut delivery = desk.next().await?;
    desk.consumer
        .extend(&mut delivery, desk.timing.short_lease)
        .await?;
    let again = desk
        .next_within(desk.timing.short_lease + desk.timing.redelivery)
        .await?;
    ensure_eq(
        again.attempt,
        2,
        "the attempt after a lease that was shortened",
    )
}

async fn an_extension_after_the_lease_is_lost(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    let mut stale = desk.next_briefly().await?;
    desk.next_within(desk.timing.short_lease + desk.timing.redelivery)
        .await?;
    let extended = desk
        .consumer
        .extend(&mut stale, desk.timing.long_lease)
        .await;
    expect_kind(extended, ErrorKind::LeaseLost).map(|_| ())
}

async fn is_refused(cx: &Context, lease: Duration) -> Outcome {
    let desk = Desk::new(cx).await?;
    desk.send(text("a")).await?;
    let receive = Receive {
        lease: Some(lease),
        ..Receive::new(1, Duration::ZERO)
    };
    let received = desk.consumer.receive(&desk.group, receive).await;
    expect_kind(received, ErrorKind::InvalidArgument)?;
    let mut delivery = desk.next().await?;
    ensure_eq(delivery.attempt, 1, "a refused receive is no attempt")?;
    let extended = desk.consumer.extend(&mut delivery, lease).await;
    expect_kind(extended, ErrorKind::InvalidArgument)?;
    desk.ack(&delivery).await
}

async fn a_lease_shorter_than_the_limit_is_refused(cx: Context) -> Outcome {
    let limit = cx.consumer().await?.capability().min_lease;
    is_refused(&cx, limit.saturating_sub(Duration::from_millis(1))).await
}

async fn a_lease_longer_than_the_limit_is_refused(cx: Context) -> Outcome {
    let limit = cx.consumer().await?.capability().max_lease;
    match limit.checked_add(Duration::from_secs(1)) {
        Some(beyond) => is_refused(&cx, beyond).await,
        None => Ok(()),
    }
}

async fn a_nack_waits_for_the_backoff_of_the_group(cx: Context) -> Outcome {
    let delay = cx.timing().delay;
    let desk = Desk::with(&cx, |spec| spec.backoff = Backoff::fixed(delay)).await?;
    desk.send(text("a")).await?;
    let first = desk.next().await?;
    let start = Instant::now();
    desk.nack(&first, "once more").await?;
    let again = desk.next_within(delay + desk.timing.late).await?;
    ensure(start.elapsed() >= delay, "it must wait for the backoff")?;
    ensure_eq(again.attempt, 2, "the attempt")
}

async fn the_backoff_grows_with_the_attempts(cx: Context) -> Outcome {
    let delay = cx.timing().delay;
    let backoff = Backoff {
        initial: delay,
        factor: 3,
        max: delay * 4,
        jitter: false,
    };
    let desk = Desk::with(&cx, |spec| spec.backoff = backoff).await?;
    desk.send(text("a")).await?;
    let mut delivery = desk.next().await?;
    for wait in [delay, delay * 3, delay * 4] {
        let start = Instant::now();
        desk.nack(&delivery, "once more").await?;
        delivery = desk.next_within(wait + desk.timing.late).await?;
        ensure(
            start.elapsed() >= wait,
            "it must wait as long as the backoff says",
        )?;
    }
    ensure_eq(delivery.attempt, 4, "the attempt")
}

async fn a_nack_may_say_how_long_to_wait(cx: Context) -> Outcome {
    let long = Backoff::fixed(Duration::from_secs(600));
    let desk = Desk::with(&cx, |spec| spec.backoff = long).await?;
    desk.send(text("a")).await?;
    let first = desk.next().await?;
    let start = Instant::now();
    desk.nack_after(&first, desk.timing.delay).await?;
    let again = desk
        .next_within(desk.timing.delay + desk.timing.late)
        .await?;
    ensure(
        start.elapsed() >= desk.timing.delay,
        "it must wait as long as the nack says",
    )?;
    desk.nack_after(&again, Duration::ZERO).await?;
    ensure_eq(
        desk.next().await?.attempt,
        3,
        "the attempt after a nack without a wait",
    )
}

async fn a_nack_with_a_delay_is_refused(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    let first = desk.next().await?;
    let action = SettleAction::Nack {
        delay: Some(desk.timing.delay),
        error: None,
    };
    let settle = Settle {
        token: first.lease.token.clone(),
        action,
    };
    expect_kind(
        desk.consumer.settle_one(settle).await,
        ErrorKind::Unsupported,
    )?;
    desk.ack(&first).await
}
