//! The queue's tables under random calls: what goes in comes out once, keys keep their order, and
//! nothing is left behind.
#![expect(clippy::unwrap_used, reason = "a failed call fails the test")]

use std::{collections::HashMap, path::Path, time::Duration};

use proptest::prelude::*;
use rusqlite::Connection;
use statehouse_contracts::{
    Backend, Backoff, Consumer, ConsumerExt, Delivery, Endpoint, ErrorKind, Factory, GroupName,
    GroupSpec, Message, MessageId, Overflow, Pattern, Payload, Priority, Producer, ProducerExt,
    Receive, Scope, SettleAction, Topic,
};
use statehouse_sqlite::SqliteFactory;

/// One random call.
#[derive(Clone, Debug)]
enum Step {
    Send {
        key: Option<u8>,
        priority: u8,
        expires: bool,
    },
    Receive {
        max: usize,
    },
    /// Settles the delivery at this place among those in hand.
    Settle {
        place: usize,
        how: u8,
    },
    Redrive,
}

fn step() -> impl Strategy<Value = Step> {
    let send =
        (prop::option::of(0..3_u8), 0..3_u8, any::<bool>()).prop_map(|(key, priority, expires)| {
            Step::Send {
                key,
                priority,
                expires,
            }
        });
    prop_oneof![
        3 => send,
        2 => (1..5_usize).prop_map(|max| Step::Receive { max }),
        4 => (any::<usize>(), 0..6_u8).prop_map(|(place, how)| Step::Settle { place, how }),
        1 => Just(Step::Redrive),
    ]
}

/// A group that hears everything, and what a test has in hand of it.
struct Desk<'h> {
    consumer: &'h dyn Consumer,
    group: GroupName,
    in_hand: Vec<Delivery>,
    acked: HashMap<MessageId, u32>,
    dead: u64,
}

impl Desk<'_> {
    async fn receive(&mut self, max: usize) -> usize {
        let receive = Receive::new(max, Duration::ZERO);
        let got = self.consumer.receive(&self.group, receive).await.unwrap();
        for delivery in &got {
            let key = &delivery.message().ordering_key;
            let busy = |other: &&Delivery| key.is_some() && other.message().ordering_key == *key;
            assert!(
                !self.in_hand.iter().any(|other| busy(&other)),
                "two of one key at a time"
            );
        }
        let count = got.len();
        self.in_hand.extend(got);
        count
    }

    async fn settle(&mut self, place: usize, how: u8) {
        if self.in_hand.is_empty() {
            return;
        }
        let delivery = self.in_hand.swap_remove(place % self.in_hand.len());
        let settle = match how {
            0 => delivery.nack("no"),
            1 => delivery.dead_letter("never"),
            _ => delivery.ack(),
        };
        match settle.action {
            SettleAction::Ack => *self.acked.entry(delivery.message().id).or_default() += 1,
            SettleAction::DeadLetter { .. } => self.dead += 1,
            _ if delivery.attempt == 3 => self.dead += 1,
            _ => {}
        }
        for settled in self.consumer.settle(vec![settle]).await.unwrap() {
            settled.unwrap();
        }
    }

    async fn redrive(&mut self) {
        let redriven = self.consumer.redrive(&self.group, None).await.unwrap();
        assert_eq!(redriven, self.dead);
        self.dead = 0;
    }

    async fn check_counts(&self, sent: usize) {
        let counts = self.consumer.counts(&self.group).await.unwrap();
        let acked = self.acked.len() as u64;
        assert_eq!(counts.in_flight, self.in_hand.len() as u64);
        assert_eq!(counts.dead, self.dead);
        assert_eq!(
            counts.ready + counts.in_flight + counts.dead + acked,
            sent as u64
        );
    }

    /// Acknowledges everything there is.
    async fn drain(&mut self) {
        self.redrive().await;
        while !self.in_hand.is_empty() || self.receive(16).await > 0 {
            self.settle(0, 9).await;
        }
    }
}

fn left_behind(path: &Path) -> Vec<(&'static str, i64)> {
    const TABLES: [&str; 10] = [
        "queue_message",
        "queue_share",
        "queue_ready",
        "queue_key",
        "queue_waiting",
        "queue_delayed",
        "queue_leased",
        "queue_expiry",
        "queue_dead",
        "queue_error",
    ];
    let connection = Connection::open(path).unwrap();
    let count = |table: &'static str| {
        let sql = format!("SELECT count(*) FROM {table}");
        (
            table,
            connection.query_row(&sql, (), |row| row.get(0)).unwrap(),
        )
    };
    let counts = TABLES.map(count);
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

