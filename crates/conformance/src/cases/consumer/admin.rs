//! Looking after groups.

use std::time::Duration;

use statehouse_contracts::{
    AdminCapability, ConsumerExt, Counts, ErrorKind, GroupName, QueueAdmin, Receive,
};

use crate::case::case;
use crate::cases::desk::{Desk, delayed, group, keyed, said, spec, text};
use crate::{Case, Context, Outcome, ensure, ensure_eq, eventually, expect_kind, some};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(groups_are_listed_by_name_with_their_specs).consumer(|c| c.admin.list),
        case!(a_paused_group_keeps_everything_and_hands_out_nothing).consumer(|c| c.admin.pause),
        case!(pausing_and_resuming_are_idempotent).consumer(|c| c.admin.pause),
        case!(a_paused_group_is_listed_as_paused).consumer(|c| c.admin.pause && c.admin.list),
        case!(a_delivery_of_a_paused_group_can_be_settled).consumer(|c| c.admin.pause),
        case!(a_deleted_group_is_not_found).consumer(|c| c.admin.delete),
        case!(deleting_a_group_deletes_no_other_groups_messages).consumer(|c| c.admin.delete),
        case!(a_group_that_is_made_again_is_empty).consumer(|c| c.admin.delete),
        case!(counts_tell_what_a_group_holds).consumer(|c| c.admin.counts && c.admin.counts_exact),
        case!(delayed_messages_are_counted)
            .consumer(|c| c.admin.counts && c.admin.counts_exact)
            .producer(|c| c.max_delay.is_some()),
        case!(what_waits_behind_its_key_counts_as_ready)
            .consumer(|c| c.admin.counts && c.ordering_keys),
        case!(the_oldest_ready_message_has_an_age).consumer(|c| c.admin.oldest_age),
        case!(peeking_shows_what_would_come_next).consumer(|c| c.admin.peek),
        case!(peeking_shows_only_the_head_of_a_key).consumer(|c| c.admin.peek && c.ordering_keys),
        case!(peeking_changes_neither_order_nor_attempts).consumer(|c| c.admin.peek),
        case!(peeking_shows_the_last_attempt).consumer(|c| c.admin.peek),
        case!(purging_deletes_what_is_ready_and_delayed).consumer(|c| c.admin.purge),
        case!(purging_leaves_what_is_in_flight).consumer(|c| c.admin.purge),
        case!(purging_the_dead_leaves_the_rest).consumer(|c| c.admin.purge && c.admin.dead_letters),
        case!(an_unknown_group_is_not_found),
        case!(deleting_an_unknown_group_answers_false).consumer(|c| c.admin.delete),
        case!(what_is_not_supported_is_refused),
    ]
}

async fn groups_are_listed_by_name_with_their_specs(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    for name in ["b", "a", "c.d"] {
        desk.of(name)
            .declare(|spec| spec.max_deliveries = 7)
            .await?;
    }
    let groups = desk.consumer.groups().await?;
    let names: Vec<&str> = groups.iter().map(|status| status.group.as_str()).collect();
    ensure_eq(names, ["a", "b", "c.d", "g"], "the groups, in order")?;
    let first = some(groups.first(), "group")?;
    let declared = statehouse_contracts::GroupSpec {
        max_deliveries: 7,
        ..spec(&cx)
    };
    ensure_eq(&first.spec, &declared, "the spec")?;
    ensure(!first.paused, "a new group is not paused")
}

async fn a_paused_group_keeps_everything_and_hands_out_nothing(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    desk.consumer.pause(&desk.group).await?;
    desk.send(text("b")).await?;
    desk.stays_empty().await?;
    desk.consumer.resume(&desk.group).await?;
    desk.all_say(&["a", "b"]).await
}

async fn pausing_and_resuming_are_idempotent(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    for _ in 0..2 {
        desk.consumer.pause(&desk.group).await?;
    }
    desk.stays_empty().await?;
    for _ in 0..2 {
        desk.consumer.resume(&desk.group).await?;
    }
    desk.all_say(&["a"]).await
}

async fn a_paused_group_is_listed_as_paused(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.of("other").declare(|_| {}).await?;
    desk.consumer.pause(&desk.group).await?;
    let groups = desk.consumer.groups().await?;
    let paused: Vec<bool> = groups.iter().map(|status| status.paused).collect();
    ensure_eq(paused, [true, false], "which groups are paused")
}

async fn a_delivery_of_a_paused_group_can_be_settled(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    let delivery = desk.next().await?;
    desk.consumer.pause(&desk.group).await?;
    desk.ack(&delivery).await?;
    desk.consumer.resume(&desk.group).await?;
    desk.stays_empty().await
}

