mod crash;
mod world;

use std::time::Duration;

use statehouse_contracts::{
    ErrorKind, GroupSpec, Pattern, PutContent, ReferenceId, ReferenceStats, Topic,
};

use super::*;
use world::World;

fn topic(text: &str) -> Topic {
    Topic::new(text).unwrap()
}

fn group(name: &str) -> GroupName {
    GroupName::new(name).unwrap()
}

fn large(topic_name: &str, fill: u8) -> Message {
    Message::new(topic(topic_name), Payload::bytes(vec![fill; 20_000]))
}

fn spec(pattern: &str) -> GroupSpec {
    GroupSpec {
        max_deliveries: 2,
        backoff: statehouse_contracts::Backoff::NONE,
        ..GroupSpec::new(Pattern::new(pattern).unwrap())
    }
}

async fn declare(messenger: &Messenger, name: &str, pattern: &str) {
    let consumer = messenger.consumer();
    consumer
        .declare(&group(name), &spec(pattern))
        .await
        .unwrap();
}

async fn one(messenger: &Messenger, name: &str) -> Incoming {
    let wait = Duration::from_secs(5);
    let got = messenger.receive_one(&group(name), wait).await.unwrap();
    got.expect("a message")
}

/// What is stored after everything that nobody holds was collected.
async fn stored(world: &World) -> ReferenceStats {
    world.references.collect_garbage().await.unwrap();
    world.references.stats().await.unwrap()
}

#[tokio::test]
async fn a_large_payload_travels_by_reference_and_a_small_one_does_not() {
    let world = World::new().await;
    let messenger = world.messenger();
    declare(&messenger, "readers", "report.*").await;
    let small = Message::new(topic("report.a"), Payload::bytes(vec![1; 10_240]));
    messenger.send(small.clone()).await.unwrap();
    let got = one(&messenger, "readers").await;
    assert_eq!((got.message(), got.reference()), (&small, None));
    messenger.ack(&got).await.unwrap();
    assert_eq!(stored(&world).await.entries, 0);

    let sent = large("report.a", 7);
    messenger.send(sent.clone()).await.unwrap();
    let got = one(&messenger, "readers").await;
    assert_eq!(got.message(), &sent, "nobody sees the difference");
    assert_eq!(got.reference().unwrap().size, 20_000);
    messenger.ack(&got).await.unwrap();
    messenger.sweep().await.unwrap();
    assert_eq!(stored(&world).await.entries, 0);
}

