//! Messages that go into the groups of the same store, inside the transaction.

use statehouse_contracts::{
    ErrorKind, Message, MessageDelivery, OpId, Overflow, Precondition, Topic, Transaction, Write,
};

use crate::case::case;
use crate::cases::desk::{Desk, keyed, text, text_on};
use crate::cases::shelf::{Shelf, put, transaction};
use crate::{Case, Context, Outcome, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    let window = |case: Case| case.producer(|c| c.dedup_window.is_some());
    let cases = [
        case!(a_local_message_reaches_its_groups),
        case!(a_local_message_is_not_in_the_outbox),
        case!(local_messages_keep_their_order).consumer(|c| c.ordering_keys),
        case!(a_refused_transaction_delivers_nothing),
        case!(a_full_group_refuses_the_whole).consumer(|c| c.overflow_reject),
        case!(a_local_message_to_a_mailbox_declares_it),
        case!(a_local_message_that_matches_no_group_is_ok),
        case!(a_repeated_transaction_delivers_once),
        window(case!(a_repeated_local_message_is_delivered_once)),
        window(case!(a_repeated_key_with_other_content_refuses_the_whole)),
    ];
    let roles = |case: Case| case.producer(|_| true).consumer(|_| true);
    cases
        .map(|case| roles(case.state(|c| c.deliver_local)))
        .to_vec()
}

fn local(
    writes: impl IntoIterator<Item = Write>,
    messages: impl IntoIterator<Item = Message>,
) -> Transaction {
    Transaction {
        messages: messages.into_iter().collect(),
        delivery: MessageDelivery::Local,
        ..transaction(writes)
    }
}

async fn a_local_message_reaches_its_groups(cx: Context) -> Outcome {
    let (desk, shelf) = (Desk::new(&cx).await?, Shelf::new(&cx).await?);
    let second = desk.of("second");
    second.declare(|_| {}).await?;
    let message = Message {
        headers: [("a".into(), "1".into())].into(),
        ..text("m")
    };
    shelf
        .state
        .apply(local([put("k", "1")], [message.clone()]))
        .await?;
    for desk in [desk, second] {
        let delivery = desk.next().await?;
        ensure_eq(delivery.message(), &message, "the message")?;
        ensure_eq(delivery.attempt, 1, "the attempt")?;
        desk.ack(&delivery).await?;
        desk.stays_empty().await?;
    }
    shelf.reads("k", Some("1 1")).await
}

async fn a_local_message_is_not_in_the_outbox(cx: Context) -> Outcome {
    let (desk, shelf) = (Desk::new(&cx).await?, Shelf::new(&cx).await?);
    shelf.state.apply(local([], [text("m")])).await?;
    ensure_eq(
        shelf.state.outbox_depth().await?,
        0,
        "the depth of the outbox",
    )?;
    desk.all_say(&["m"]).await
}

async fn local_messages_keep_their_order(cx: Context) -> Outcome {
    let (desk, shelf) = (Desk::new(&cx).await?, Shelf::new(&cx).await?);
    shelf
        .state
        .apply(local([], ["a", "b"].map(|text| keyed("k", text))))
        .await?;
    shelf
        .state
        .apply(local([], ["c", "d"].map(|text| keyed("k", text))))
        .await?;
    desk.all_say(&["a", "b", "c", "d"]).await
}

async fn a_refused_transaction_delivers_nothing(cx: Context) -> Outcome {
    let (desk, shelf) = (Desk::new(&cx).await?, Shelf::new(&cx).await?);
    let failing = put("k", "1").when(Precondition::Version(9));
    let applied = shelf.state.apply(local([failing], [text("never")])).await;
    expect_kind(applied, ErrorKind::Conflict)?;
    desk.stays_empty().await
}

async fn a_full_group_refuses_the_whole(cx: Context) -> Outcome {
    let desk = Desk::with(&cx, |spec| {
        spec.max_length = Some(2);
        spec.overflow = Overflow::Reject;
    })
    .await?;
    let roomy = desk.of("roomy");
    roomy.declare(|_| {}).await?;
    let shelf = Shelf::new(&cx).await?;
    desk.send(text("a")).await?;
    let applied = shelf
        .state
        .apply(local([put("k", "1")], ["b", "c"].map(text)))
        .await;
    expect_kind(applied, ErrorKind::Overloaded)?;
    shelf.story_is("k", &[]).await?;
    desk.all_say(&["a"]).await?;
    desk.stays_empty().await?;
    roomy.all_say(&["a"]).await?;
    roomy.stays_empty().await?;
    shelf
        .state
        .apply(local([put("k", "1")], ["b", "c"].map(text)))
        .await?;
    desk.all_say(&["b", "c"]).await
}

async fn a_local_message_to_a_mailbox_declares_it(cx: Context) -> Outcome {
    let (desk, shelf) = (Desk::new(&cx).await?, Shelf::new(&cx).await?);
    let topic = Topic::mailbox("agent 🦀");
    shelf
        .state
        .apply(local([], [text_on(topic.as_str(), "m")]))
        .await?;
    desk.of(topic.as_str()).all_say(&["m"]).await
}

async fn a_local_message_that_matches_no_group_is_ok(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .state
        .apply(local([put("k", "1")], [text_on("nobody", "m")]))
        .await?;
    shelf.reads("k", Some("1 1")).await
}

async fn a_repeated_transaction_delivers_once(cx: Context) -> Outcome {
    let (desk, shelf) = (Desk::new(&cx).await?, Shelf::new(&cx).await?);
    let transaction = Transaction {
        op_id: Some(OpId::random()),
        ..local([put("k", "1")], [text("m")])
    };
    for replayed in [false, true] {
        let applied = shelf.state.apply(transaction.clone()).await?;
        ensure_eq(applied.replayed, replayed, "replayed")?;
    }
    desk.all_say(&["m"]).await?;
    desk.stays_empty().await
}

async fn a_repeated_local_message_is_delivered_once(cx: Context) -> Outcome {
    let (desk, shelf) = (Desk::new(&cx).await?, Shelf::new(&cx).await?);
    let message = text("m");
    desk.send(message.clone()).await?;
    shelf.state.apply(local([put("k", "1")], [message])).await?;
    shelf.reads("k", Some("1 1")).await?;
    desk.all_say(&["m"]).await?;
    desk.stays_empty().await
}

async fn a_repeated_key_with_other_content_refuses_the_whole(cx: Context) -> Outcome {
    let (desk, shelf) = (Desk::new(&cx).await?, Shelf::new(&cx).await?);
    let message = |content| Message {
        idempotency_key: Some("once".into()),
        ..text(content)
    };
    desk.send(message("m")).await?;
    let applied = shelf
        .state
        .apply(local([put("k", "1")], [message("other")]))
        .await;
    expect_kind(applied, ErrorKind::Conflict)?;
    shelf.story_is("k", &[]).await?;
    desk.all_say(&["m"]).await?;
    desk.stays_empty().await
}
