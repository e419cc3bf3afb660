//! Closing, and who sees what.

use std::time::Duration;

use statehouse_contracts::{
    Backend, ConsumerExt, ErrorKind, MessageId, Pattern, ProducerExt, Receive, SendOptions,
};

use crate::case::case;
use crate::cases::desk::{Desk, said, text};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(closing_ends_a_call_that_waits),
        case!(closing_the_backend_ends_a_call_that_waits),
        case!(closing_twice_is_ok),
        case!(after_closing_a_producer_is_closed),
        case!(after_closing_a_consumer_is_closed),
        case!(after_closing_the_backend_its_handles_are_closed),
        case!(closing_one_handle_leaves_the_others_open),
        case!(an_open_lease_of_a_closed_handle_runs_out),
        case!(closing_ends_a_send_that_waits_for_admission).consumer(|c| c.overflow_reject),
        case!(namespaces_see_nothing_of_each_other),
        case!(groups_of_one_name_are_apart_in_two_namespaces),
        case!(a_namespace_that_holds_something_is_listed),
    ]
}

async fn on(cx: &Context, backend: &dyn Backend) -> Result<Desk, Failure> {
    let desk = Desk::on(cx, backend, cx.scope()).await?;
    desk.declare(|_| {}).await?;
    Ok(desk)
}

/// `close` must end a call that waits.
async fn ends_waiting<F>(desk: &Desk, close: F) -> Outcome
where
    F: Future<Output = statehouse_contracts::Result<()>>,
{
    let (consumer, group) = (desk.consumer.clone(), desk.group.clone());
    let wait = desk.timing.patience * 3;
    let waiting = tokio::spawn(async move { consumer.receive_one(&group, wait).await });
    desk.stays_waiting(&waiting).await?;
    close.await?;
    let ended = tokio::time::timeout(desk.timing.patience, waiting).await;
    let ended = ended.map_err(|_| Failure::new("the call still waits after closing"))?;
    let ended = ended.map_err(|error| Failure::new(error.to_string()))?;
    expect_kind(ended, ErrorKind::Closed).map(|_| ())
}

async fn closing_ends_a_call_that_waits(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    ends_waiting(&desk, desk.consumer.close()).await
}

async fn closing_the_backend_ends_a_call_that_waits(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    let desk = on(&cx, &**instance.backend()).await?;
    ends_waiting(&desk, instance.backend().close()).await
}

async fn closing_twice_is_ok(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    let desk = on(&cx, &**instance.backend()).await?;
    for _ in 0..2 {
        desk.consumer.close().await?;
        desk.producer.close().await?;
    }
    instance.backend().close().await?;
    instance.backend().close().await?;
    desk.consumer.close().await?;
    Ok(desk.producer.close().await?)
}

async fn after_closing_a_producer_is_closed(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let cancels = desk.producer.capability().cancel;
    desk.producer.close().await?;
    let sent = desk
        .producer
        .send(vec![text("a")], SendOptions::default())
        .await;
    expect_kind(sent.map(|answers| answers.len()), ErrorKind::Closed)?;
    if cancels {
        let cancelled = desk.producer.cancel(MessageId::random()).await;
        expect_kind(cancelled, ErrorKind::Closed)?;
    }
    desk.stays_empty().await
}

async fn consumer_is_closed(desk: &Desk) -> Outcome {
    let receive = Receive::new(1, desk.timing.patience);
    let received = desk.consumer.receive(&desk.group, receive).await;
    expect_kind(received, ErrorKind::Closed)?;
    let declared = desk.declare(|_| {}).await;
    ensure(declared.is_err(), "a closed consumer must not declare")?;
    let can = desk.consumer.capability();
    if can.admin.counts {
        expect_kind(desk.consumer.counts(&desk.group).await, ErrorKind::Closed)?;
    }
    if can.broadcast {
        expect_kind(
            desk.consumer.broadcast(&Pattern::ALL).await,
            ErrorKind::Closed,
        )?;
    }
    Ok(())
}

