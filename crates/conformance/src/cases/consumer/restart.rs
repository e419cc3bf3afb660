//! What survives closing the backend and opening it again, and what another process sees.

use std::time::Duration;

use statehouse_contracts::{ConsumerExt, ErrorKind, ProducerExt, Receive};

use crate::case::case;
use crate::cases::desk::{Desk, delayed, keyed, said, spec, text, text_on};
use crate::{Case, Context, Failure, Instance, Outcome, ensure, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    let reopened = vec![
        case!(messages_come_back_after_reopening),
        case!(groups_and_their_specs_come_back_after_reopening),
        case!(attempts_come_back_after_reopening),
        case!(what_is_in_flight_comes_back_after_reopening),
        case!(a_lease_may_be_settled_after_reopening).consumer(|c| c.settle_anywhere),
        case!(what_was_acknowledged_stays_done_after_reopening).consumer(|c| c.ack_confirmed),
        case!(delayed_messages_come_back_after_reopening).producer(|c| c.max_delay.is_some()),
        case!(dead_letters_come_back_after_reopening).consumer(|c| c.admin.dead_letters),
        case!(a_repeat_after_reopening_is_a_duplicate).producer(|c| c.dedup_window.is_some()),
        case!(the_order_of_a_key_survives_reopening).consumer(|c| c.ordering_keys),
        case!(a_paused_group_is_paused_after_reopening).consumer(|c| c.admin.pause),
    ];
    let beside = vec![
        case!(another_process_receives_what_is_sent_here),
        case!(another_process_may_settle_by_token).consumer(|c| c.settle_anywhere),
        case!(of_two_processes_one_gets_each_message),
    ];
    let survives = |case: Case| {
        case.reopens()
            .consumer(|c| c.durability.process_kill)
            .producer(|c| c.durability.process_kill)
    };
    reopened
        .into_iter()
        .map(survives)
        .chain(beside.into_iter().map(Case::reopens))
        .collect()
}

/// A backend of one's own, with the group `g`.
async fn start(cx: &Context) -> Result<(Instance, Desk), Failure> {
    let instance = cx.fresh().await?;
    let desk = Desk::on(cx, &**instance.backend(), cx.scope()).await?;
    desk.declare(|_| {}).await?;
    Ok((instance, desk))
}

/// The same data in a backend that was opened anew; the group is there.
async fn reopen(cx: &Context, instance: &Instance) -> Result<Desk, Failure> {
    let again = instance.reopen().await?;
    Desk::on(cx, &**again.backend(), cx.scope()).await
}

async fn messages_come_back_after_reopening(cx: Context) -> Outcome {
    let (instance, desk) = start(&cx).await?;
    let letter = text_on("mailbox.a", "letter");
    desk.send_all([text("a"), text("b"), letter]).await?;
    let desk = reopen(&cx, &instance).await?;
    desk.all_say(&["a", "b"]).await?;
    desk.stays_empty().await?;
    desk.mailbox("a").all_say(&["letter"]).await
}

async fn groups_and_their_specs_come_back_after_reopening(cx: Context) -> Outcome {
    let (instance, _desk) = start(&cx).await?;
    let desk = reopen(&cx, &instance).await?;
    let same = desk.consumer.declare(&desk.group, &spec(&cx)).await?;
    ensure(!same.created, "the group must still be there")?;
    let mut other = spec(&cx);
    other.max_deliveries = 9;
    let declared = desk.consumer.declare(&desk.group, &other).await;
    expect_kind(declared, ErrorKind::Conflict).map(|_| ())
}

async fn attempts_come_back_after_reopening(cx: Context) -> Outcome {
    let (instance, desk) = start(&cx).await?;
    desk.send(text("a")).await?;
    for _ in 0..2 {
        let delivery = desk.next().await?;
        desk.nack(&delivery, "once more").await?;
    }
    let desk = reopen(&cx, &instance).await?;
    ensure_eq(desk.next().await?.attempt, 3, "the attempt after reopening")
}

async fn what_is_in_flight_comes_back_after_reopening(cx: Context) -> Outcome {
    let (instance, desk) = start(&cx).await?;
    desk.send(text("a")).await?;
    desk.next_briefly().await?;
    let desk = reopen(&cx, &instance).await?;
    let again = desk
        .next_within(desk.timing.short_lease + desk.timing.redelivery)
        .await?;
    ensure_eq(
        (said(&again).as_str(), again.attempt),
        ("a", 2),
        "what comes back",
    )
}

async fn a_lease_may_be_settled_after_reopening(cx: Context) -> Outcome {
    let (instance, desk) = start(&cx).await?;
    desk.send(text("a")).await?;
    let delivery = desk.next().await?;
    let desk = reopen(&cx, &instance).await?;
    desk.stays_empty().await?;
    desk.ack(&delivery).await?;
    desk.stays_empty().await
}

