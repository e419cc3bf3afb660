//! What is read, and in which order.

use std::time::{Duration, Instant};

use statehouse_contracts::{
    ContentType, Message, Payload, Priority, Reference, ReferenceId, Topic, Transaction,
};

use super::relay::{Relay, message, only, said, sent};
use crate::case::case;
use crate::cases::shelf::{Shelf, put, transaction};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind, expect_limit, some};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(entries_come_in_the_order_of_their_commits),
        case!(entries_of_one_commit_come_in_its_order),
        case!(an_entry_carries_its_message_as_it_was),
        case!(an_entry_carries_a_reference_as_it_was),
        case!(an_entry_tells_when_it_was_committed),
        case!(positions_grow),
        case!(a_read_goes_on_after_a_position),
        case!(a_read_has_at_most_the_limit),
        case!(a_limit_beyond_max_page_is_refused),
        case!(what_is_not_settled_is_read_again),
        case!(a_refused_transaction_leaves_no_message),
        case!(messages_alone_are_no_change),
        case!(an_outbox_is_of_its_namespace_only),
        case!(racing_transactions_keep_their_messages_together),
        case!(a_message_of_max_message_is_kept),
        case!(what_is_there_comes_at_once),
        case!(a_commit_wakes_who_waits),
        case!(closing_ends_the_wait),
        case!(the_outbox_survives_a_restart)
            .reopens()
            .state(|c| c.durability.process_kill),
    ]
}

async fn entries_come_in_the_order_of_their_commits(cx: Context) -> Outcome {
    let relay = Relay::with(&cx, ["a", "b", "c"].map(message)).await?;
    relay.depth_is(3).await?;
    relay.reads(&["a", "b", "c"]).await.map(|_| ())
}

async fn entries_of_one_commit_come_in_its_order(cx: Context) -> Outcome {
    let relay = Relay::with(&cx, [message("a")]).await?;
    let batch = ["b", "c", "d", "e"].map(message);
    let writes = transaction([put("k", "1")]);
    let transaction = Transaction {
        writes: writes.writes,
        ..only(batch)
    };
    relay.shelf.state.apply(transaction).await?;
    relay.shelf.state.apply(only([message("f")])).await?;
    relay
        .reads(&["a", "b", "c", "d", "e", "f"])
        .await
        .map(|_| ())
}

/// A message with every field set.
fn full() -> Result<Message, Failure> {
    Ok(Message {
        kind: Some("report".parse()?),
        schema: Some("s/1".into()),
        sender: Some("ünï".into()),
        recipient: Some("🦀".into()),
        payload: Payload::Inline {
            bytes: (0..=255).collect(),
            content_type: ContentType::JSON,
        },
        headers: [("a".into(), "1".into()), ("b.c".into(), "é".into())].into(),
        correlation_id: Some("c".into()),
        reply_to: Some(Topic::new("mailbox.x")?),
        priority: Priority::CRITICAL,
        ttl: Some(Duration::from_millis(90_500)),
        ordering_key: Some("key".into()),
        idempotency_key: Some("once".into()),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        ..message("")
    })
}

async fn an_entry_carries_its_message_as_it_was(cx: Context) -> Outcome {
    let delayed = Message {
        delay: Duration::from_millis(1500),
        ..message("later")
    };
    let messages = [full()?, delayed, message("")];
    let relay = Relay::with(&cx, messages.clone()).await?;
    let entries = relay.read(0).await?;
    let got: Vec<Message> = entries.into_iter().map(|entry| entry.message).collect();
    ensure_eq(got, messages, "the messages")
}

async fn an_entry_carries_a_reference_as_it_was(cx: Context) -> Outcome {
    let reference = Reference {
        id: ReferenceId::of(b"content"),
        size: 7,
        content_type: ContentType::TEXT,
    };
    let message = Message {
        payload: Payload::Reference(reference),
        ..message("")
    };
    let relay = Relay::with(&cx, [message.clone()]).await?;
    let entry = some(relay.read(0).await?.pop(), "entry")?;
    ensure_eq(entry.message, message, "the message")
}