async fn a_deleted_group_is_not_found(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    ensure(
        desk.consumer.delete_group(&desk.group).await?,
        "it was there",
    )?;
    ensure(
        !desk.consumer.delete_group(&desk.group).await?,
        "it is not there any more",
    )?;
    let received = desk
        .consumer
        .receive(&desk.group, Receive::new(1, Duration::ZERO))
        .await;
    expect_kind(received, ErrorKind::NotFound).map(|_| ())
}

async fn deleting_a_group_deletes_no_other_groups_messages(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let other = desk.of("other");
    other.declare(|_| {}).await?;
    desk.send_all(["a", "b"].map(text)).await?;
    other.next_says("a").await?;
    desk.consumer.delete_group(&desk.group).await?;
    other.all_say(&["b"]).await
}

async fn a_group_that_is_made_again_is_empty(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all(["a", "b"].map(text)).await?;
    let delivery = desk.next().await?;
    desk.consumer.delete_group(&desk.group).await?;
    desk.declare(|spec| spec.max_deliveries = 9).await?;
    let late = desk.consumer.settle_one(delivery.nack("late")).await;
    ensure(
        late.is_err(),
        "a delivery of the deleted group cannot be settled",
    )?;
    desk.stays_empty().await?;
    desk.send(text("c")).await?;
    desk.all_say(&["c"]).await
}

async fn counts_tell_what_a_group_holds(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let exact = Counts {
        exact: true,
        ..Counts::default()
    };
    ensure_eq(desk.counts().await?, exact, "the counts of an empty group")?;
    desk.send_all(["a", "b", "c", "d", "e"].map(text)).await?;
    let (done, dead, _held) = (desk.next().await?, desk.next().await?, desk.next().await?);
    desk.ack(&done).await?;
    desk.consumer.settle_one(dead.dead_letter("poison")).await?;
    let expected = Counts {
        ready: 2,
        in_flight: 1,
        dead: 1,
        ..exact
    };
    ensure_eq(desk.counts().await?, expected, "the counts")
}

async fn delayed_messages_are_counted(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all([delayed(Duration::from_secs(600), "a"), text("b")])
        .await?;
    eventually(
        desk.timing.patience,
        "one delayed and one ready message",
        || async {
            let counts = desk.counts().await?;
            Ok(((counts.delayed, counts.ready) == (1, 1)).then_some(()))
        },
    )
    .await
}

async fn what_waits_behind_its_key_counts_as_ready(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all([keyed("k", "1"), keyed("k", "2"), keyed("k", "3")])
        .await?;
    desk.next().await?;
    eventually(
        desk.timing.patience,
        "one in flight and two ready",
        || async {
            let counts = desk.counts().await?;
            // Where leases cannot be counted, the one that is in flight may still count as ready.
            let as_it_is = match counts.exact {
                true => (counts.in_flight, counts.ready) == (1, 2),
                false => (2..=3).contains(&counts.ready),
            };
            Ok(as_it_is.then_some(()))
        },
    )
    .await
}

async fn the_oldest_ready_message_has_an_age(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let age = || desk.consumer.oldest_ready_age(&desk.group);
    ensure_eq(age().await?, None, "the age in an empty group")?;
    desk.send(text("a")).await?;
    let passed = desk.timing.quiet;
    eventually(desk.timing.patience, "an age", || async {
        Ok(age().await?.filter(|age| *age >= passed))
    })
    .await?;
    desk.all_say(&["a"]).await?;
    ensure_eq(age().await?, None, "the age when it is done")
}

async fn peeked(desk: &Desk) -> Result<Vec<(String, u32)>, crate::Failure> {
    let next = desk.consumer.peek(&desk.group, 10).await?;
    Ok(next
        .into_iter()
        .map(|(received, attempt)| {
            (
                String::from_utf8_lossy(received.message.bytes()).into_owned(),
                attempt,
            )
        })
        .collect())
}

fn expected<const N: usize>(list: [(&str, u32); N]) -> Vec<(String, u32)> {
    list.map(|(text, attempt)| (text.to_owned(), attempt))
        .into()
}

async fn peeking_shows_what_would_come_next(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all(["a", "b", "c"].map(text)).await?;
    ensure_eq(
        peeked(&desk).await?,
        expected([("a", 0), ("b", 0), ("c", 0)]),
        "what is peeked",
    )?;
    let first = desk.consumer.peek(&desk.group, 1).await?;
    ensure_eq(first.len(), 1, "how many are peeked")?;
    desk.next_says("a").await?;
    ensure_eq(
        peeked(&desk).await?,
        expected([("b", 0), ("c", 0)]),
        "what is peeked then",
    )
}

async fn peeking_shows_only_the_head_of_a_key(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all([keyed("k", "1"), keyed("k", "2"), text("a")])
        .await?;
    ensure_eq(
        peeked(&desk).await?,
        expected([("1", 0), ("a", 0)]),
        "what is peeked",
    )?;
    let head = desk.next_says("1").await?;
    ensure_eq(
        peeked(&desk).await?,
        expected([("a", 0)]),
        "what is peeked behind a leased head",
    )?;
    desk.ack(&head).await?;
    ensure_eq(
        peeked(&desk).await?,
        expected([("2", 0), ("a", 0)]),
        "what is peeked when the head is done",
    )
}

