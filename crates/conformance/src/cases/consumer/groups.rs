//! Declaring groups, and what each of them gets.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use statehouse_contracts::{
    Backoff, Consumer, ConsumerCapability, Detail, ErrorKind, Expired, GroupSpec, Overflow,
    Receive, Start,
};

use crate::case::case;
use crate::cases::desk::{Desk, group, pattern, spec, text, text_on};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind, some};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(declaring_the_same_again_is_ok),
        case!(racing_declarations_make_one_group),
        case!(declaring_another_spec_is_a_conflict_that_names_the_field),
        case!(a_conflicting_declaration_changes_nothing),
        case!(a_spec_that_makes_no_sense_is_refused),
        case!(a_lease_outside_the_limits_is_refused),
        case!(receiving_from_an_unknown_group_is_not_found),
        case!(receiving_from_a_mailbox_makes_it),
        case!(a_group_sees_nothing_that_was_sent_before_it),
        case!(a_group_from_the_earliest_sees_what_is_kept).consumer(|c| c.start_earliest),
        case!(starting_at_the_earliest_is_refused).consumer(|c| !c.start_earliest),
        case!(keeping_expired_messages_is_refused).consumer(|c| !c.expired_dead_letters),
        case!(priorities_are_refused).consumer(|c| c.priorities <= 1),
        case!(equal_priorities_are_refused).consumer(|c| c.priorities > 1 && !c.equal_priorities),
        case!(a_group_gets_what_its_pattern_matches),
        case!(groups_do_not_share_attempts),
    ]
}

async fn declaring_the_same_again_is_ok(cx: Context) -> Outcome {
    let (consumer, spec) = (cx.consumer().await?, spec(&cx));
    ensure(
        consumer.declare(&group("g"), &spec).await?.created,
        "the first makes it",
    )?;
    ensure(
        !consumer.declare(&group("g"), &spec).await?.created,
        "the second finds it",
    )
}

async fn racing_declarations_make_one_group(cx: Context) -> Outcome {
    let consumer = cx.consumer().await?;
    let racers = (0..8).map(|_| {
        let (consumer, spec) = (consumer.clone(), spec(&cx));
        tokio::spawn(async move { consumer.declare(&group("g"), &spec).await })
    });
    let mut created = 0;
    for racer in join_all(racers).await {
        let declared = racer.map_err(|error| Failure::new(error.to_string()))??;
        created += usize::from(declared.created);
    }
    ensure_eq(created, 1, "how many of the racers made the group")
}

/// A changed spec for each field that the consumer lets change.
fn changes(base: &GroupSpec, can: &ConsumerCapability) -> Vec<(&'static str, GroupSpec)> {
    let with = |change: &dyn Fn(&mut GroupSpec)| {
        let mut changed = base.clone();
        change(&mut changed);
        changed
    };
    let longer = (base.lease - Duration::from_millis(1)).max(can.min_lease);
    let backoff = Backoff::fixed(Duration::from_secs(7));
    let mut changes = vec![
        ("pattern", with(&|spec| spec.pattern = pattern("u"))),
        ("max_deliveries", with(&|spec| spec.max_deliveries = 9)),
        ("lease", with(&|spec| spec.lease = longer)),
        ("backoff", with(&|spec| spec.backoff = backoff)),
        ("ordering", with(&|spec| spec.ordering = false)),
        ("priorities", with(&|spec| spec.priorities = false)),
        ("start", with(&|spec| spec.start = Start::Earliest)),
        ("max_length", with(&|spec| spec.max_length = Some(7))),
        (
            "overflow",
            with(&|spec| spec.overflow = Overflow::DropOldest),
        ),
        ("expired", with(&|spec| spec.expired = Expired::DeadLetter)),
    ];
    changes.retain(|(field, changed)| {
        changed != base
            && match *field {
                "start" => can.start_earliest,
                "priorities" => can.equal_priorities,
                "max_length" => can.overflow_reject,
                "overflow" => can.overflow_drop_oldest,
                "expired" => can.expired_dead_letters,
                _ => true,
            }
    });
    changes
}

async fn declaring_another_spec_is_a_conflict_that_names_the_field(cx: Context) -> Outcome {
    let (consumer, spec) = (cx.consumer().await?, spec(&cx));
    consumer.declare(&group("g"), &spec).await?;
    for (field, changed) in changes(&spec, &consumer.capability()) {
        let declared = consumer.declare(&group("g"), &changed).await;
        let error = expect_kind(declared, ErrorKind::Conflict)?;
        ensure_eq(
            error.detail(),
            Some(&Detail::SpecField(field)),
            "the field that is named",
        )?;
    }
    Ok(())
}

async fn a_conflicting_declaration_changes_nothing(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let mut other = spec(&cx);
    other.pattern = pattern("u");
    let declared = desk.consumer.declare(&desk.group, &other).await;
    expect_kind(declared, ErrorKind::Conflict)?;
    ensure(
        !desk
            .consumer
            .declare(&desk.group, &spec(&cx))
            .await?
            .created,
        "it is as it was",
    )?;
    desk.send_all([text_on("u", "other"), text("own")]).await?;
    desk.all_say(&["own"]).await
}

