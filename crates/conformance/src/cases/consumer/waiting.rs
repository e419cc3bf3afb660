//! Waiting for messages.

use std::time::{Duration, Instant};

use futures::future::join_all;
use statehouse_contracts::{Backoff, ConsumerExt, Delivery, ErrorKind, GroupName, Receive, Result};
use tokio::task::JoinHandle;

use crate::case::case;
use crate::cases::desk::{Desk, delayed, said, text};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind, expect_limit};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(without_a_wait_it_answers_at_once),
        case!(none_in_time_is_ok_and_empty),
        case!(what_is_there_is_handed_out_without_waiting),
        case!(it_hands_out_no_more_than_asked_for),
        case!(asking_for_none_is_refused),
        case!(asking_for_more_than_the_limit_names_it).consumer(|c| c.max_receive < usize::MAX),
        case!(a_waiting_call_is_woken_by_a_send),
        case!(a_waiting_call_is_woken_by_a_nack),
        case!(a_waiting_call_is_woken_when_a_lease_ends),
        case!(a_waiting_call_is_woken_when_a_message_is_due).producer(|c| c.max_delay.is_some()),
        case!(a_waiting_call_is_woken_by_resuming).consumer(|c| c.admin.pause),
        case!(a_message_wakes_one_of_many_waiting_calls),
        case!(each_of_many_waiting_calls_gets_a_message),
        case!(dropping_waiting_calls_loses_nothing),
        case!(a_dropped_waiting_call_counts_no_attempt).consumer(|c| c.drop_counts_no_attempt),
    ]
}

type Waiting = JoinHandle<Result<Option<Delivery>>>;

/// A call that waits for one message, in the background.
fn waits(desk: &Desk) -> Waiting {
    let (consumer, group, wait) = (desk.consumer.clone(), desk.group.clone(), WAIT);
    tokio::spawn(async move { consumer.receive_one(&group, wait).await })
}

/// Longer than any case is patient.
const WAIT: Duration = Duration::from_secs(25);

async fn is_woken(waiting: Waiting, within: Duration) -> Result<Delivery, Failure> {
    let woken = tokio::time::timeout(within, waiting).await;
    let woken = woken.map_err(|_| Failure::new(format!("it was not woken within {within:?}")))?;
    let woken = woken.map_err(|error| Failure::new(error.to_string()))?;
    crate::some(woken?, "message for the call that was woken")
}

async fn without_a_wait_it_answers_at_once(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let start = Instant::now();
    desk.is_empty().await?;
    ensure(start.elapsed() < desk.timing.patience, "it must not wait")?;
    desk.send(text("a")).await?;
    crate::eventually(desk.timing.patience, "the message", || async {
        let got = desk
            .consumer
            .receive_one(&desk.group, Duration::ZERO)
            .await?;
        Ok(got.map(|_| ()))
    })
    .await
}

async fn none_in_time_is_ok_and_empty(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let start = Instant::now();
    desk.stays_empty().await?;
    ensure(
        start.elapsed() >= desk.timing.quiet,
        "it must wait as long as it was asked to",
    )
}

async fn what_is_there_is_handed_out_without_waiting(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    let start = Instant::now();
    let got = desk
        .consumer
        .receive(&desk.group, Receive::new(10, WAIT))
        .await?;
    ensure_eq(got.len(), 1, "how many came")?;
    ensure(
        start.elapsed() < desk.timing.patience,
        "it must not wait for more",
    )
}

async fn it_hands_out_no_more_than_asked_for(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all(["a", "b", "c", "d", "e"].map(text)).await?;
    let got = desk
        .consumer
        .receive(&desk.group, Receive::new(3, desk.timing.patience))
        .await?;
    ensure((1..=3).contains(&got.len()), "one to three of five come")?;
    let texts: Vec<String> = got.iter().map(said).collect();
    ensure_eq(
        texts,
        ["a", "b", "c"][..got.len()].to_vec(),
        "what came, in order",
    )
}

async fn asking_for_none_is_refused(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let received = desk
        .consumer
        .receive(&desk.group, Receive::new(0, Duration::ZERO))
        .await;
    expect_kind(received, ErrorKind::InvalidArgument).map(|_| ())
}

async fn asking_for_more_than_the_limit_names_it(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let beyond = desk.consumer.capability().max_receive + 1;
    let received = desk
        .consumer
        .receive(&desk.group, Receive::new(beyond, Duration::ZERO))
        .await;
    expect_limit(received, "max_receive")
}

