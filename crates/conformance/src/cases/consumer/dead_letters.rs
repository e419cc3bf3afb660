//! Messages that a group gave up on.

use statehouse_contracts::{ConsumerExt, DeadLetter, ErrorKind, MessageId, Settle, SettleAction};

use crate::case::case;
use crate::cases::desk::{Desk, group, text};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    let shown = |case: Case| case.consumer(|c| c.admin.dead_letters);
    let redriven = |case: Case| case.consumer(|c| c.admin.redrive);
    vec![
        case!(after_its_deliveries_a_message_does_not_come_back),
        shown(case!(a_message_that_is_nacked_too_often_is_a_dead_letter)),
        shown(case!(a_message_whose_leases_end_too_often_is_a_dead_letter)),
        shown(case!(a_nack_without_a_word_is_told_as_such)),
        shown(case!(a_consumer_may_make_a_dead_letter_at_once)),
        shown(case!(one_delivery_may_be_all)),
        shown(case!(the_last_ten_errors_are_kept)),
        shown(case!(a_long_error_is_kept_up_to_4_kib)),
        shown(case!(dead_letters_are_paged_oldest_first)),
        shown(case!(a_dead_letter_of_one_group_is_none_of_another)),
        redriven(case!(one_dead_letter_is_put_back)).consumer(|c| c.admin.dead_letters),
        redriven(case!(all_dead_letters_are_put_back)).consumer(|c| c.admin.dead_letters),
        redriven(case!(redriving_starts_attempts_from_zero)),
        redriven(case!(redriving_reaches_its_own_group_only)),
        redriven(case!(redriving_what_is_unknown_is_not_found)),
    ]
}

async fn with_deliveries(cx: &Context, max: u32) -> Result<Desk, Failure> {
    Desk::with(cx, |spec| spec.max_deliveries = max).await
}

/// Makes the next message a dead letter for `reason`.
async fn bury(desk: &Desk, reason: &str) -> Outcome {
    let delivery = desk.next().await?;
    desk.consumer
        .settle_one(delivery.dead_letter(reason))
        .await?;
    Ok(())
}

async fn after_its_deliveries_a_message_does_not_come_back(cx: Context) -> Outcome {
    let desk = with_deliveries(&cx, 2).await?;
    desk.send(text("a")).await?;
    for _ in 0..2 {
        let delivery = desk.next().await?;
        desk.nack(&delivery, "fails").await?;
    }
    desk.stays_empty().await
}

fn errors(letter: &DeadLetter) -> Vec<(u32, &str)> {
    letter
        .errors
        .iter()
        .map(|error| (error.attempt, error.error.as_str()))
        .collect()
}

async fn a_message_that_is_nacked_too_often_is_a_dead_letter(cx: Context) -> Outcome {
    let desk = with_deliveries(&cx, 3).await?;
    let message = text("a");
    desk.send(message.clone()).await?;
    for error in ["first", "second", "third"] {
        let delivery = desk.next().await?;
        desk.nack(&delivery, error).await?;
    }
    let letters = desk.dead(1).await?;
    let letter = &letters[0];
    ensure_eq(&letter.received.message, &message, "the message")?;
    ensure_eq(letter.reason.as_str(), "max_deliveries", "the reason")?;
    ensure_eq(letter.attempts, 3, "the attempts")?;
    ensure_eq(
        errors(letter),
        [(1, "first"), (2, "second"), (3, "third")],
        "the errors",
    )?;
    let times: Vec<_> = letter.errors.iter().map(|error| error.at).collect();
    ensure(times.is_sorted(), "the times of the attempts must go on")?;
    ensure(
        times.iter().all(|at| *at >= letter.received.sent_at),
        "no attempt ends before sending",
    )?;
    ensure(
        times.iter().all(|at| *at <= letter.at),
        "it is dead when its last attempt has ended",
    )
}

async fn a_message_whose_leases_end_too_often_is_a_dead_letter(cx: Context) -> Outcome {
    let lease = cx.timing().short_lease;
    let desk = Desk::with(&cx, |spec| (spec.max_deliveries, spec.lease) = (2, lease)).await?;
    desk.send(text("a")).await?;
    for _ in 0..2 {
        desk.next_within(lease + desk.timing.redelivery).await?;
    }
    let letters = desk.dead(1).await?;
    ensure_eq(letters[0].reason.as_str(), "max_deliveries", "the reason")?;
    let expected = [(1, "lease expired"), (2, "lease expired")];
    ensure_eq(errors(&letters[0]), expected, "the errors")?;
    desk.is_empty().await
}

async fn a_nack_without_a_word_is_told_as_such(cx: Context) -> Outcome {
    let desk = with_deliveries(&cx, 1).await?;
    desk.send(text("a")).await?;
    let delivery = desk.next().await?;
    let settle = Settle {
        token: delivery.lease.token,
        action: SettleAction::Nack {
            delay: None,
            error: None,
        },
    };
    desk.consumer.settle_one(settle).await?;
    let letters = desk.dead(1).await?;
    ensure_eq(errors(&letters[0]), [(1, "nacked")], "the errors")
}