async fn a_spec_that_makes_no_sense_is_refused(cx: Context) -> Outcome {
    let (consumer, spec) = (cx.consumer().await?, spec(&cx));
    let never = GroupSpec {
        max_deliveries: 0,
        ..spec.clone()
    };
    let nothing = GroupSpec {
        max_length: Some(0),
        ..spec
    };
    for spec in [never, nothing] {
        let declared = consumer.declare(&group("g"), &spec).await;
        expect_kind(declared, ErrorKind::InvalidArgument)?;
    }
    let received = consumer
        .receive(&group("g"), Receive::new(1, Duration::ZERO))
        .await;
    expect_kind(received, ErrorKind::NotFound).map(|_| ())
}

async fn a_lease_outside_the_limits_is_refused(cx: Context) -> Outcome {
    let consumer: Arc<dyn Consumer> = cx.consumer().await?;
    let can = consumer.capability();
    let below = can.min_lease.checked_sub(Duration::from_millis(1));
    let beyond = can.max_lease.checked_add(Duration::from_secs(1));
    for lease in [below, beyond].into_iter().flatten() {
        let spec = GroupSpec { lease, ..spec(&cx) };
        let declared = consumer.declare(&group("g"), &spec).await;
        expect_kind(declared, ErrorKind::InvalidArgument)?;
    }
    Ok(())
}

async fn receiving_from_an_unknown_group_is_not_found(cx: Context) -> Outcome {
    let consumer = cx.consumer().await?;
    for wait in [Duration::ZERO, cx.timing().patience] {
        let received = consumer
            .receive(&group("unknown"), Receive::new(1, wait))
            .await;
        expect_kind(received, ErrorKind::NotFound)?;
    }
    Ok(())
}

async fn receiving_from_a_mailbox_makes_it(cx: Context) -> Outcome {
    let desk = Desk::on(&cx, &*cx.backend().await?, cx.scope()).await?;
    let mailbox = desk.mailbox("a");
    mailbox.is_empty().await?;
    let letter = text_on("mailbox.a", "hello");
    mailbox.send(letter).await?;
    mailbox.all_say(&["hello"]).await
}

async fn a_group_sees_nothing_that_was_sent_before_it(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text("before")).await?;
    let late = desk.of("late");
    late.declare(|_| {}).await?;
    desk.send(text("after")).await?;
    late.all_say(&["after"]).await?;
    late.stays_empty().await
}

async fn a_group_from_the_earliest_sees_what_is_kept(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all(["a", "b"].map(text)).await?;
    let late = desk.of("late");
    late.declare(|spec| spec.start = Start::Earliest).await?;
    desk.send(text("c")).await?;
    late.all_say(&["a", "b", "c"]).await
}

async fn is_unsupported(cx: &Context, change: impl FnOnce(&mut GroupSpec)) -> Outcome {
    let mut spec = spec(cx);
    change(&mut spec);
    let declared = cx.consumer().await?.declare(&group("g"), &spec).await;
    expect_kind(declared, ErrorKind::Unsupported).map(|_| ())
}

async fn starting_at_the_earliest_is_refused(cx: Context) -> Outcome {
    is_unsupported(&cx, |spec| spec.start = Start::Earliest).await
}

async fn keeping_expired_messages_is_refused(cx: Context) -> Outcome {
    is_unsupported(&cx, |spec| spec.expired = Expired::DeadLetter).await
}

async fn priorities_are_refused(cx: Context) -> Outcome {
    is_unsupported(&cx, |spec| spec.priorities = true).await
}

async fn equal_priorities_are_refused(cx: Context) -> Outcome {
    is_unsupported(&cx, |spec| spec.priorities = false).await
}

async fn a_group_gets_what_its_pattern_matches(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let topics = ["a", "a.b", "a.b.c", "b.c", "x.a", "a.c"];
    let table: [(&str, &[&str]); 7] = [
        ("a.b", &["a.b"]),
        ("a.*", &["a.b", "a.c"]),
        ("a.#", &["a", "a.b", "a.b.c", "a.c"]),
        ("#.c", &["a.b.c", "b.c", "a.c"]),
        ("*.*", &["a.b", "b.c", "x.a", "a.c"]),
        ("#", &topics),
        ("q.#", &[]),
    ];
    let name = |n: usize| format!("g{n}");
    for (n, (form, _)) in table.iter().enumerate() {
        desk.of(&name(n))
            .declare(|spec| spec.pattern = pattern(form))
            .await?;
    }
    desk.send_all(topics.map(|topic| text_on(topic, topic)))
        .await?;
    for (n, (_, expected)) in table.iter().enumerate() {
        desk.of(&name(n)).all_say(expected).await?;
        desk.of(&name(n)).is_empty().await?;
    }
    Ok(())
}

async fn groups_do_not_share_attempts(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let other = desk.of("other");
    other.declare(|_| {}).await?;
    desk.send(text("a")).await?;
    let first = desk.next().await?;
    desk.nack(&first, "once more").await?;
    let again = some(Some(desk.next().await?), "second delivery")?;
    ensure_eq(
        again.attempt,
        2,
        "the attempt of the group that failed once",
    )?;
    ensure_eq(
        other.next().await?.attempt,
        1,
        "the attempt of the other group",
    )
}