async fn peeking_changes_neither_order_nor_attempts(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all(["a", "b"].map(text)).await?;
    for _ in 0..3 {
        peeked(&desk).await?;
    }
    let first = desk.next_says("a").await?;
    ensure_eq(first.attempt, 1, "the attempt after peeking")?;
    desk.next_says("b").await.map(|_| ())
}

async fn peeking_shows_the_last_attempt(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("a")).await?;
    let delivery = desk.next().await?;
    desk.nack(&delivery, "once more").await?;
    ensure_eq(peeked(&desk).await?, expected([("a", 1)]), "what is peeked")
}

async fn purging_deletes_what_is_ready_and_delayed(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let other = desk.of("other");
    other.declare(|_| {}).await?;
    desk.send_all(["a", "b"].map(text)).await?;
    let delivery = desk.next().await?;
    if cx.expected().consumer.is_some_and(|c| c.nack_delay) {
        desk.nack_after(&delivery, desk.timing.delay).await?;
    } else {
        desk.nack(&delivery, "once more").await?;
    }
    ensure_eq(
        desk.consumer.purge(&desk.group, false).await?,
        2,
        "how many were purged",
    )?;
    let past = desk.timing.delay + desk.timing.quiet;
    let got = desk
        .consumer
        .receive(&desk.group, Receive::new(1, past))
        .await?;
    ensure(got.is_empty(), "what was purged must not come")?;
    other.all_say(&["a", "b"]).await
}

async fn purging_leaves_what_is_in_flight(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all(["a", "b"].map(text)).await?;
    let delivery = desk.next_says("a").await?;
    ensure_eq(
        desk.consumer.purge(&desk.group, false).await?,
        1,
        "how many were purged",
    )?;
    desk.nack(&delivery, "still there").await?;
    desk.all_say(&["a"]).await
}

async fn purging_the_dead_leaves_the_rest(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all(["a", "b"].map(text)).await?;
    let delivery = desk.next().await?;
    desk.consumer
        .settle_one(delivery.dead_letter("poison"))
        .await?;
    desk.dead(1).await?;
    ensure_eq(
        desk.consumer.purge(&desk.group, true).await?,
        1,
        "how many were purged",
    )?;
    desk.dead(0).await?;
    desk.all_say(&["b"]).await
}

/// Each operation that needs a group, as far as it is supported `as_asked`.
async fn refusals(cx: &Context, on: &GroupName, as_asked: bool, kind: ErrorKind) -> Outcome {
    let consumer = cx.consumer().await?;
    let admin: AdminCapability = consumer.capability().admin;
    let queue: &dyn QueueAdmin = &*consumer;
    let answers = [
        (admin.pause, queue.pause(on).await.err()),
        (admin.pause, queue.resume(on).await.err()),
        (admin.counts, queue.counts(on).await.err()),
        (admin.oldest_age, queue.oldest_ready_age(on).await.err()),
        (admin.peek, queue.peek(on, 1).await.err()),
        (
            admin.dead_letters,
            queue.dead_letters(on, 1, None).await.err(),
        ),
        (admin.redrive, queue.redrive(on, None).await.err()),
        (admin.purge, queue.purge(on, false).await.err()),
        (admin.purge, queue.purge(on, true).await.err()),
    ];
    for (n, (supported, error)) in answers.into_iter().enumerate() {
        if supported == as_asked {
            let refused = error.map(|error| error.kind());
            ensure_eq(
                refused,
                Some(kind),
                &format!("the refusal of operation {n}"),
            )?;
        }
    }
    Ok(())
}

async fn an_unknown_group_is_not_found(cx: Context) -> Outcome {
    refusals(&cx, &group("unknown"), true, ErrorKind::NotFound).await
}

async fn deleting_an_unknown_group_answers_false(cx: Context) -> Outcome {
    let deleted = cx.consumer().await?.delete_group(&group("unknown")).await?;
    ensure(!deleted, "an unknown group was not there")
}

async fn what_is_not_supported_is_refused(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    refusals(&cx, &desk.group, false, ErrorKind::Unsupported).await?;
    let admin = desk.consumer.capability().admin;
    if !admin.list {
        expect_kind(desk.consumer.groups().await, ErrorKind::Unsupported)?;
    }
    if !admin.delete {
        let deleted = desk.consumer.delete_group(&desk.group).await;
        expect_kind(deleted, ErrorKind::Unsupported)?;
    }
    desk.send(text("a")).await?;
    ensure_eq(said(&desk.next().await?), "a", "the group works on")
}