async fn an_entry_tells_when_it_was_committed(cx: Context) -> Outcome {
    let relay = Relay::new(&cx).await?;
    let applied = relay.shelf.state.apply(only([message("a")])).await?;
    let entry = some(relay.read(0).await?.pop(), "entry")?;
    ensure_eq(
        (entry.at, entry.parked),
        (applied.at, None),
        "time and parking",
    )
}

async fn positions_grow(cx: Context) -> Outcome {
    let relay = Relay::with(&cx, ["a", "b"].map(message)).await?;
    let first = relay.read(0).await?;
    relay.settle(first.iter().map(sent)).await?;
    relay
        .shelf
        .state
        .apply(only(["c", "d"].map(message)))
        .await?;
    let positions: Vec<u64> = first
        .iter()
        .chain(&relay.read(0).await?)
        .map(|entry| entry.position)
        .collect();
    ensure_eq(positions.len(), 4, "the number of entries")?;
    ensure(
        positions[0] > 0 && positions.is_sorted_by(|a, b| a < b),
        "positions grow from above 0",
    )
}

async fn a_read_goes_on_after_a_position(cx: Context) -> Outcome {
    let relay = Relay::with(&cx, ["a", "b", "c"].map(message)).await?;
    let entries = relay.read(0).await?;
    for (place, entry) in entries.iter().enumerate() {
        ensure_eq(
            &relay.read(entry.position).await?[..],
            &entries[place + 1..],
            "the rest",
        )?;
    }
    Ok(())
}

async fn a_read_has_at_most_the_limit(cx: Context) -> Outcome {
    let relay = Relay::with(&cx, ["a", "b", "c"].map(message)).await?;
    let state = &relay.shelf.state;
    let entries = state
        .outbox_read(&relay.token, 0, 2, Duration::ZERO)
        .await?;
    let texts: Vec<String> = entries.iter().map(said).collect();
    ensure_eq(texts, ["a", "b"], "the first two")
}

async fn a_limit_beyond_max_page_is_refused(cx: Context) -> Outcome {
    let relay = Relay::new(&cx).await?;
    let limit = relay.shelf.state.capability().max_page + 1;
    let read = relay
        .shelf
        .state
        .outbox_read(&relay.token, 0, limit, Duration::ZERO)
        .await;
    expect_limit(read, "max_page")
}

async fn what_is_not_settled_is_read_again(cx: Context) -> Outcome {
    let relay = Relay::with(&cx, ["a", "b"].map(message)).await?;
    let first = relay.reads(&["a", "b"]).await?;
    ensure_eq(relay.reads(&["a", "b"]).await?, first, "what is read again")
}

async fn a_refused_transaction_leaves_no_message(cx: Context) -> Outcome {
    let relay = Relay::with(&cx, [message("a")]).await?;
    let failing = put("k", "1").when(statehouse_contracts::Precondition::Version(9));
    let refused = Transaction {
        messages: vec![message("never")],
        ..transaction([failing])
    };
    let applied = relay.shelf.state.apply(refused).await;
    expect_kind(applied, statehouse_contracts::ErrorKind::Conflict)?;
    relay.depth_is(1).await?;
    relay.reads(&["a"]).await.map(|_| ())
}

async fn messages_alone_are_no_change(cx: Context) -> Outcome {
    let relay = Relay::new(&cx).await?;
    let head = relay.shelf.state.head().await?;
    relay.shelf.state.apply(only([message("a")])).await?;
    let entries = relay.reads(&["a"]).await?;
    relay.settle(entries.iter().map(sent)).await?;
    relay.shelf.changes_are(&head, &[]).await
}

async fn an_outbox_is_of_its_namespace_only(cx: Context) -> Outcome {
    let here = Relay::with(&cx, [message("here")]).await?;
    let there = Shelf::on(&cx, &*cx.backend().await?, &cx.other_scope()?).await?;
    let there = Relay::on(there).await?;
    there.reads(&[]).await?;
    there.depth_is(0).await?;
    there.shelf.state.apply(only([message("there")])).await?;
    here.reads(&["here"]).await?;
    there.reads(&["there"]).await.map(|_| ())
}

