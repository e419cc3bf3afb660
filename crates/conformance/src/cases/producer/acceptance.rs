//! What `Ok` means: which groups have the message.

use statehouse_contracts::{
    ConsumerExt, ErrorKind, GroupName, GroupSpec, Message, Pattern, Payload, ProducerExt,
    SendOptions, Topic,
};

use crate::case::case;
use crate::cases::desk::{Desk, keyed, said, text, text_on};
use crate::{Case, Context, Outcome, ensure, ensure_eq, expect_kind, some};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(an_accepted_message_reaches_every_group_that_matches),
        case!(a_message_keeps_the_id_it_was_sent_with),
        case!(routed_counts_the_groups_that_were_reached).producer(|c| c.routed),
        case!(matching_no_group_is_ok).consumer(|_| true),
        case!(a_missing_route_that_is_required_is_not_found).producer(|c| c.require_route),
        case!(after_a_missing_route_nothing_was_sent)
            .producer(|c| c.require_route && c.dedup_window.is_some()),
        case!(requiring_a_route_is_refused).producer(|c| !c.require_route),
        case!(an_empty_batch_is_ok),
        case!(a_batch_answers_item_by_item_in_order),
        case!(a_batch_is_no_transaction),
        case!(a_failed_item_stops_the_later_items_of_its_key).consumer(|c| c.ordering_keys),
        case!(sending_to_a_mailbox_makes_it),
        case!(a_mailbox_made_by_sending_has_the_default_spec),
        case!(a_mailbox_that_is_there_keeps_its_spec),
    ]
}

const REQUIRE: fn() -> SendOptions = || SendOptions {
    require_route: true,
    ..SendOptions::default()
};

async fn an_accepted_message_reaches_every_group_that_matches(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let (same, other) = (desk.of("same"), desk.of("other"));
    same.declare(|_| {}).await?;
    other
        .declare(|spec| spec.pattern = Pattern::from(crate::cases::desk::topic("u")))
        .await?;
    desk.send(text("a")).await?;
    desk.all_say(&["a"]).await?;
    same.all_say(&["a"]).await?;
    other.stays_empty().await
}

async fn a_message_keeps_the_id_it_was_sent_with(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let message = text("a");
    let sent = desk.send(message.clone()).await?;
    ensure_eq(sent.id, message.id, "the id that the send answers")?;
    ensure_eq(sent.duplicate_of, None, "duplicate_of of a new message")?;
    ensure_eq(
        desk.next().await?.message().id,
        message.id,
        "the id that is received",
    )
}

async fn routed_counts_the_groups_that_were_reached(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.of("second").declare(|_| {}).await?;
    ensure_eq(
        desk.send(text("a")).await?.routed,
        Some(2),
        "routed to two groups",
    )?;
    ensure_eq(
        desk.send(text_on("u", "a")).await?.routed,
        Some(0),
        "routed to none",
    )
}

async fn matching_no_group_is_ok(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send(text_on("nobody.listens", "a")).await?;
    desk.stays_empty().await
}

async fn a_missing_route_that_is_required_is_not_found(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let sent = desk.producer.send_with(text_on("u", "a"), REQUIRE()).await;
    expect_kind(sent, ErrorKind::NotFound)?;
    desk.producer.send_with(text("b"), REQUIRE()).await?;
    desk.all_say(&["b"]).await
}

async fn after_a_missing_route_nothing_was_sent(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let message = text_on("u", "a");
    expect_kind(
        desk.producer.send_with(message.clone(), REQUIRE()).await,
        ErrorKind::NotFound,
    )?;
    let late = desk.of("late");
    late.declare(|spec| spec.pattern = Pattern::ALL).await?;
    let sent = desk.producer.send_with(message, REQUIRE()).await?;
    ensure_eq(
        sent.duplicate_of,
        None,
        "duplicate_of of a message that was refused before",
    )?;
    late.all_say(&["a"]).await
}

async fn requiring_a_route_is_refused(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let sent = desk.producer.send_with(text("a"), REQUIRE()).await;
    expect_kind(sent, ErrorKind::Unsupported)?;
    desk.stays_empty().await
}