async fn a_consumer_may_make_a_dead_letter_at_once(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    bury(&desk, "poison, ünreadable").await?;
    let letters = desk.dead(1).await?;
    ensure_eq(
        letters[0].reason.as_str(),
        "poison, ünreadable",
        "the reason",
    )?;
    ensure_eq(letters[0].attempts, 1, "the attempts")?;
    desk.stays_empty().await
}

async fn one_delivery_may_be_all(cx: Context) -> Outcome {
    let desk = with_deliveries(&cx, 1).await?;
    desk.send(text("a")).await?;
    let delivery = desk.next().await?;
    desk.nack(&delivery, "fails").await?;
    desk.dead(1).await.map(|_| ())
}

async fn the_last_ten_errors_are_kept(cx: Context) -> Outcome {
    let desk = with_deliveries(&cx, 13).await?;
    desk.send(text("a")).await?;
    for n in 1..=13 {
        let delivery = desk.next().await?;
        desk.nack(&delivery, &format!("error {n}")).await?;
    }
    let letters = desk.dead(1).await?;
    let kept: Vec<u32> = letters[0]
        .errors
        .iter()
        .map(|error| error.attempt)
        .collect();
    ensure_eq(
        kept,
        (4..=13).collect::<Vec<u32>>(),
        "the attempts whose errors are kept",
    )
}

async fn a_long_error_is_kept_up_to_4_kib(cx: Context) -> Outcome {
    let desk = with_deliveries(&cx, 1).await?;
    desk.send(text("a")).await?;
    let delivery = desk.next().await?;
    desk.nack(&delivery, &"ä".repeat(5_000)).await?;
    let letters = desk.dead(1).await?;
    let kept = &letters[0].errors[0].error;
    ensure_eq(kept, &"ä".repeat(2_048), "what is kept of a long error")
}

async fn dead_letters_are_paged_oldest_first(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all((0..5).map(|n| text(&n.to_string()))).await?;
    for n in 0..5 {
        bury(&desk, &n.to_string()).await?;
    }
    desk.dead(5).await?;
    let (mut reasons, mut after) = (Vec::new(), None);
    loop {
        let page = desk
            .consumer
            .dead_letters(&desk.group, 2, after.as_ref())
            .await?;
        ensure(page.items.len() <= 2, "a page holds no more than asked for")?;
        reasons.extend(page.items.into_iter().map(|letter| letter.reason));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    ensure_eq(
        reasons,
        ["0", "1", "2", "3", "4"],
        "the dead letters, in order",
    )
}

async fn a_dead_letter_of_one_group_is_none_of_another(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let other = desk.of("other");
    other.declare(|_| {}).await?;
    desk.send(text("a")).await?;
    bury(&desk, "poison").await?;
    other.dead(0).await?;
    other.all_say(&["a"]).await
}

async fn one_dead_letter_is_put_back(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let wanted = text("b");
    desk.send_all([text("a"), wanted.clone()]).await?;
    bury(&desk, "poison").await?;
    bury(&desk, "poison").await?;
    desk.dead(2).await?;
    let number = desk.consumer.redrive(&desk.group, Some(wanted.id)).await?;
    ensure_eq(number, 1, "how many were put back")?;
    desk.all_say(&["b"]).await?;
    desk.stays_empty().await?;
    desk.dead(1).await.map(|_| ())
}

async fn all_dead_letters_are_put_back(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all(["a", "b"].map(text)).await?;
    bury(&desk, "poison").await?;
    bury(&desk, "poison").await?;
    desk.dead(2).await?;
    ensure_eq(
        desk.consumer.redrive(&desk.group, None).await?,
        2,
        "how many were put back",
    )?;
    desk.all_say(&["a", "b"]).await?;
    desk.dead(0).await.map(|_| ())
}

async fn redriving_starts_attempts_from_zero(cx: Context) -> Outcome {
    let desk = with_deliveries(&cx, 2).await?;
    let message = text("a");
    desk.send(message.clone()).await?;
    for _ in 0..2 {
        let delivery = desk.next().await?;
        desk.nack(&delivery, "fails").await?;
    }
    desk.consumer.redrive(&desk.group, Some(message.id)).await?;
    for attempt in 1..=2 {
        let delivery = desk.next().await?;
        ensure_eq(delivery.attempt, attempt, "the attempt after a redrive")?;
        desk.nack(&delivery, "fails").await?;
    }
    desk.stays_empty().await
}

async fn redriving_reaches_its_own_group_only(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let other = desk.of("other");
    other.declare(|_| {}).await?;
    desk.send(text("a")).await?;
    other.all_say(&["a"]).await?;
    bury(&desk, "poison").await?;
    desk.consumer.redrive(&desk.group, None).await?;
    desk.all_say(&["a"]).await?;
    other.stays_empty().await
}

async fn redriving_what_is_unknown_is_not_found(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let unknown = desk
        .consumer
        .redrive(&desk.group, Some(MessageId::random()))
        .await;
    expect_kind(unknown, ErrorKind::NotFound)?;
    let nowhere = desk.consumer.redrive(&group("unknown"), None).await;
    expect_kind(nowhere, ErrorKind::NotFound)?;
    ensure_eq(
        desk.consumer.redrive(&desk.group, None).await?,
        0,
        "all of no dead letters",
    )
}
