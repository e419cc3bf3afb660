//! Settling.

use statehouse_contracts::{ConsumerExt, ErrorKind, LeaseToken, Settle, SettleAction};

use crate::case::case;
use crate::cases::desk::{Desk, keyed, said, text};
use crate::{Case, Context, Outcome, ensure, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(what_is_acknowledged_never_comes_back),
        case!(a_repeated_ack_is_ok),
        case!(a_repeated_nack_is_ok_and_counts_once),
        case!(a_repeated_dead_letter_is_ok_and_counts_once).consumer(|c| c.admin.dead_letters),
        case!(after_a_nack_the_token_settles_nothing_else),
        case!(settling_nothing_is_ok),
        case!(settles_answer_item_by_item_in_order),
        case!(a_token_that_was_never_made_is_refused),
        case!(another_handle_may_settle_by_token).consumer(|c| c.settle_anywhere),
        case!(a_token_is_of_its_namespace_only),
        case!(an_ack_in_one_group_leaves_the_others_alone),
        case!(acknowledging_a_head_lets_its_key_go_on).consumer(|c| c.ordering_keys),
    ]
}

async fn what_is_acknowledged_never_comes_back(cx: Context) -> Outcome {
    let lease = cx
        .timing()
        .short_lease
        .max(std::time::Duration::from_secs(1));
    let desk = Desk::with(&cx, |spec| spec.lease = lease).await?;
    desk.send(text("a")).await?;
    let delivery = desk.next().await?;
    desk.ack(&delivery).await?;
    let past_the_lease = delivery.lease.remaining() + desk.timing.quiet;
    let again = desk
        .consumer
        .receive_one(&desk.group, past_the_lease)
        .await?;
    ensure(
        again.is_none(),
        "an acknowledged message must not come back",
    )
}

async fn a_repeated_ack_is_ok(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    let delivery = desk.next().await?;
    desk.ack(&delivery).await?;
    desk.ack(&delivery).await?;
    desk.stays_empty().await
}

async fn a_repeated_nack_is_ok_and_counts_once(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    let delivery = desk.next().await?;
    desk.nack(&delivery, "once").await?;
    desk.nack(&delivery, "once").await?;
    ensure_eq(
        desk.next().await?.attempt,
        2,
        "the attempt after a repeated nack",
    )?;
    desk.stays_empty().await
}

async fn a_repeated_dead_letter_is_ok_and_counts_once(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    let delivery = desk.next().await?;
    for _ in 0..2 {
        desk.consumer
            .settle_one(delivery.dead_letter("poison"))
            .await?;
    }
    desk.dead(1).await?;
    desk.stays_empty().await
}

async fn after_a_nack_the_token_settles_nothing_else(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    let delivery = desk.next().await?;
    desk.nack(&delivery, "once more").await?;
    expect_kind(desk.consumer.ack(&delivery).await, ErrorKind::LeaseLost)?;
    desk.all_say(&["a"]).await
}

async fn settling_nothing_is_ok(cx: Context) -> Outcome {
    let answers = cx.consumer().await?.settle(Vec::new()).await?;
    ensure(answers.is_empty(), "nothing has no answers")
}

/// A token that looks like `like`, but that no backend made.
fn forged(like: &LeaseToken) -> Result<LeaseToken, crate::Failure> {
    Ok(LeaseToken::new(format!(
        "no-such-token-{}",
        like.as_str().len()
    ))?)
}

async fn settles_answer_item_by_item_in_order(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all(["a", "b", "c"].map(text)).await?;
    let (a, b, c) = (desk.next().await?, desk.next().await?, desk.next().await?);
    let unknown = Settle {
        token: forged(&a.lease.token)?,
        action: SettleAction::Ack,
    };
    let batch = vec![
        a.ack(),
        unknown,
        b.extend(desk.timing.long_lease),
        c.nack("once more"),
    ];
    let mut answers = desk.consumer.settle(batch).await?;
    ensure_eq(answers.len(), 4, "the number of answers")?;
    ensure(
        answers.remove(0)?.lease.is_none(),
        "an ack answers no lease",
    )?;
    expect_kind(answers.remove(0), ErrorKind::InvalidArgument)?;
    ensure(
        answers.remove(0)?.lease.is_some(),
        "an extension answers the new lease",
    )?;
    ensure(
        answers.remove(0)?.lease.is_none(),
        "a nack answers no lease",
    )?;
    ensure_eq(said(&desk.next().await?), "c", "what comes back")?;
    desk.stays_empty().await
}

async fn a_token_that_was_never_made_is_refused(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    let delivery = desk.next().await?;
    let token = delivery.lease.token.as_str();
    for text in ["x", "0", "null", "{}", "--", &format!("{token}{token}")[..]] {
        let Ok(token) = LeaseToken::new(text) else {
            continue;
        };
        let settle = Settle {
            token,
            action: SettleAction::Ack,
        };
        expect_kind(
            desk.consumer.settle_one(settle).await,
            ErrorKind::InvalidArgument,
        )?;
    }
    desk.ack(&delivery).await
}

async fn another_handle_may_settle_by_token(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    let delivery = desk.next().await?;
    let other = Desk::on(&cx, &*cx.backend().await?, &cx.scope_of("somebody else")?).await?;
    other.ack(&delivery).await?;
    desk.stays_empty().await
}

async fn a_token_is_of_its_namespace_only(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let elsewhere = Desk::on(&cx, &*cx.backend().await?, &cx.other_scope()?).await?;
    desk.send(text("a")).await?;
    let delivery = desk.next().await?;
    let settled = elsewhere.consumer.ack(&delivery).await;
    ensure(
        settled.is_err(),
        "a token must not settle in another namespace",
    )?;
    desk.nack(&delivery, "still mine").await?;
    desk.all_say(&["a"]).await
}

async fn an_ack_in_one_group_leaves_the_others_alone(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let other = desk.of("other");
    other.declare(|_| {}).await?;
    desk.send(text("a")).await?;
    desk.all_say(&["a"]).await?;
    other.all_say(&["a"]).await
}

async fn acknowledging_a_head_lets_its_key_go_on(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all([keyed("k", "1"), keyed("k", "2")]).await?;
    let head = desk.next_says("1").await?;
    let group = desk.group.clone();
    let (consumer, patience) = (desk.consumer.clone(), desk.timing.patience);
    let waiting = tokio::spawn(async move { consumer.receive_one(&group, patience).await });
    desk.stays_waiting(&waiting).await?;
    desk.ack(&head).await?;
    let next = waiting
        .await
        .map_err(|error| crate::Failure::new(error.to_string()))??;
    ensure_eq(
        next.map(|next| said(&next)),
        Some("2".to_owned()),
        "what the waiting call gets",
    )
}
