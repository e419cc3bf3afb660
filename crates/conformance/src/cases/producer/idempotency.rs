//! A repeated send is accepted once.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use statehouse_contracts::{
    ErrorKind, Message, MessageId, Payload, Priority, ProducerExt, SendOptions,
};

use crate::case::case;
use crate::cases::desk::{Desk, delayed, text, topic};
use crate::{Case, Context, Outcome, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    let window = vec![
        case!(a_repeated_id_is_accepted_once),
        case!(a_repeated_key_answers_the_first_id),
        case!(a_repeat_inside_one_batch_is_accepted_once),
        case!(a_repeat_after_the_ack_stays_a_duplicate),
        case!(a_repeat_with_other_content_is_a_conflict),
        case!(a_repeat_with_other_content_inside_one_batch_is_a_conflict),
        case!(a_repeat_may_differ_in_what_is_not_content),
        case!(a_refused_message_leaves_no_key_behind),
        case!(a_key_is_of_its_namespace_only),
        case!(of_racing_repeats_one_is_accepted),
        case!(a_repeat_answers_the_first_route).producer(|c| c.routed),
        case!(a_repeat_of_a_scheduled_message_is_a_duplicate).producer(|c| c.max_delay.is_some()),
    ];
    window
        .into_iter()
        .map(|case| case.producer(|c| c.dedup_window.is_some()))
        .collect()
}

fn with_key(key: &str, content: &str) -> Message {
    Message {
        idempotency_key: Some(key.into()),
        ..text(content)
    }
}

async fn a_repeated_id_is_accepted_once(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let message = text("a");
    desk.send(message.clone()).await?;
    let again = desk.send(message.clone()).await?;
    ensure_eq(
        again.duplicate_of,
        Some(message.id),
        "duplicate_of of a repeat",
    )?;
    desk.all_say(&["a"]).await?;
    desk.stays_empty().await
}

async fn a_repeated_key_answers_the_first_id(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let (first, second) = (with_key("k", "a"), with_key("k", "a"));
    desk.send(first.clone()).await?;
    let again = desk.send(second).await?;
    ensure_eq(
        again.duplicate_of,
        Some(first.id),
        "duplicate_of of a repeat",
    )?;
    ensure_eq(again.id, first.id, "the id that a repeat answers")?;
    let got = desk.next().await?;
    ensure_eq(got.message().id, first.id, "the id that was received")?;
    desk.stays_empty().await
}

async fn a_repeat_inside_one_batch_is_accepted_once(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let message = with_key("k", "a");
    let batch = vec![message.clone(), text("b"), with_key("k", "a")];
    let mut answers = desk.producer.send(batch, SendOptions::default()).await?;
    ensure_eq(answers.len(), 3, "the number of answers")?;
    ensure_eq(
        answers.remove(2)?.duplicate_of,
        Some(message.id),
        "duplicate_of of the repeat",
    )?;
    ensure_eq(
        answers.remove(0)?.duplicate_of,
        None,
        "duplicate_of of the first",
    )?;
    desk.all_say(&["a", "b"]).await?;
    desk.stays_empty().await
}

async fn a_repeat_after_the_ack_stays_a_duplicate(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let message = text("a");
    desk.send(message.clone()).await?;
    desk.all_say(&["a"]).await?;
    let again = desk.send(message.clone()).await?;
    ensure_eq(
        again.duplicate_of,
        Some(message.id),
        "duplicate_of of a repeat",
    )?;
    desk.stays_empty().await
}

async fn a_repeat_with_other_content_is_a_conflict(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let first = with_key("k", "a");
    desk.send(first.clone()).await?;
    let others = [
        Message {
            payload: Payload::text("b"),
            ..first.clone()
        },
        Message {
            topic: topic("u"),
            ..first.clone()
        },
        Message {
            recipient: Some("r".into()),
            ..first.clone()
        },
        Message {
            kind: Some("other".parse()?),
            ..first
        },
    ];
    for other in others {
        expect_kind(desk.producer.send_one(other).await, ErrorKind::Conflict)?;
    }
    desk.all_say(&["a"]).await?;
    desk.stays_empty().await
}

async fn a_repeat_with_other_content_inside_one_batch_is_a_conflict(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let batch = vec![with_key("k", "a"), with_key("k", "b")];
    let mut answers = desk.producer.send(batch, SendOptions::default()).await?;
    ensure_eq(answers.len(), 2, "the number of answers")?;
    expect_kind(answers.remove(1), ErrorKind::Conflict)?;
    answers.remove(0)?;
    desk.all_say(&["a"]).await?;
    desk.stays_empty().await
}

async fn a_repeat_may_differ_in_what_is_not_content(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let first = with_key("k", "a");
    desk.send(first.clone()).await?;
    let again = Message {
        id: MessageId::random(),
        priority: Priority::CRITICAL,
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        ..first.clone()
    };
    let again = desk.send(again).await?;
    ensure_eq(
        again.duplicate_of,
        Some(first.id),
        "duplicate_of of a repeat",
    )
}

async fn a_refused_message_leaves_no_key_behind(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let refused = Message {
        sender: Some("x".repeat(Message::MAX_ATTRIBUTE + 1)),
        ..text("a")
    };
    let good = Message {
        sender: None,
        ..refused.clone()
    };
    expect_kind(
        desk.producer.send_one(refused).await,
        ErrorKind::InvalidArgument,
    )?;
    ensure_eq(
        desk.send(good).await?.duplicate_of,
        None,
        "duplicate_of after a refusal",
    )?;
    desk.all_say(&["a"]).await
}

async fn a_key_is_of_its_namespace_only(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let elsewhere = Desk::on(&cx, &*cx.backend().await?, &cx.other_scope()?).await?;
    elsewhere.declare(|_| {}).await?;
    let message = text("a");
    desk.send(message.clone()).await?;
    let sent = elsewhere.send(message).await?;
    ensure_eq(sent.duplicate_of, None, "duplicate_of in another namespace")?;
    elsewhere.all_say(&["a"]).await
}

async fn of_racing_repeats_one_is_accepted(cx: Context) -> Outcome {
    let desk = Arc::new(Desk::new(&cx).await?);
    let racers = (0..16).map(|_| {
        let desk = desk.clone();
        tokio::spawn(async move { desk.send(with_key("k", "a")).await })
    });
    let mut accepted = 0;
    for racer in join_all(racers).await {
        let sent = racer.map_err(|error| crate::Failure::new(error.to_string()))??;
        accepted += usize::from(sent.duplicate_of.is_none());
    }
    ensure_eq(accepted, 1, "how many of the racing sends were accepted")?;
    desk.all_say(&["a"]).await?;
    desk.stays_empty().await
}

async fn a_repeat_answers_the_first_route(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let message = text("a");
    let first = desk.send(message.clone()).await?;
    desk.of("late").declare(|_| {}).await?;
    let again = desk.send(message).await?;
    ensure_eq(again.routed, first.routed, "routed of a repeat")?;
    desk.of("late").stays_empty().await
}

async fn a_repeat_of_a_scheduled_message_is_a_duplicate(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let message = delayed(Duration::from_secs(3600), "a");
    desk.send(message.clone()).await?;
    let again = desk.send(message.clone()).await?;
    ensure_eq(
        again.duplicate_of,
        Some(message.id),
        "duplicate_of of a repeat",
    )
}