async fn racing_transactions_keep_their_messages_together(cx: Context) -> Outcome {
    let relay = Relay::new(&cx).await?;
    let racers: Vec<_> = (0..12)
        .map(|n| {
            let state = relay.shelf.state.clone();
            let messages = ["a", "b", "c"].map(|part| message(&format!("{n}{part}")));
            tokio::spawn(async move { state.apply(only(messages)).await })
        })
        .collect();
    for racer in racers {
        racer
            .await
            .map_err(|error| Failure::new(error.to_string()))??;
    }
    let texts: Vec<String> = relay.read(0).await?.iter().map(said).collect();
    ensure_eq(texts.len(), 36, "the number of entries")?;
    for three in texts.chunks(3) {
        let n = three[0].trim_end_matches('a');
        let expected = ["a", "b", "c"].map(|part| format!("{n}{part}"));
        ensure_eq(three, &expected[..], "the messages of one transaction")?;
    }
    Ok(())
}

async fn a_message_of_max_message_is_kept(cx: Context) -> Outcome {
    let largest = Shelf::new(&cx).await?.state.capability().max_message;
    let large = Message {
        payload: Payload::bytes(vec![7; largest]),
        ..message("")
    };
    let relay = Relay::with(&cx, [large]).await?;
    let entry = some(relay.read(0).await?.pop(), "entry")?;
    ensure(
        entry.message.bytes() == vec![7; largest],
        "the payload comes back whole",
    )
}

async fn what_is_there_comes_at_once(cx: Context) -> Outcome {
    let relay = Relay::with(&cx, [message("a")]).await?;
    let start = Instant::now();
    let state = &relay.shelf.state;
    let entries = state
        .outbox_read(&relay.token, 0, 0, relay.shelf.patience)
        .await?;
    ensure_eq(entries.len(), 1, "the number of entries")?;
    ensure(
        start.elapsed() < relay.shelf.patience / 2,
        "it does not wait",
    )
}

async fn a_commit_wakes_who_waits(cx: Context) -> Outcome {
    let relay = Relay::new(&cx).await?;
    let waiter = relay.clone();
    let waiting = tokio::spawn(async move {
        let patience = waiter.shelf.patience;
        waiter
            .shelf
            .state
            .outbox_read(&waiter.token, 0, 0, patience)
            .await
    });
    // sleep: a call that waits cannot be told from one that has not begun
    tokio::time::sleep(relay.shelf.quiet).await;
    ensure(!waiting.is_finished(), "without an entry the call waits")?;
    let start = Instant::now();
    relay.shelf.state.apply(only([message("a")])).await?;
    let entries = waiting
        .await
        .map_err(|error| Failure::new(error.to_string()))??;
    ensure_eq(entries.len(), 1, "the number of entries")?;
    ensure(
        start.elapsed() < relay.shelf.patience / 2,
        "the wait ends soon after the commit",
    )
}

async fn closing_ends_the_wait(cx: Context) -> Outcome {
    let relay = Relay::new(&cx).await?;
    let waiter = relay.clone();
    let waiting = tokio::spawn(async move {
        let patience = waiter.shelf.patience;
        waiter
            .shelf
            .state
            .outbox_read(&waiter.token, 0, 0, patience)
            .await
    });
    // sleep: the call should be waiting, which nothing tells
    tokio::time::sleep(relay.shelf.quiet).await;
    relay.shelf.state.close().await?;
    let read = waiting
        .await
        .map_err(|error| Failure::new(error.to_string()))?;
    expect_kind(read, statehouse_contracts::ErrorKind::Closed).map(|_| ())
}

async fn the_outbox_survives_a_restart(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    let relay = Relay::on(Shelf::on(&cx, &**instance.backend(), cx.scope()).await?).await?;
    let messages = [full()?, message("sent"), message("parked"), message("b")];
    relay.shelf.state.apply(only(messages)).await?;
    let entries = relay.read(0).await?;
    relay
        .settle([sent(&entries[1]), super::relay::parked(&entries[2], "no")])
        .await?;
    let (left, parked) = (relay.read(0).await?, relay.parked(0).await?);
    let instance = instance.reopen().await?;
    let relay = Relay::on(Shelf::on(&cx, &**instance.backend(), cx.scope()).await?).await?;
    ensure_eq(
        relay.read(0).await?,
        left,
        "what is to be sent after a restart",
    )?;
    ensure_eq(
        relay.parked(0).await?,
        parked,
        "what is parked after a restart",
    )
}
