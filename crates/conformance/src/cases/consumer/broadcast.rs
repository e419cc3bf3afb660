//! Listening without a group.

use std::time::{Duration, Instant};

use statehouse_contracts::{Broadcast, BroadcastEvent, ErrorKind, Message, Pattern, SendOptions};

use crate::case::case;
use crate::cases::desk::{Desk, delayed, pattern, text, text_on};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind, fail, some};

pub(crate) fn cases() -> Vec<Case> {
    let listening = |case: Case| case.consumer(|c| c.broadcast);
    vec![
        listening(case!(it_hears_every_message_that_matches)),
        listening(case!(it_hears_nothing_that_was_sent_before)),
        listening(case!(every_listener_hears_every_message)),
        listening(case!(it_needs_no_group_and_takes_nothing_from_one)),
        listening(case!(it_hears_messages_unchanged)),
        listening(case!(none_in_time_is_none)),
        listening(case!(it_hears_a_delayed_message_once)).producer(|c| c.max_delay.is_some()),
        listening(case!(what_a_slow_listener_misses_shows_as_a_gap)),
        listening(case!(it_ends_when_its_consumer_is_closed)),
        listening(case!(it_hears_its_own_namespace_only)),
        case!(listening_is_refused).consumer(|c| !c.broadcast),
    ]
}

type Listener = Box<dyn Broadcast>;

/// The next message, which must come, with no gap before it.
async fn hears(listener: &mut Listener, wait: Duration) -> Result<Message, Failure> {
    match some(listener.next(wait).await?, "event in time")? {
        BroadcastEvent::Message(received) => Ok(received.message),
        gap => fail(format!("nothing was lost, and yet there is a {gap:?}")),
    }
}

fn content(message: &Message) -> String {
    String::from_utf8_lossy(message.bytes()).into_owned()
}

async fn hears_all(listener: &mut Listener, desk: &Desk, expected: &[&str]) -> Outcome {
    for text in expected {
        let heard = hears(listener, desk.timing.patience).await?;
        ensure_eq(content(&heard).as_str(), *text, "what is heard")?;
    }
    ensure_eq(
        listener.next(desk.timing.quiet).await?,
        None,
        "what is heard then",
    )
}

async fn desk(cx: &Context) -> Result<Desk, Failure> {
    Desk::on(cx, &*cx.backend().await?, cx.scope()).await
}

async fn it_hears_every_message_that_matches(cx: Context) -> Outcome {
    let desk = desk(&cx).await?;
    let mut words = desk.consumer.broadcast(&pattern("a.*")).await?;
    let mut hash = desk.consumer.broadcast(&pattern("a.#")).await?;
    let topics = ["a", "a.b", "b.a", "a.b.c", "a.c"];
    desk.send_all(topics.map(|topic| text_on(topic, topic)))
        .await?;
    hears_all(&mut words, &desk, &["a.b", "a.c"]).await?;
    hears_all(&mut hash, &desk, &["a", "a.b", "a.b.c", "a.c"]).await
}

async fn it_hears_nothing_that_was_sent_before(cx: Context) -> Outcome {
    let desk = desk(&cx).await?;
    desk.send(text("before")).await?;
    let mut listener = desk.consumer.broadcast(&Pattern::ALL).await?;
    desk.send(text("after")).await?;
    hears_all(&mut listener, &desk, &["after"]).await
}

async fn every_listener_hears_every_message(cx: Context) -> Outcome {
    let desk = desk(&cx).await?;
    let mut first = desk.consumer.broadcast(&Pattern::ALL).await?;
    let other = Desk::on(&cx, &*cx.backend().await?, cx.scope()).await?;
    let mut second = other.consumer.broadcast(&Pattern::ALL).await?;
    desk.send_all(["a", "b"].map(text)).await?;
    hears_all(&mut first, &desk, &["a", "b"]).await?;
    hears_all(&mut second, &desk, &["a", "b"]).await
}

async fn it_needs_no_group_and_takes_nothing_from_one(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let mut listener = desk.consumer.broadcast(&Pattern::ALL).await?;
    desk.send_all([text("a"), text_on("nobody", "b")]).await?;
    hears_all(&mut listener, &desk, &["a", "b"]).await?;
    desk.all_say(&["a"]).await
}

async fn it_hears_messages_unchanged(cx: Context) -> Outcome {
    let desk = desk(&cx).await?;
    let mut listener = desk.consumer.broadcast(&Pattern::ALL).await?;
    let message = Message {
        sender: Some("somebody".into()),
        headers: [("a".to_owned(), "b".to_owned())].into(),
        correlation_id: Some("c".into()),
        ..text("ünchanged")
    };
    desk.send(message.clone()).await?;
    ensure_eq(
        hears(&mut listener, desk.timing.patience).await?,
        message,
        "what is heard",
    )
}