async fn after_closing_a_consumer_is_closed(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.consumer.close().await?;
    consumer_is_closed(&desk).await
}

async fn after_closing_the_backend_its_handles_are_closed(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    let desk = on(&cx, &**instance.backend()).await?;
    instance.backend().close().await?;
    consumer_is_closed(&desk).await?;
    expect_kind(desk.producer.send_one(text("a")).await, ErrorKind::Closed)?;
    Ok(())
}

async fn closing_one_handle_leaves_the_others_open(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let other = Desk::on(&cx, &*cx.backend().await?, cx.scope()).await?;
    desk.consumer.close().await?;
    desk.send(text("a")).await?;
    desk.producer.close().await?;
    other.send(text("b")).await?;
    other.all_say(&["a", "b"]).await
}

async fn an_open_lease_of_a_closed_handle_runs_out(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    desk.next_briefly().await?;
    desk.consumer.close().await?;
    let other = Desk::on(&cx, &*cx.backend().await?, cx.scope()).await?;
    let again = other
        .next_within(desk.timing.short_lease + desk.timing.redelivery)
        .await?;
    ensure_eq(again.attempt, 2, "the attempt")
}

async fn closing_ends_a_send_that_waits_for_admission(cx: Context) -> Outcome {
    let desk = Desk::with(&cx, |spec| spec.max_length = Some(1)).await?;
    desk.send(text("a")).await?;
    let own = cx.producer().await?;
    let sender = own.clone();
    let options = SendOptions {
        admission: desk.timing.patience * 3,
        ..SendOptions::default()
    };
    let waiting = tokio::spawn(async move { sender.send_with(text("b"), options).await });
    desk.stays_waiting(&waiting).await?;
    own.close().await?;
    let ended = tokio::time::timeout(desk.timing.patience, waiting).await;
    let ended = ended.map_err(|_| Failure::new("the send still waits after closing"))?;
    let ended = ended.map_err(|error| Failure::new(error.to_string()))?;
    let closed = expect_kind(ended, ErrorKind::Closed)?;
    desk.all_say(&["a"]).await?;
    if !closed.is_ambiguous() {
        return desk.stays_empty().await;
    }
    // A service hears a little later that nobody waits, and may accept it before; once.
    let (consumer, mut more) = (&desk.consumer, Vec::new());
    for _ in 0..2 {
        if let Some(delivery) = consumer.receive_one(&desk.group, desk.timing.quiet).await? {
            desk.ack(&delivery).await?;
            more.push(said(&delivery));
        }
    }
    if more.is_empty() {
        return Ok(());
    }
    ensure_eq(more, ["b"], "what follows the first message")
}

async fn namespaces_see_nothing_of_each_other(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let elsewhere = Desk::on(&cx, &*cx.backend().await?, &cx.other_scope()?).await?;
    let received = elsewhere
        .consumer
        .receive(&desk.group, Receive::new(1, Duration::ZERO))
        .await;
    expect_kind(received, ErrorKind::NotFound)?;
    elsewhere.declare(|_| {}).await?;
    desk.send(text("a")).await?;
    elsewhere.stays_empty().await?;
    if elsewhere.consumer.capability().admin.list {
        let groups = elsewhere.consumer.groups().await?;
        ensure_eq(groups.len(), 1, "how many groups the other namespace has")?;
    }
    Ok(())
}

async fn groups_of_one_name_are_apart_in_two_namespaces(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let elsewhere = Desk::on(&cx, &*cx.backend().await?, &cx.other_scope()?).await?;
    elsewhere.declare(|spec| spec.max_deliveries = 9).await?;
    desk.send(text("here")).await?;
    elsewhere.send(text("there")).await?;
    desk.all_say(&["here"]).await?;
    elsewhere.all_say(&["there"]).await
}

async fn a_namespace_that_holds_something_is_listed(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    let namespaces = cx.backend().await?.namespaces().await?;
    ensure(
        namespaces.contains(&cx.scope().namespace),
        "the namespace must be listed",
    )?;
    ensure(namespaces.is_sorted(), "namespaces are listed in order")
}
