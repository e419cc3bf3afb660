//! A handler's effect happens once, whatever is redelivered and whatever crashes.

use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{
    Backoff, Consumer, ConsumerExt, Delivery, ErrorKind, GroupName, GroupSpec, Message, MessageId,
    Namespace, Pattern, Payload, Producer, ProducerExt, Receive, StateManager, StateManagerExt,
    Topic, Transaction, Write,
};
use statehouse_state::{Deduplicated, Inbox, Once, Relay, RelayOptions};
use tokio_util::sync::CancellationToken;

use crate::forgetful::Forgetful;
use crate::support::{Moody, Store, eventually, key, scope};

/// A queue that forgets, the store of the effects, and a group.
pub(crate) struct Bench {
    pub(crate) store: Store,
    pub(crate) queue: Arc<Forgetful>,
    pub(crate) producer: Arc<dyn Producer>,
    pub(crate) state: Arc<dyn StateManager>,
    pub(crate) group: GroupName,
}

impl Bench {
    pub(crate) async fn on(store: Store) -> Self {
        let backend = store.backend.clone();
        let consumer = backend.consumer(&scope()).await.unwrap();
        let group = GroupName::new("g").unwrap();
        let spec = GroupSpec {
            backoff: Backoff::NONE,
            max_deliveries: 1000,
            ..GroupSpec::new(Pattern::new("t").unwrap())
        };
        consumer.declare(&group, &spec).await.unwrap();
        Self {
            queue: Forgetful::new(consumer),
            producer: backend.producer(&scope()).await.unwrap(),
            state: backend.state(&scope()).await.unwrap(),
            group,
            store,
        }
    }

    pub(crate) fn inbox(&self) -> Inbox {
        Inbox::new(self.state.clone(), Inbox::REMEMBER).unwrap()
    }

    pub(crate) async fn send(&self, text: &str) -> MessageId {
        let message = message(text);
        self.producer.send_one(message).await.unwrap().id
    }

    /// All that comes at the moment.
    pub(crate) async fn receive(&self, consumer: &dyn Consumer) -> Vec<Delivery> {
        let receive = Receive::new(100, Duration::ZERO);
        consumer.receive(&self.group, receive).await.unwrap()
    }

    /// What the effects of a message have written.
    pub(crate) async fn effects(&self, text: &str) -> String {
        let record = self.state.get(&key(text)).await.unwrap();
        record.map_or(String::new(), |record| {
            String::from_utf8(record.data.to_vec()).unwrap()
        })
    }
}

fn message(text: &str) -> Message {
    Message::new(Topic::new("t").unwrap(), Payload::text(text))
}

/// The effect of a message: it appends to the record of its name, so that twice shows.
pub(crate) fn effect(message: &Message) -> Transaction {
    let text = String::from_utf8(message.bytes().to_vec()).unwrap();
    Transaction::of(Write::append(key(&text), "x"))
}

/// Runs a test in memory and on SQLite.
macro_rules! everywhere {
    ($($name:ident)+) => {$(
        mod $name {
            use super::*;

            #[tokio::test]
            async fn memory() {
                super::$name(Bench::on(Store::memory().await).await).await;
            }

            #[tokio::test]
            async fn sqlite() {
                super::$name(Bench::on(Store::open().await).await).await;
            }
        }
    )+};
}

pub(crate) use everywhere;

everywhere! {
    what_comes_again_after_its_ack_is_known
    of_two_who_have_it_in_hand_one_applies
    the_key_tells_messages_apart_and_else_the_id
    marks_expire_and_are_forgotten
    a_plain_consumer_skips_what_it_acknowledged
    a_plain_consumer_hands_a_message_out_once_at_a_time
    marks_have_no_events
}

async fn what_comes_again_after_its_ack_is_known(bench: Bench) {
    let inbox = bench.inbox();
    bench.send("a").await;
    let delivery = bench.receive(&*bench.queue).await.pop().unwrap();
    assert_eq!(
        inbox.known(std::slice::from_ref(&delivery)).await.unwrap(),
        [false]
    );
    let applied = inbox
        .apply_once(&delivery, effect(delivery.message()))
        .await
        .unwrap();
    assert!(matches!(applied, Once::Applied(applied) if applied.versions == [1]));
    // A crash before the ack, then one after it.
    for _ in 0..2 {
        bench.queue.crash();
        let again = bench.receive(&*bench.queue).await.pop().unwrap();
        assert_eq!(again.message().id, delivery.message().id);
        assert_eq!(
            inbox.known(std::slice::from_ref(&again)).await.unwrap(),
            [true]
        );
        let once = inbox.apply_once(&again, effect(again.message())).await;
        assert_eq!(once.unwrap(), Once::Known);
        bench.queue.ack(&again).await.unwrap();
    }
    assert_eq!(bench.effects("a").await, "x");
    let other = GroupName::new("other").unwrap();
    let elsewhere = Delivery {
        group: other,
        ..delivery
    };
    let once = inbox
        .apply_once(&elsewhere, effect(elsewhere.message()))
        .await;
    assert!(
        matches!(once.unwrap(), Once::Applied(_)),
        "each group has marks of its own"
    );
}