async fn run(steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let endpoint = Endpoint::parse(&format!("sqlite:{}?synchronous=normal", path.display()));
    let backend = SqliteFactory.open(&endpoint.unwrap()).await.unwrap();
    let scope = Scope::parse("default", "test").unwrap();
    let consumer = backend.consumer(&scope).await.unwrap();
    let producer = backend.producer(&scope).await.unwrap();
    let mut desks = Vec::new();
    for name in ["first", "second"] {
        let group = GroupName::new(name).unwrap();
        let spec = GroupSpec {
            backoff: Backoff::NONE,
            max_deliveries: 3,
            ..GroupSpec::new(Pattern::new("#").unwrap())
        };
        consumer.declare(&group, &spec).await.unwrap();
        desks.push(Desk {
            consumer: &*consumer,
            group,
            in_hand: Vec::new(),
            acked: HashMap::new(),
            dead: 0,
        });
    }
    let mut sent = 0;
    for (at, step) in steps.into_iter().enumerate() {
        let desk = &mut desks[at % 2];
        match step {
            Step::Send {
                key,
                priority,
                expires,
            } => {
                sent += 1;
                // Long after the test: it must leave nothing behind, however it ends.
                let ttl = expires.then_some(Duration::from_secs(3600));
                send(&*producer, key, priority, ttl).await;
            }
            Step::Receive { max } => drop(desk.receive(max).await),
            Step::Settle { place, how } => desk.settle(place, how).await,
            Step::Redrive => desk.redrive().await,
        }
        desks[at % 2].check_counts(sent).await;
    }
    for desk in &mut desks {
        desk.drain().await;
        assert_eq!(desk.acked.len(), sent);
        assert!(desk.acked.values().all(|times| *times == 1));
        desk.check_counts(sent).await;
    }
    drop(desks);
    backend.close().await.unwrap();
    assert_eq!(left_behind(&path), Vec::new());
}