#[tokio::test]
async fn b63_content_goes_with_the_last_groups_ack() {
    let world = World::new().await;
    let messenger = world.messenger();
    declare(&messenger, "one", "#").await;
    declare(&messenger, "two", "#").await;
    messenger.send(large("t", 1)).await.unwrap();
    let (first, second) = (one(&messenger, "one").await, one(&messenger, "two").await);
    let id = first.reference().unwrap().id;
    messenger.ack(&first).await.unwrap();
    world.references.collect_garbage().await.unwrap();
    assert_eq!(world.references.stat(&id).await.unwrap().holders, 1);
    messenger.ack(&second).await.unwrap();
    world.references.collect_garbage().await.unwrap();
    let gone = world.references.stat(&id).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn equal_content_of_two_messages_is_stored_once_and_needed_twice() {
    let world = World::new().await;
    let messenger = world.messenger();
    for _ in 0..2 {
        messenger.send(large("mailbox.a", 1)).await.unwrap();
    }
    let first = one(&messenger, "mailbox.a").await;
    messenger.ack(&first).await.unwrap();
    messenger.ack(&first).await.unwrap();
    world.references.collect_garbage().await.unwrap();
    let second = one(&messenger, "mailbox.a").await;
    assert_eq!(second.message().bytes(), [1; 20_000]);
}

#[tokio::test]
async fn a_dead_letter_keeps_its_content_until_it_is_purged() {
    let world = World::new().await;
    let messenger = world.messenger();
    declare(&messenger, "g", "#").await;
    messenger.send(large("t", 1)).await.unwrap();
    for _ in 0..2 {
        let got = one(&messenger, "g").await;
        messenger.nack(&got, "no").await.unwrap();
    }
    messenger.sweep().await.unwrap();
    world.references.collect_garbage().await.unwrap();
    let letters = messenger.dead_letters(&group("g")).await.unwrap();
    let payload = &letters[0].received.message.payload;
    assert_eq!(messenger.resolve(payload).await.unwrap(), [1; 20_000][..]);

    assert_eq!(messenger.redrive(&group("g"), None).await.unwrap(), 1);
    let again = one(&messenger, "g").await;
    assert_eq!(again.message().bytes(), [1; 20_000]);
    messenger.dead_letter(&again, "enough").await.unwrap();
    assert_eq!(messenger.purge_dead_letters(&group("g")).await.unwrap(), 1);
    messenger.sweep().await.unwrap();
    assert_eq!(stored(&world).await.entries, 0);
}

#[tokio::test]
async fn a_message_that_is_put_back_after_its_time_keeps_its_content_through_a_sweep() {
    let world = World::new().await;
    let messenger = world.messenger();
    declare(&messenger, "g", "t").await;
    let ttl = Duration::from_secs(2);
    let mut message = large("t", 1);
    message.ttl = Some(ttl);
    messenger.send(message).await.unwrap();
    let got = one(&messenger, "g").await;
    messenger.dead_letter(&got, "enough").await.unwrap();
    // sleep: its life is over, by what was noted when it was sent
    tokio::time::sleep(ttl + Duration::from_millis(50)).await;
    assert_eq!(messenger.redrive(&group("g"), None).await.unwrap(), 1);
    let wait = Duration::from_secs(1);
    let taken = world.consumer.receive_one(&group("g"), wait).await.unwrap();
    let taken = taken.expect("it lives anew");
    messenger.sweep().await.unwrap();
    world.references.collect_garbage().await.unwrap();
    let payload = &taken.message().payload;
    assert_eq!(messenger.resolve(payload).await.unwrap(), [1; 20_000][..]);
}

#[tokio::test]
async fn content_that_is_more_than_its_message_says_counts_in_full() {
    let world = World::new().await;
    let messenger = world.messenger();
    declare(&messenger, "g", "t").await;
    let content = PutContent::new(vec![1; 20_000]);
    let stored = world.references.put(content).await.unwrap();
    for _ in 0..4 {
        let mut reference = stored.reference.clone();
        reference.size = 1;
        let message = Message::new(topic("t"), Payload::Reference(reference));
        world.producer.send_one(message).await.unwrap();
    }
    let (group, receive) = (group("g"), Receive::new(4, Duration::ZERO));
    let got = messenger.receive_within(&group, receive, 30_000).await;
    let got = got.unwrap();
    let is_plain = |one: &Incoming| matches!(one.message().payload, Payload::Inline { .. });
    let plain: Vec<bool> = got.iter().map(is_plain).collect();
    assert_eq!(plain, [true, true, false, false]);
}

#[tokio::test]
async fn a_message_that_no_group_hears_leaves_nothing() {
    let world = World::new().await;
    let messenger = world.messenger();
    let sent = messenger.send(large("nobody.listens", 1)).await.unwrap();
    assert_eq!(sent.routed, Some(0));
    assert_eq!(stored(&world).await.entries, 0);
}

#[tokio::test]
async fn a_refused_message_leaves_nothing() {
    let world = World::new().await;
    let messenger = world.messenger();
    let full = GroupSpec {
        max_length: Some(1),
        ..GroupSpec::new(Pattern::new("t").unwrap())
    };
    messenger
        .consumer()
        .declare(&group("g"), &full)
        .await
        .unwrap();
    messenger.send(large("t", 1)).await.unwrap();
    let at_once = SendOptions {
        admission: Duration::ZERO,
        ..SendOptions::default()
    };
    let refused = messenger
        .send_with(large("t", 2), at_once)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Overloaded);
    world.references.collect_garbage().await.unwrap();
    let id = ReferenceId::of(&[2; 20_000]);
    let gone = world.references.stat(&id).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_repeated_send_is_one_message_and_its_failure_takes_nothing_away() {
    let world = World::new().await;
    let messenger = world.messenger();
    declare(&messenger, "g", "t").await;
    let message = Message {
        idempotency_key: Some("k".into()),
        ..large("t", 1)
    };
    messenger.send(message.clone()).await.unwrap();
    let again = Message {
        id: MessageId::random(),
        ..message.clone()
    };
    let repeated = messenger.send(again).await.unwrap();
    assert_eq!(repeated.duplicate_of, Some(message.id));
    let got = one(&messenger, "g").await;
    messenger.ack(&got).await.unwrap();
    messenger.sweep().await.unwrap();
    assert_eq!(stored(&world).await.entries, 0);
}

#[tokio::test]
async fn content_that_is_gone_makes_a_dead_letter_that_says_so() {
    let world = World::new().await;
    let messenger = world.messenger();
    messenger.send(large("mailbox.a", 1)).await.unwrap();
    let id = ReferenceId::of(&[1; 20_000]);
    world.references.delete(&id).await.unwrap();
    let mailbox = GroupName::mailbox("a");
    let nothing = messenger
        .receive_one(&mailbox, Duration::ZERO)
        .await
        .unwrap();
    assert!(nothing.is_none());
    let letters = messenger.dead_letters(&mailbox).await.unwrap();
    assert!(
        letters[0].reason.contains(&id.to_string()),
        "{}",
        letters[0].reason
    );
}

#[tokio::test]
async fn an_expired_message_lets_go_of_its_content() {
    let world = World::new().await;
    let messenger = world.messenger();
    declare(&messenger, "busy", "#").await;
    messenger
        .send(Message::new(topic("t"), Payload::text("keeps it busy")))
        .await
        .unwrap();
    let short = Message {
        ttl: Some(Duration::from_millis(1)),
        ..large("t", 1)
    };
    messenger.send(short).await.unwrap();
    let mut swept = messenger.sweep().await.unwrap();
    for _ in 0..500 {
        if swept.forgotten == 1 {
            break;
        }
        // sleep: the backend's clock decides when it has expired
        tokio::time::sleep(Duration::from_millis(2)).await;
        swept = messenger.sweep().await.unwrap();
    }
    assert_eq!((swept.forgotten, swept.released), (1, 1));
    assert_eq!(stored(&world).await.entries, 0);
}

#[tokio::test]
async fn a_group_that_is_gone_holds_nothing() {
    let world = World::new().await;
    let messenger = world.messenger();
    declare(&messenger, "g", "t").await;
    messenger.send(large("t", 1)).await.unwrap();
    assert_eq!(messenger.sweep().await.unwrap().kept, 1);
    messenger
        .consumer()
        .delete_group(&group("g"))
        .await
        .unwrap();
    let swept = messenger.sweep().await.unwrap();
    assert_eq!((swept.forgotten, swept.released), (1, 1));
    assert_eq!(stored(&world).await.entries, 0);
}

#[tokio::test]
async fn json_travels_as_json() {
    let world = World::new().await;
    let messenger = world.messenger();
    let figures: Vec<u32> = (0..5_000).collect();
    let payload = json_payload(&figures).unwrap();
    messenger
        .send(Message::new(topic("mailbox.a"), payload))
        .await
        .unwrap();
    let got = one(&messenger, "mailbox.a").await;
    assert!(got.reference().is_some());
    assert_eq!(got.json::<Vec<u32>>().unwrap(), figures);
    assert!(got.json::<String>().is_err());
}