async fn of_two_who_have_it_in_hand_one_applies(bench: Bench) {
    let inbox = bench.inbox();
    bench.send("a").await;
    let stale = bench.receive(&*bench.queue).await.pop().unwrap();
    bench.queue.crash();
    let fresh = bench.receive(&*bench.queue).await.pop().unwrap();
    let (one, two) = tokio::join!(
        inbox.apply_once(&stale, effect(stale.message())),
        inbox.apply_once(&fresh, effect(fresh.message())),
    );
    let known = [one.unwrap(), two.unwrap()]
        .iter()
        .filter(|once| **once == Once::Known)
        .count();
    assert_eq!(known, 1);
    assert_eq!(bench.effects("a").await, "x");
    let late = bench.queue.ack(&stale).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::LeaseLost);
}

async fn the_key_tells_messages_apart_and_else_the_id(bench: Bench) {
    let inbox = bench.inbox();
    let long = "k".repeat(1000);
    let keyed = |idempotency: Option<&str>| Message {
        idempotency_key: idempotency.map(str::to_owned),
        ..message("a")
    };
    let mark = |message: &Message| inbox.key(&bench.group, message).unwrap();
    for name in ["k", "a/b", "=", "🦀", long.as_str()] {
        assert_eq!(mark(&keyed(Some(name))), mark(&keyed(Some(name))), "{name}");
        assert_ne!(
            mark(&keyed(Some(name))),
            mark(&keyed(Some("other"))),
            "{name}"
        );
    }
    assert_ne!(
        mark(&keyed(None)),
        mark(&keyed(None)),
        "each has an id of its own"
    );
    assert_ne!(mark(&keyed(Some(&long))), mark(&keyed(Some(&long[1..]))));
    let message = keyed(None);
    let by_id = keyed(Some(&message.id.to_string()));
    assert_eq!(
        mark(&message),
        mark(&by_id),
        "the id is the key of one without"
    );
}

async fn marks_expire_and_are_forgotten(bench: Bench) {
    let inbox = Inbox::new(bench.state.clone(), Duration::from_millis(300)).unwrap();
    bench.send("a").await;
    let delivery = bench.receive(&*bench.queue).await.pop().unwrap();
    inbox
        .apply_once(&delivery, effect(delivery.message()))
        .await
        .unwrap();
    assert_eq!(inbox.clean().await.unwrap().keys, 0, "it has not expired");
    eventually("the mark to expire", || async {
        let known = inbox.known(std::slice::from_ref(&delivery)).await.unwrap();
        (!known[0]).then_some(())
    })
    .await;
    let forgotten = eventually("the mark to be forgotten", || async {
        let cleaned = inbox.clean().await.unwrap();
        (cleaned.keys > 0).then_some(cleaned.keys)
    })
    .await;
    assert_eq!(forgotten, 1);
    assert_eq!(bench.effects("a").await, "x", "what was written stays");
}

async fn a_plain_consumer_skips_what_it_acknowledged(bench: Bench) {
    let consumer = Deduplicated::new(bench.queue.clone(), bench.inbox());
    let ids = [bench.send("a").await, bench.send("b").await];
    let got = bench.receive(&consumer).await;
    let seen: Vec<MessageId> = got.iter().map(|delivery| delivery.message().id).collect();
    assert_eq!(seen, ids);
    consumer.ack(&got[0]).await.unwrap();
    consumer.settle_one(got[1].nack("later")).await.unwrap();
    bench.queue.crash();
    // Another process, which has nothing in hand.
    let other = Deduplicated::new(bench.queue.clone(), bench.inbox());
    let again = bench.receive(&other).await;
    let seen: Vec<MessageId> = again.iter().map(|delivery| delivery.message().id).collect();
    assert_eq!(
        seen,
        ids[1..],
        "what was acknowledged is known, what was given back is not"
    );
    let mut second = again.into_iter().next().unwrap();
    other
        .extend(&mut second, Duration::from_secs(30))
        .await
        .unwrap();
    other.ack(&second).await.unwrap();
    bench.queue.crash();
    assert!(bench.receive(&other).await.is_empty());
    assert_eq!(bench.queue.waiting(), 0, "what is known is acknowledged");
}

async fn a_plain_consumer_hands_a_message_out_once_at_a_time(bench: Bench) {
    let consumer = Deduplicated::new(bench.queue.clone(), bench.inbox());
    bench.send("a").await;
    let first = bench.receive(&consumer).await.pop().unwrap();
    bench.queue.crash();
    assert!(bench.receive(&consumer).await.is_empty(), "it is in hand");
    // The broker has forgotten the lease; that the message was dealt with is recorded all the same.
    let late = consumer.ack(&first).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::LeaseLost);
    bench.queue.crash();
    assert!(bench.receive(&consumer).await.is_empty(), "it is known");
}

async fn marks_have_no_events(bench: Bench) {
    let producer = Moody::new(bench.producer.clone());
    let options = RelayOptions::new("one");
    let relay = Relay::new(
        bench.state.clone(),
        producer.clone(),
        Namespace::DEFAULT,
        options,
    );
    let stop = CancellationToken::new();
    let task = tokio::spawn(relay.unwrap().run(stop.clone()));
    bench.send("a").await;
    let delivery = bench.receive(&*bench.queue).await.pop().unwrap();
    let inbox = bench.inbox();
    inbox
        .apply_once(&delivery, effect(delivery.message()))
        .await
        .unwrap();
    bench.state.append(&key("a"), "y".into()).await.unwrap();
    eventually("the events of the effects", || async {
        (producer.texts("task/a").len() == 2).then_some(())
    })
    .await;
    stop.cancel();
    task.await.unwrap();
    let accepted = producer.accepted.lock();
    let keys: Vec<&str> = accepted
        .iter()
        .filter_map(|m| m.ordering_key.as_deref())
        .collect();
    assert_eq!(keys, ["task/a", "task/a"]);
}