async fn a_waiting_call_is_woken_by_a_send(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let waiting = waits(&desk);
    desk.stays_waiting(&waiting).await?;
    desk.send(text("a")).await?;
    is_woken(waiting, desk.timing.patience).await.map(|_| ())
}

async fn a_waiting_call_is_woken_by_a_nack(cx: Context) -> Outcome {
    let delay = cx.timing().delay;
    let desk = Desk::with(&cx, |spec| spec.backoff = Backoff::fixed(delay)).await?;
    desk.send(text("a")).await?;
    let delivery = desk.next().await?;
    let waiting = waits(&desk);
    desk.stays_waiting(&waiting).await?;
    desk.nack(&delivery, "once more").await?;
    is_woken(waiting, delay + desk.timing.late)
        .await
        .map(|_| ())
}

async fn a_waiting_call_is_woken_when_a_lease_ends(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    desk.next_briefly().await?;
    let woken = is_woken(
        waits(&desk),
        desk.timing.short_lease + desk.timing.redelivery,
    )
    .await?;
    ensure_eq(woken.attempt, 2, "the attempt")
}

async fn a_waiting_call_is_woken_when_a_message_is_due(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let waiting = waits(&desk);
    desk.send(delayed(desk.timing.delay, "a")).await?;
    is_woken(waiting, desk.timing.delay + desk.timing.late)
        .await
        .map(|_| ())
}

async fn a_waiting_call_is_woken_by_resuming(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.consumer.pause(&desk.group).await?;
    desk.send(text("a")).await?;
    let waiting = waits(&desk);
    desk.stays_waiting(&waiting).await?;
    desk.consumer.resume(&desk.group).await?;
    is_woken(waiting, desk.timing.patience).await.map(|_| ())
}

async fn a_message_wakes_one_of_many_waiting_calls(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let wait = desk.timing.patience / 4;
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let (consumer, group) = (desk.consumer.clone(), desk.group.clone());
            tokio::spawn(async move { consumer.receive_one(&group, wait).await })
        })
        .collect();
    desk.send(text("a")).await?;
    let mut got = 0;
    for call in join_all(calls).await {
        let delivery = call.map_err(|error| Failure::new(error.to_string()))??;
        got += usize::from(delivery.is_some());
    }
    ensure_eq(got, 1, "how many of the calls got the one message")
}

async fn each_of_many_waiting_calls_gets_a_message(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let calls: Vec<Waiting> = (0..5).map(|_| waits(&desk)).collect();
    desk.send_all((0..5).map(|n| text(&n.to_string()))).await?;
    let mut got = Vec::new();
    for call in calls {
        got.push(said(&is_woken(call, desk.timing.patience).await?));
    }
    got.sort();
    ensure_eq(got, ["0", "1", "2", "3", "4"], "what the calls got")
}

/// Starts calls that wait and drops each after a moment, while messages are sent.
async fn send_among_dropped_calls(desk: &Desk, number: usize) -> Outcome {
    let lease = desk.timing.short_lease;
    for n in 0..number {
        let group: GroupName = desk.group.clone();
        let consumer = desk.consumer.clone();
        let receive = Receive {
            lease: Some(lease),
            ..Receive::new(1, WAIT)
        };
        let call = tokio::spawn(async move { consumer.receive(&group, receive).await });
        for _ in 0..n % 4 {
            tokio::task::yield_now().await;
        }
        desk.send(text(&n.to_string())).await?;
        call.abort();
    }
    Ok(())
}

async fn dropping_waiting_calls_loses_nothing(cx: Context) -> Outcome {
    let desk = Desk::with(&cx, |spec| spec.max_deliveries = 1000).await?;
    send_among_dropped_calls(&desk, 30).await?;
    let mut got = Vec::new();
    while got.len() < 30 {
        let delivery = desk
            .next_within(desk.timing.short_lease + desk.timing.redelivery)
            .await?;
        got.push(said(&delivery).parse::<u32>().unwrap_or(u32::MAX));
        desk.ack(&delivery).await?;
    }
    got.sort_unstable();
    ensure_eq(got, (0..30).collect::<Vec<u32>>(), "what came after all")?;
    desk.stays_empty().await
}

async fn a_dropped_waiting_call_counts_no_attempt(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let waiting = waits(&desk);
    desk.stays_waiting(&waiting).await?;
    waiting.abort();
    // Ends when the call is gone for good.
    let _ = waiting.await;
    desk.send(text("a")).await?;
    ensure_eq(
        desk.next().await?.attempt,
        1,
        "the attempt after a dropped call",
    )
}
