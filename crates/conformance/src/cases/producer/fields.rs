//! What is received is what was sent.

use std::time::Duration;

use statehouse_contracts::{
    ContentType, Kind, Message, Payload, Priority, Reference, ReferenceId, Topic,
};

use crate::case::case;
use crate::cases::desk::{Desk, delayed, text};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(every_field_comes_back_unchanged).producer(|c| c.ttl),
        case!(absent_fields_come_back_absent),
        case!(a_reference_comes_back_unchanged),
        case!(an_empty_payload_is_allowed),
        case!(any_bytes_come_back_unchanged),
        case!(any_text_comes_back_unchanged),
        case!(the_times_are_of_one_clock),
        case!(due_at_is_sent_at_and_the_delay).producer(|c| c.max_delay.is_some()),
        case!(expires_at_is_due_at_and_the_ttl).producer(|c| c.ttl),
    ]
}

async fn comes_back(cx: &Context, message: Message) -> Result<(), Failure> {
    let desk = Desk::new(cx).await?;
    desk.send(message.clone()).await?;
    ensure_eq(desk.next().await?.message(), &message, "the message")
}

async fn every_field_comes_back_unchanged(cx: Context) -> Outcome {
    let message = Message {
        kind: Some(Kind::new("tool_result")?),
        schema: Some("https://schemas.example/tool-result/3".into()),
        sender: Some("agent/1".into()),
        recipient: Some("agent 2".into()),
        payload: Payload::json(r#"{"a": [1, 2]}"#),
        headers: [("x-one", "1"), ("x.two", "zwei, ünd"), ("three_3", "")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        correlation_id: Some("request.7:[a]".into()),
        reply_to: Some(Topic::mailbox("agent/1")),
        priority: Priority::HIGH,
        ttl: Some(Duration::from_millis(86_400_001)),
        ordering_key: Some("run/42".into()),
        idempotency_key: Some("step 1".into()),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        ..text("")
    };
    comes_back(&cx, message).await
}

async fn absent_fields_come_back_absent(cx: Context) -> Outcome {
    comes_back(&cx, text("plain")).await
}

async fn a_reference_comes_back_unchanged(cx: Context) -> Outcome {
    let reference = Reference {
        id: ReferenceId::of(b"large content"),
        size: 13_000_000_000,
        content_type: ContentType::new("video/mp4")?,
    };
    comes_back(
        &cx,
        Message {
            payload: Payload::Reference(reference),
            ..text("")
        },
    )
    .await
}

async fn an_empty_payload_is_allowed(cx: Context) -> Outcome {
    comes_back(&cx, text("")).await
}

async fn any_bytes_come_back_unchanged(cx: Context) -> Outcome {
    let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
    comes_back(
        &cx,
        Message {
            payload: Payload::bytes(bytes),
            ..text("")
        },
    )
    .await
}

async fn any_text_comes_back_unchanged(cx: Context) -> Outcome {
    let odd = "ünïcødé 🦀 \"quoted\" 'and' \\ back; -- % _ \u{202e}right to left";
    let message = Message {
        sender: Some(odd.into()),
        ordering_key: Some(odd.into()),
        idempotency_key: Some(odd.into()),
        headers: [("odd".to_owned(), odd.to_owned())].into(),
        ..text(odd)
    };
    comes_back(&cx, message).await
}

async fn the_times_are_of_one_clock(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all(["a", "b"].map(text)).await?;
    let (first, second) = (desk.next().await?.received, desk.next().await?.received);
    ensure(first.sent_at <= second.sent_at, "sent_at must not go back")?;
    ensure_eq(
        first.due_at,
        first.sent_at,
        "due_at of a message without delay",
    )?;
    ensure_eq(
        first.expires_at,
        None,
        "expires_at of a message without ttl",
    )
}

async fn due_at_is_sent_at_and_the_delay(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let delay = desk.timing.delay;
    desk.send(delayed(delay, "a")).await?;
    let received = desk.next_within(delay + desk.timing.late).await?.received;
    ensure_eq(received.message.delay, delay, "the delay")?;
    let due = Duration::try_from(received.due_at.duration_since(received.sent_at));
    ensure_eq(due.ok(), Some(delay), "from sent_at to due_at")
}

async fn expires_at_is_due_at_and_the_ttl(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let ttl = Duration::from_secs(3600);
    desk.send(Message {
        ttl: Some(ttl),
        ..text("a")
    })
    .await?;
    let received = desk.next().await?.received;
    let lives = received
        .expires_at
        .map(|at| Duration::try_from(at.duration_since(received.due_at)));
    ensure_eq(
        lives.and_then(Result::ok),
        Some(ttl),
        "from due_at to expires_at",
    )
}