async fn an_empty_batch_is_ok(cx: Context) -> Outcome {
    let answers = cx
        .producer()
        .await?
        .send(Vec::new(), SendOptions::default())
        .await?;
    ensure(answers.is_empty(), "an empty batch has no answers")
}

async fn a_batch_answers_item_by_item_in_order(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let batch: Vec<Message> = (0..10).map(|n| text(&n.to_string())).collect();
    let ids: Vec<_> = batch.iter().map(|message| message.id).collect();
    let answers = desk.producer.send(batch, SendOptions::default()).await?;
    ensure_eq(answers.len(), ids.len(), "the number of answers")?;
    for (answer, id) in answers.into_iter().zip(ids) {
        ensure_eq(answer?.id, id, "the id at its place")?;
    }
    desk.all_say(&["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"])
        .await
}

/// More bytes than the producer takes.
fn too_large(cx: &Context) -> Payload {
    let limit = cx.expected().producer.map_or(0, |c| c.max_payload);
    Payload::bytes(vec![b'x'; limit + 1])
}

async fn a_batch_is_no_transaction(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let bad = Message {
        payload: too_large(&cx),
        ..text("")
    };
    let mut answers = desk
        .producer
        .send(vec![text("a"), bad, text("c")], SendOptions::default())
        .await?;
    ensure_eq(answers.len(), 3, "the number of answers")?;
    answers.remove(0)?;
    expect_kind(answers.remove(0), ErrorKind::InvalidArgument)?;
    answers.remove(0)?;
    desk.all_say(&["a", "c"]).await
}

async fn a_failed_item_stops_the_later_items_of_its_key(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let bad = Message {
        payload: too_large(&cx),
        ..keyed("k", "")
    };
    let batch = vec![
        keyed("k", "k1"),
        bad,
        keyed("k", "k3"),
        keyed("l", "l1"),
        text("free"),
    ];
    let mut answers = desk.producer.send(batch, SendOptions::default()).await?;
    ensure_eq(answers.len(), 5, "the number of answers")?;
    answers.remove(0)?;
    expect_kind(answers.remove(0), ErrorKind::InvalidArgument)?;
    expect_kind(answers.remove(0), ErrorKind::Conflict)?;
    answers.remove(0)?;
    answers.remove(0)?;
    desk.all_say_across_keys(&["k1", "l1", "free"]).await
}

fn letter(agent: &str) -> Message {
    Message::new(Topic::mailbox(agent), Payload::text("hello"))
}

async fn sending_to_a_mailbox_makes_it(cx: Context) -> Outcome {
    let (producer, consumer) = (cx.producer().await?, cx.consumer().await?);
    let agent = "Ågent_7/of nine";
    producer.send_one(letter(agent)).await?;
    let mailbox = GroupName::mailbox(agent);
    let got = consumer.receive_one(&mailbox, cx.timing().patience).await?;
    let got = some(got, "letter in the mailbox of a recipient that was offline")?;
    ensure_eq(said(&got), "hello", "the letter")
}

async fn a_mailbox_made_by_sending_has_the_default_spec(cx: Context) -> Outcome {
    let (producer, consumer) = (cx.producer().await?, cx.consumer().await?);
    producer.send_one(letter("a")).await?;
    let spec = GroupSpec::new(Pattern::from(Topic::mailbox("a")));
    let declared = consumer.declare(&GroupName::mailbox("a"), &spec).await?;
    ensure(
        !declared.created,
        "the mailbox must be there with the default spec",
    )
}

async fn a_mailbox_that_is_there_keeps_its_spec(cx: Context) -> Outcome {
    let (producer, consumer) = (cx.producer().await?, cx.consumer().await?);
    let spec = GroupSpec {
        max_deliveries: 9,
        ..GroupSpec::new(Pattern::from(Topic::mailbox("a")))
    };
    let mailbox = GroupName::mailbox("a");
    consumer.declare(&mailbox, &spec).await?;
    producer.send_one(letter("a")).await?;
    ensure(
        !consumer.declare(&mailbox, &spec).await?.created,
        "the spec must stay as declared",
    )?;
    let got = consumer.receive_one(&mailbox, cx.timing().patience).await?;
    some(got, "letter").map(|_| ())
}