async fn none_in_time_is_none(cx: Context) -> Outcome {
    let desk = desk(&cx).await?;
    let mut listener = desk.consumer.broadcast(&Pattern::ALL).await?;
    let start = Instant::now();
    ensure_eq(
        listener.next(Duration::ZERO).await?,
        None,
        "what is heard at once",
    )?;
    ensure_eq(
        listener.next(desk.timing.quiet).await?,
        None,
        "what is heard in a while",
    )?;
    ensure(
        start.elapsed() >= desk.timing.quiet,
        "it must wait as long as it was asked to",
    )
}

async fn it_hears_a_delayed_message_once(cx: Context) -> Outcome {
    let desk = desk(&cx).await?;
    let mut listener = desk.consumer.broadcast(&Pattern::ALL).await?;
    desk.send(delayed(desk.timing.delay, "a")).await?;
    let heard = hears(&mut listener, desk.timing.delay + desk.timing.late).await?;
    ensure_eq(content(&heard).as_str(), "a", "what is heard")?;
    let again = listener.next(desk.timing.delay + desk.timing.quiet).await?;
    ensure_eq(again, None, "what is heard then")
}

const MANY: usize = 6_000;

/// Sends many messages that nobody reads meanwhile.
async fn flood(desk: &Desk) -> Outcome {
    let most = desk.producer.capability().max_batch.min(500);
    let texts: Vec<String> = (0..MANY).map(|n| format!("{n:06}")).collect();
    for part in texts.chunks(most) {
        let batch = part.iter().map(|content| text(content)).collect();
        let sent = desk.producer.send(batch, SendOptions::default()).await?;
        sent.into_iter().collect::<Result<Vec<_>, _>>()?;
    }
    Ok(())
}

async fn what_a_slow_listener_misses_shows_as_a_gap(cx: Context) -> Outcome {
    let desk = desk(&cx).await?;
    let mut listener = desk.consumer.broadcast(&Pattern::ALL).await?;
    flood(&desk).await?;
    let (mut heard, mut missed, mut unknown) = (Vec::new(), 0, false);
    while heard
        .last()
        .is_none_or(|last| *last != format!("{:06}", MANY - 1))
    {
        match listener.next(desk.timing.patience).await? {
            Some(BroadcastEvent::Message(received)) => heard.push(content(&received.message)),
            Some(BroadcastEvent::Gap {
                missed: Some(number),
            }) => missed += number as usize,
            Some(BroadcastEvent::Gap { missed: None }) => unknown = true,
            // The last ones themselves were missed.
            None => break,
        }
    }
    ensure(heard.is_sorted(), "what is heard comes in the order sent")?;
    let total = heard.len();
    heard.dedup();
    ensure_eq(heard.len(), total, "how many different messages were heard")?;
    ensure(
        total + missed <= MANY,
        "no more can be missed than was sent",
    )?;
    ensure(
        unknown || total + missed == MANY,
        "what was not heard must show as a gap",
    )
}

async fn it_ends_when_its_consumer_is_closed(cx: Context) -> Outcome {
    let desk = desk(&cx).await?;
    let mut listener = desk.consumer.broadcast(&Pattern::ALL).await?;
    let wait = desk.timing.patience * 3;
    let waiting = tokio::spawn(async move { listener.next(wait).await });
    desk.stays_waiting(&waiting).await?;
    desk.consumer.close().await?;
    let ended = tokio::time::timeout(desk.timing.patience, waiting).await;
    let ended = ended.map_err(|_| Failure::new("it still waits after its consumer was closed"))?;
    let ended = ended.map_err(|error| Failure::new(error.to_string()))?;
    expect_kind(ended, ErrorKind::Closed).map(|_| ())
}

async fn it_hears_its_own_namespace_only(cx: Context) -> Outcome {
    let desk = desk(&cx).await?;
    let elsewhere = Desk::on(&cx, &*cx.backend().await?, &cx.other_scope()?).await?;
    let mut listener = desk.consumer.broadcast(&Pattern::ALL).await?;
    elsewhere.send(text("elsewhere")).await?;
    desk.send(text("here")).await?;
    hears_all(&mut listener, &desk, &["here"]).await
}

async fn listening_is_refused(cx: Context) -> Outcome {
    let listener = cx.consumer().await?.broadcast(&Pattern::ALL).await;
    expect_kind(listener, ErrorKind::Unsupported).map(|_| ())
}
