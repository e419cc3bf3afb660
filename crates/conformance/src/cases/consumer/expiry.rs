//! Messages that expire.

use std::time::Duration;

use statehouse_contracts::{ConsumerExt, Expired, Message};

use crate::case::case;
use crate::cases::desk::{Desk, keyed, said, text};
use crate::{Case, Context, Failure, Outcome, ensure_eq, eventually};

pub(crate) fn cases() -> Vec<Case> {
    let expiring = vec![
        case!(an_expired_message_is_not_handed_out),
        case!(an_expired_message_is_counted).consumer(|c| c.admin.counts && c.admin.counts_exact),
        case!(an_expired_message_is_a_dead_letter_where_the_spec_says_so)
            .consumer(|c| c.expired_dead_letters && c.admin.dead_letters),
        case!(a_ttl_counts_from_when_a_message_is_due).producer(|c| c.max_delay.is_some()),
        case!(an_expired_head_frees_its_key).consumer(|c| c.ordering_keys),
        case!(a_message_that_expires_while_it_waits_for_a_retry_does_not_come_back)
            .consumer(|c| c.nack_delay),
        case!(a_message_that_somebody_waited_for_expires_after_it_is_given_back)
            .consumer(|c| c.nack_delay),
        case!(a_message_that_does_not_expire_stays),
    ];
    expiring
        .into_iter()
        .map(|case| case.producer(|c| c.ttl))
        .collect()
}

fn short_lived(desk: &Desk, message: Message) -> Message {
    Message {
        ttl: Some(desk.timing.delay),
        ..message
    }
}

/// Pauses for as long as `wait`, by receiving from a group that gets nothing.
async fn pass(desk: &Desk, wait: Duration) -> Outcome {
    let idle = desk.of("idle");
    idle.declare(|spec| spec.pattern = crate::cases::desk::pattern("idle"))
        .await?;
    let nothing = statehouse_contracts::Receive::new(1, wait);
    desk.consumer.receive(&idle.group, nothing).await?;
    Ok(())
}

async fn an_expired_message_is_not_handed_out(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(short_lived(&desk, text("a"))).await?;
    desk.send(text("b")).await?;
    pass(&desk, desk.timing.delay).await?;
    desk.all_say(&["b"]).await?;
    desk.stays_empty().await
}

async fn an_expired_message_is_counted(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(short_lived(&desk, text("a"))).await?;
    pass(&desk, desk.timing.delay).await?;
    eventually(
        desk.timing.redelivery,
        "the count of the expired message",
        || async {
            desk.is_empty().await?;
            let counts = desk.counts().await?;
            Ok(((counts.expired, counts.ready, counts.dead) == (1, 0, 0)).then_some(()))
        },
    )
    .await
}

async fn an_expired_message_is_a_dead_letter_where_the_spec_says_so(cx: Context) -> Outcome {
    let desk = Desk::with(&cx, |spec| spec.expired = Expired::DeadLetter).await?;
    desk.send(short_lived(&desk, text("a"))).await?;
    pass(&desk, desk.timing.delay).await?;
    desk.is_empty().await?;
    let letters = desk.dead(1).await?;
    ensure_eq(letters[0].reason.as_str(), "expired", "the reason")?;
    ensure_eq(letters[0].attempts, 0, "the attempts")
}

async fn a_ttl_counts_from_when_a_message_is_due(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    // Were it counted from sending, it would be over when the message is due.
    let ttl = desk.timing.late;
    let message = Message {
        delay: ttl + desk.timing.delay,
        ttl: Some(ttl),
        ..text("a")
    };
    let wait = message.delay + desk.timing.late;
    desk.send(message).await?;
    let delivery = desk.next_within(wait).await?;
    ensure_eq(said(&delivery), "a", "what is due")
}

async fn an_expired_head_frees_its_key(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(short_lived(&desk, keyed("k", "1"))).await?;
    desk.send(keyed("k", "2")).await?;
    pass(&desk, desk.timing.delay).await?;
    desk.all_say(&["2"]).await
}

async fn a_message_that_expires_while_it_waits_for_a_retry_does_not_come_back(
    cx: Context,
) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let ttl = desk.timing.delay + Duration::from_secs(1);
    desk.send(Message {
        ttl: Some(ttl),
        ..text("a")
    })
    .await?;
    let delivery = desk.next().await?;
    desk.nack_after(&delivery, ttl).await?;
    let watch = ttl + desk.timing.quiet;
    let got = desk
        .consumer
        .receive(&desk.group, statehouse_contracts::Receive::new(1, watch))
        .await?;
    ensure_eq(got.len(), 0, "what comes after it has expired")
}

async fn a_message_that_somebody_waited_for_expires_after_it_is_given_back(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let ttl = desk.timing.delay + Duration::from_secs(1);
    let receive = desk.consumer.receive_one(&desk.group, desk.timing.patience);
    let send = async {
        // The call waits before there is anything to have.
        pass(&desk, desk.timing.quiet).await?;
        let ttl = Some(ttl);
        desk.send(Message { ttl, ..text("a") }).await
    };
    let (received, sent) = tokio::join!(receive, send);
    sent?;
    let delivery = crate::some(received?, "message for who waits")?;
    desk.nack_after(&delivery, Duration::ZERO).await?;
    pass(&desk, ttl).await?;
    desk.stays_empty().await
}

async fn a_message_that_does_not_expire_stays(cx: Context) -> Result<(), Failure> {
    let desk = Desk::new(&cx).await?;
    desk.send(Message {
        ttl: Some(Duration::from_secs(3600)),
        ..text("a")
    })
    .await?;
    pass(&desk, desk.timing.delay).await?;
    desk.all_say(&["a"]).await
}