async fn send(producer: &dyn Producer, key: Option<u8>, priority: u8, ttl: Option<Duration>) {
    let message = Message {
        ttl,
        ordering_key: key.map(|key| key.to_string()),
        priority: Priority::new(priority).unwrap(),
        ..Message::new(Topic::new("t").unwrap(), Payload::text("x"))
    };
    let sent = producer.send_one(message).await.unwrap();
    assert_eq!(sent.routed, Some(2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_goes_in_comes_out_once_and_leaves_nothing(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}

/// Acks of one receive are done together where they can be; none of these may be lost or repeated
/// by it, whatever their order and whatever comes between them.
#[tokio::test]
async fn acks_of_one_receive_are_each_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let endpoint = Endpoint::parse(&format!("sqlite:{}?synchronous=normal", path.display()));
    let backend = SqliteFactory.open(&endpoint.unwrap()).await.unwrap();
    let scope = Scope::parse("default", "test").unwrap();
    let consumer = backend.consumer(&scope).await.unwrap();
    let producer = backend.producer(&scope).await.unwrap();
    let group = GroupName::new("only").unwrap();
    let spec = GroupSpec {
        backoff: Backoff::NONE,
        ..GroupSpec::new(Pattern::new("#").unwrap())
    };
    consumer.declare(&group, &spec).await.unwrap();
    for at in 0..40_u8 {
        let message = Message {
            ordering_key: (at == 39).then(|| "key".to_owned()),
            ttl: (at % 3 == 0).then_some(Duration::from_secs(3600)),
            ..Message::new(Topic::new("t").unwrap(), Payload::text("x"))
        };
        producer.send_one(message).await.unwrap();
    }
    let receive = |max| consumer.receive(&group, Receive::new(max, Duration::ZERO));
    let in_flight = async || consumer.counts(&group).await.unwrap().in_flight;
    let got = receive(30).await.unwrap();
    let settle = async |deliveries: &[&Delivery]| {
        let acks = deliveries.iter().map(|delivery| delivery.ack()).collect();
        consumer.settle(acks).await.unwrap()
    };
    let all_done = |answers: Vec<Result<_, _>>| answers.iter().all(Result::is_ok);

    // Backwards, from within the batch; then with a gap that is still leased; then twice at once.
    let backwards: Vec<&Delivery> = got[10..20].iter().rev().collect();
    assert!(all_done(settle(&backwards).await));
    assert_eq!(in_flight().await, 20);
    let around: Vec<&Delivery> = got[5..10].iter().chain(&got[21..25]).collect();
    assert!(all_done(settle(&around).await));
    assert_eq!(in_flight().await, 11);
    let even: Vec<&Delivery> = got[25..30].iter().step_by(2).chain(&got[25..30]).collect();
    assert!(all_done(settle(&even).await));
    assert_eq!(in_flight().await, 6);

    // A repeat answers as before and takes nothing; another action has lost the lease.
    assert!(all_done(settle(&backwards).await));
    let nack = consumer.settle(vec![got[12].nack("no")]).await.unwrap();
    assert!(nack[0].is_err());
    assert_eq!(in_flight().await, 6);

    // What was not acknowledged comes again, and its second attempt ends like the others.
    let rest: Vec<&Delivery> = got[..5].iter().chain(&got[20..21]).collect();
    let nacks = rest.iter().map(|delivery| delivery.nack("no")).collect();
    assert!(all_done(consumer.settle(nacks).await.unwrap()));
    let again = receive(30).await.unwrap();
    assert_eq!(again.len(), 16);
    assert!(all_done(settle(&again.iter().collect::<Vec<_>>()).await));
    assert_eq!(consumer.counts(&group).await.unwrap().ready, 0);
    assert_eq!(in_flight().await, 0);
    backend.close().await.unwrap();
    assert_eq!(left_behind(&path), Vec::new());
}

/// A file with one group, `g`, that hears everything.
struct House {
    backend: std::sync::Arc<dyn Backend>,
    consumer: std::sync::Arc<dyn Consumer>,
    producer: std::sync::Arc<dyn Producer>,
    group: GroupName,
}

impl House {
    async fn open(path: &Path, spec: GroupSpec) -> Self {
        let endpoint = Endpoint::parse(&format!("sqlite:{}", path.display()));
        let backend = SqliteFactory.open(&endpoint.unwrap()).await.unwrap();
        let scope = Scope::parse("default", "test").unwrap();
        let house = Self {
            consumer: backend.consumer(&scope).await.unwrap(),
            producer: backend.producer(&scope).await.unwrap(),
            backend,
            group: GroupName::new("g").unwrap(),
        };
        house.consumer.declare(&house.group, &spec).await.unwrap();
        house
    }

    async fn send(&self, ttl: Option<Duration>) {
        let message = Message {
            ttl,
            ..Message::new(Topic::new("t").unwrap(), Payload::text("x"))
        };
        self.producer.send_one(message).await.unwrap();
    }

    async fn receive(&self) -> Delivery {
        let one = self.consumer.receive_one(&self.group, Duration::ZERO);
        one.await.unwrap().unwrap()
    }

    async fn nack(&self) {
        let settle = self
            .receive()
            .await
            .nack_after(Duration::ZERO, "not this time");
        self.consumer.settle_one(settle).await.unwrap();
    }
}

fn plain() -> GroupSpec {
    GroupSpec::new(Pattern::ALL)
}

#[tokio::test]
async fn a_message_that_expires_after_an_attempt_leaves_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let house = House::open(&path, plain()).await;
    house.send(Some(Duration::from_secs(1))).await;
    house.nack().await;
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while house.consumer.counts(&house.group).await.unwrap().expired == 0 {
        assert!(std::time::Instant::now() < deadline, "it does not expire");
        // sleep: between two looks of a poll with a deadline
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    house.backend.close().await.unwrap();
    assert_eq!(left_behind(&path), Vec::new());
}

#[tokio::test]
async fn a_message_that_makes_room_after_an_attempt_leaves_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let spec = GroupSpec {
        max_length: Some(1),
        overflow: Overflow::DropOldest,
        ..plain()
    };
    let house = House::open(&path, spec).await;
    house.send(None).await;
    house.nack().await;
    house.send(None).await;
    house.consumer.ack(&house.receive().await).await.unwrap();
    let counts = house.consumer.counts(&house.group).await.unwrap();
    assert_eq!(counts.dropped, 1);
    house.backend.close().await.unwrap();
    assert_eq!(left_behind(&path), Vec::new());
}

#[tokio::test]
async fn a_token_from_before_a_loss_of_power_settles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, saved) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let house = House::open(&path, plain()).await;
    house.send(None).await;
    house.send(None).await;
    house.backend.close().await.unwrap();
    std::fs::copy(&path, &saved).unwrap();

    let lost = House::open(&path, plain()).await;
    lost.receive().await;
    let second = lost.receive().await;
    lost.backend.close().await.unwrap();

    // The file as it was before those receives; the second of it settles the first message.
    let house = House::open(&saved, plain()).await;
    let mut first = house.receive().await;
    let lease = Duration::from_secs(30);
    house.consumer.extend(&mut first, lease).await.unwrap();
    house.consumer.ack(&first).await.unwrap();
    let error = house.consumer.ack(&second).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LeaseLost);
    assert_eq!(house.receive().await.message().id, second.message().id);
}

