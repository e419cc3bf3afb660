//! What lies beyond a limit is refused and names the limit; what lies at it is not.

use std::collections::BTreeMap;
use std::time::Duration;

use statehouse_contracts::{
    ErrorKind, Message, Payload, ProducerCapability, ProducerExt, SendOptions,
};

use crate::case::case;
use crate::cases::desk::{Desk, text};
use crate::{Case, Context, Failure, Outcome, ensure_eq, expect_kind, expect_limit, some};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(a_payload_of_the_largest_size_comes_back),
        case!(a_larger_payload_names_the_limit),
        case!(as_many_headers_as_allowed_come_back),
        case!(more_headers_name_the_limit),
        case!(larger_headers_name_the_limit),
        case!(headers_of_ours_are_refused),
        case!(malformed_headers_are_refused),
        case!(attributes_of_the_largest_size_come_back),
        case!(longer_attributes_are_refused),
        case!(a_larger_batch_names_the_limit).producer(|c| c.max_batch <= 20_000),
        case!(a_ttl_is_refused).producer(|c| !c.ttl),
    ]
}

fn limits(cx: &Context) -> Result<ProducerCapability, Failure> {
    some(cx.expected().producer, "producer")
}

async fn is_invalid(desk: &Desk, message: Message) -> Outcome {
    expect_kind(
        desk.producer.send_one(message).await,
        ErrorKind::InvalidArgument,
    )?;
    Ok(())
}

async fn comes_back(desk: &Desk, message: Message) -> Outcome {
    desk.send(message.clone()).await?;
    let got = desk.next().await?;
    desk.ack(&got).await?;
    if got.message() == &message {
        return Ok(());
    }
    crate::fail("the message did not come back as it was sent")
}

async fn a_payload_of_the_largest_size_comes_back(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let bytes = vec![b'x'; limits(&cx)?.max_payload];
    comes_back(
        &desk,
        Message {
            payload: Payload::bytes(bytes),
            ..text("")
        },
    )
    .await
}

async fn a_larger_payload_names_the_limit(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let bytes = vec![b'x'; limits(&cx)?.max_payload + 1];
    let message = Message {
        payload: Payload::bytes(bytes),
        ..text("")
    };
    expect_limit(desk.producer.send_one(message).await, "max_payload")?;
    desk.stays_empty().await
}

fn headers(number: usize, value: &str) -> BTreeMap<String, String> {
    (0..number)
        .map(|n| (format!("h{n:04}"), value.to_owned()))
        .collect()
}

async fn as_many_headers_as_allowed_come_back(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let limits = limits(&cx)?;
    let many = headers(limits.max_headers, "");
    comes_back(
        &desk,
        Message {
            headers: many,
            ..text("")
        },
    )
    .await?;
    let large = [("name".to_owned(), "x".repeat(limits.max_header_bytes - 4))];
    comes_back(
        &desk,
        Message {
            headers: large.into(),
            ..text("")
        },
    )
    .await
}

async fn more_headers_name_the_limit(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let many = headers(limits(&cx)?.max_headers + 1, "");
    let sent = desk
        .producer
        .send_one(Message {
            headers: many,
            ..text("")
        })
        .await;
    expect_limit(sent, "max_headers")
}

async fn larger_headers_name_the_limit(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let large = [(
        "name".to_owned(),
        "x".repeat(limits(&cx)?.max_header_bytes - 3),
    )];
    let sent = desk
        .producer
        .send_one(Message {
            headers: large.into(),
            ..text("")
        })
        .await;
    expect_limit(sent, "max_header_bytes")
}

fn one_header(name: &str, value: &str) -> Message {
    Message {
        headers: [(name.to_owned(), value.to_owned())].into(),
        ..text("")
    }
}

async fn headers_of_ours_are_refused(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    is_invalid(&desk, one_header("statehouse-id", "x")).await?;
    desk.stays_empty().await
}

async fn malformed_headers_are_refused(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    for (name, value) in [
        ("", "x"),
        ("a b", "x"),
        ("ü", "x"),
        ("a", "x\ny"),
        ("a", "\0"),
    ] {
        is_invalid(&desk, one_header(name, value)).await?;
    }
    desk.stays_empty().await
}

fn with_attributes(value: &str) -> [Message; 6] {
    let value = Some(value.to_owned());
    [
        Message {
            schema: value.clone(),
            ..text("")
        },
        Message {
            sender: value.clone(),
            ..text("")
        },
        Message {
            recipient: value.clone(),
            ..text("")
        },
        Message {
            correlation_id: value.clone(),
            ..text("")
        },
        Message {
            ordering_key: value.clone(),
            ..text("")
        },
        Message {
            idempotency_key: value,
            ..text("")
        },
    ]
}

async fn attributes_of_the_largest_size_come_back(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    for message in with_attributes(&"x".repeat(Message::MAX_ATTRIBUTE)) {
        comes_back(&desk, message).await?;
    }
    Ok(())
}

async fn longer_attributes_are_refused(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    for message in with_attributes(&"x".repeat(Message::MAX_ATTRIBUTE + 1)) {
        is_invalid(&desk, message).await?;
    }
    desk.stays_empty().await
}

async fn a_larger_batch_names_the_limit(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let batch: Vec<Message> = (0..=limits(&cx)?.max_batch).map(|_| text("")).collect();
    let sent = desk.producer.send(batch, SendOptions::default()).await;
    expect_limit(sent.map(|answers| answers.len()), "max_batch")?;
    desk.stays_empty().await
}

async fn a_ttl_is_refused(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let message = Message {
        ttl: Some(Duration::from_secs(60)),
        ..text("a")
    };
    expect_kind(
        desk.producer.send_one(message).await,
        ErrorKind::Unsupported,
    )?;
    ensure_eq(
        desk.of("g").is_empty().await.is_ok(),
        true,
        "nothing was sent",
    )
}