async fn what_was_acknowledged_stays_done_after_reopening(cx: Context) -> Outcome {
    let (instance, desk) = start(&cx).await?;
    desk.send_all(["a", "b"].map(text)).await?;
    desk.all_say(&["a"]).await?;
    let desk = reopen(&cx, &instance).await?;
    desk.all_say(&["b"]).await?;
    desk.stays_empty().await
}

async fn delayed_messages_come_back_after_reopening(cx: Context) -> Outcome {
    let (instance, desk) = start(&cx).await?;
    let delay = desk.timing.delay + Duration::from_secs(1);
    desk.send(delayed(delay, "a")).await?;
    let desk = reopen(&cx, &instance).await?;
    ensure_eq(
        said(&desk.next_within(delay + desk.timing.late).await?),
        "a".to_owned(),
        "what is due",
    )
}

async fn dead_letters_come_back_after_reopening(cx: Context) -> Outcome {
    let (instance, desk) = start(&cx).await?;
    desk.send(text("a")).await?;
    let delivery = desk.next().await?;
    desk.consumer
        .settle_one(delivery.dead_letter("poison"))
        .await?;
    let before = desk.dead(1).await?;
    let desk = reopen(&cx, &instance).await?;
    ensure_eq(desk.dead(1).await?, before, "the dead letters")
}

async fn a_repeat_after_reopening_is_a_duplicate(cx: Context) -> Outcome {
    let (instance, desk) = start(&cx).await?;
    let message = text("a");
    desk.send(message.clone()).await?;
    let desk = reopen(&cx, &instance).await?;
    let again = desk.producer.send_one(message.clone()).await?;
    ensure_eq(
        again.duplicate_of,
        Some(message.id),
        "duplicate_of after reopening",
    )?;
    desk.all_say(&["a"]).await?;
    desk.stays_empty().await
}

async fn the_order_of_a_key_survives_reopening(cx: Context) -> Outcome {
    let (instance, desk) = start(&cx).await?;
    desk.send_all([keyed("k", "1"), keyed("k", "2"), keyed("k", "3")])
        .await?;
    desk.all_say(&["1"]).await?;
    let desk = reopen(&cx, &instance).await?;
    desk.all_say(&["2", "3"]).await
}

async fn a_paused_group_is_paused_after_reopening(cx: Context) -> Outcome {
    let (instance, desk) = start(&cx).await?;
    desk.send(text("a")).await?;
    desk.consumer.pause(&desk.group).await?;
    let desk = reopen(&cx, &instance).await?;
    desk.stays_empty().await?;
    desk.consumer.resume(&desk.group).await?;
    desk.all_say(&["a"]).await
}

async fn both(cx: &Context) -> Result<(Desk, Desk), Failure> {
    let (instance, here) = start(cx).await?;
    let beside = instance.beside().await?;
    let there = Desk::on(cx, &**beside.backend(), cx.scope()).await?;
    Ok((here, there))
}

async fn another_process_receives_what_is_sent_here(cx: Context) -> Outcome {
    let (here, there) = both(&cx).await?;
    let (consumer, group) = (there.consumer.clone(), there.group.clone());
    let wait = there.timing.patience;
    let waiting = tokio::spawn(async move { consumer.receive_one(&group, wait).await });
    here.stays_waiting(&waiting).await?;
    here.send(text("a")).await?;
    let got = waiting
        .await
        .map_err(|error| Failure::new(error.to_string()))??;
    ensure_eq(
        got.map(|got| said(&got)),
        Some("a".to_owned()),
        "what the other process gets",
    )
}

async fn another_process_may_settle_by_token(cx: Context) -> Outcome {
    let (here, there) = both(&cx).await?;
    here.send(text("a")).await?;
    let delivery = here.next().await?;
    there.ack(&delivery).await?;
    here.stays_empty().await
}

async fn of_two_processes_one_gets_each_message(cx: Context) -> Outcome {
    let (here, there) = both(&cx).await?;
    here.send_all((0..20).map(|n| text(&n.to_string()))).await?;
    let mut got = Vec::new();
    for desk in [&here, &there].into_iter().cycle().take(60) {
        let receive = Receive::new(1, Duration::ZERO);
        got.extend(
            desk.consumer
                .receive(&desk.group, receive)
                .await?
                .iter()
                .map(said),
        );
    }
    got.sort_by_key(|text| text.parse::<u32>().unwrap_or(u32::MAX));
    let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    ensure_eq(got, expected, "what both got together")
}