#[tokio::test]
async fn a_page_of_large_dead_letters_ends_early() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(&folder.path().join("a.db"), plain()).await;
    for _ in 0..40 {
        let topic = Topic::new("t").unwrap();
        let message = Message::new(topic, Payload::bytes(vec![7; 1 << 20]));
        house.producer.send_one(message).await.unwrap();
        let settle = house.receive().await.dead_letter("too large");
        house.consumer.settle_one(settle).await.unwrap();
    }
    let page = |after| house.consumer.dead_letters(&house.group, usize::MAX, after);
    let first = page(None).await.unwrap();
    assert_eq!(first.items.len(), 32);
    let second = page(first.next.as_ref()).await.unwrap();
    assert_eq!((second.items.len(), second.next), (8, None));
}

#[tokio::test]
async fn a_message_that_cannot_be_read_becomes_a_dead_letter_and_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.db");
    let endpoint = Endpoint::parse(&format!("sqlite:{}", path.display())).unwrap();
    let backend = SqliteFactory.open(&endpoint).await.unwrap();
    let scope = Scope::parse("default", "tester").unwrap();
    let consumer = backend.consumer(&scope).await.unwrap();
    let producer = backend.producer(&scope).await.unwrap();
    let group = GroupName::new("g").unwrap();
    let spec = GroupSpec::new(Pattern::ALL);
    consumer.declare(&group, &spec).await.unwrap();
    let message = |text: &str| Message::new(Topic::new("t").unwrap(), Payload::text(text));
    let [cut, whole, gone] = ["cut", "whole", "gone"].map(message);
    for message in [&cut, &whole, &gone] {
        producer.send_one(message.clone()).await.unwrap();
    }
    let file = Connection::open(&path).unwrap();
    let damage = |sql: &str, payload: &[u8]| {
        assert_eq!(file.execute(sql, [payload]).unwrap(), 1, "{sql}");
    };
    let cut_short = "UPDATE queue_message SET meta = substr(meta, 1, 19) WHERE payload = ?";
    damage(cut_short, b"cut");
    damage("DELETE FROM queue_message WHERE payload = ?", b"gone");

    let peeked = consumer.peek(&group, 9).await.unwrap();
    assert_eq!(peeked.len(), 3);
    let receive = Receive::new(9, Duration::ZERO);
    let got = consumer.receive(&group, receive).await.unwrap();
    let ids: Vec<MessageId> = got.iter().map(|delivery| delivery.message().id).collect();
    assert_eq!(ids, [whole.id]);
    consumer.ack(&got[0]).await.unwrap();

    let dead = consumer.dead_letters(&group, 0, None).await.unwrap().items;
    let reasons: Vec<&str> = dead.iter().map(|letter| letter.reason.as_str()).collect();
    assert!(
        reasons
            .iter()
            .all(|reason| reason.starts_with("unreadable: "))
            && reasons.len() == 2,
        "{reasons:?}"
    );
    assert_eq!(dead[0].received.message.id, cut.id);
    assert_eq!(dead[0].received.message.bytes(), b"cut");
    assert!(consumer.receive(&group, receive).await.unwrap().is_empty());
    let counts = consumer.counts(&group).await.unwrap();
    assert_eq!((counts.in_flight, counts.dead), (0, 2));
    assert_eq!(consumer.purge(&group, true).await.unwrap(), 2);
}
