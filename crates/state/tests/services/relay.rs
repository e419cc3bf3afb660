//! The relay: every change becomes an event, every message is sent, in order, whatever fails.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::support::{Calls, Moody, Store, eventually, key, put, scope};
use statehouse_contracts::{
    ConsumerExt, ErrorKind, GroupName, GroupSpec, Message, MessageId, Namespace, Pattern, Payload,
    Producer, ProducerCapability, Result, SendOptions, Sent, StateManager, StateManagerExt, Topic,
    Transaction,
};
use statehouse_state::{EventData, Relay, RelayOptions, StateEvent};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

fn start(state: Arc<dyn StateManager>, producer: Arc<Moody>, owner: &str) -> Running {
    let options = RelayOptions {
        lease: Duration::from_millis(600),
        ..RelayOptions::new(owner)
    };
    run(state, producer, options)
}

fn run(
    state: Arc<dyn StateManager>,
    producer: Arc<dyn Producer>,
    options: RelayOptions,
) -> Running {
    let relay = Relay::new(state, producer, Namespace::DEFAULT, options).unwrap();
    let stop = CancellationToken::new();
    Running {
        task: tokio::spawn(relay.run(stop.clone())),
        stop,
    }
}

async fn moody(store: &Store) -> Arc<Moody> {
    Moody::new(store.backend.producer(&scope()).await.unwrap())
}

async fn texts(producer: &Moody, ordering_key: &str, count: usize) -> Vec<String> {
    eventually(&format!("{count} messages of {ordering_key}"), || async {
        let texts = producer.texts(ordering_key);
        (texts.len() >= count).then_some(texts)
    })
    .await
}

fn message(ordering_key: &str, text: &str) -> Message {
    let topic = Topic::new("out").unwrap();
    Message {
        ordering_key: Some(ordering_key.into()),
        ..Message::new(topic, Payload::text(text))
    }
}

fn sending(messages: Vec<Message>) -> Transaction {
    Transaction {
        messages,
        ..Transaction::default()
    }
}

#[tokio::test]
async fn each_change_becomes_one_event_in_order() {
    let store = Store::open().await;
    let (state, producer) = (store.state().await, moody(&store).await);
    let consumer = store.backend.consumer(&scope()).await.unwrap();
    let group = GroupName::new("events").unwrap();
    consumer
        .declare(
            &group,
            &GroupSpec::new(Pattern::new("state.task.*").unwrap()),
        )
        .await
        .unwrap();
    state.write(put("a", "1")).await.unwrap();
    let relay = start(state.clone(), producer, "one");
    state.append(&key("a"), "2".into()).await.unwrap();
    state
        .delete(&key("a"), statehouse_contracts::Precondition::None)
        .await
        .unwrap();

    let mut events = Vec::new();
    while events.len() < 3 {
        let delivery = consumer
            .receive_one(&group, Duration::from_secs(10))
            .await
            .unwrap()
            .unwrap();
        consumer.ack(&delivery).await.unwrap();
        events.push(StateEvent::parse(delivery.message()).unwrap());
    }
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.version, event.data.clone()))
        .collect();
    let expected = [
        (1, EventData::Whole("1".into())),
        (2, EventData::Appended("2".into())),
        (3, EventData::Tombstone),
    ];
    assert_eq!(seen, expected);
    assert_eq!(
        consumer.receive_one(&group, Duration::ZERO).await.unwrap(),
        None
    );
    relay.stop().await;
}

#[tokio::test]
async fn a_refused_message_is_parked_and_blocks_its_key_only() {
    let store = Store::open().await;
    let (state, producer) = (store.state().await, moody(&store).await);
    producer.set("bad", Some(ErrorKind::InvalidArgument));
    let messages = vec![
        message("bad", "1"),
        message("good", "1"),
        message("bad", "2"),
    ];
    state.apply(sending(messages)).await.unwrap();
    let relay = start(state.clone(), producer.clone(), "one");

    assert_eq!(texts(&producer, "good", 1).await, ["1"]);
    let parked = eventually("a parked entry", || async {
        state.outbox_parked(0, None).await.unwrap().items.pop()
    })
    .await;
    assert_eq!(parked.message.bytes(), b"1");
    assert!(parked.parked.unwrap().contains("in no mood"));
    assert!(producer.texts("bad").is_empty());

    producer.set("bad", None);
    state.outbox_unpark(parked.position).await.unwrap();
    assert_eq!(texts(&producer, "bad", 2).await, ["1", "2"]);
    relay.stop().await;
}

#[tokio::test]
async fn what_fails_for_now_is_sent_later_and_holds_up_nothing_else() {
    let store = Store::open().await;
    let (state, producer) = (store.state().await, moody(&store).await);
    producer.set("slow", Some(ErrorKind::Overloaded));
    state
        .apply(sending(vec![
            message("slow", "1"),
            message("slow", "2"),
            message("quick", "1"),
        ]))
        .await
        .unwrap();
    let relay = start(state.clone(), producer.clone(), "one");
    assert_eq!(texts(&producer, "quick", 1).await, ["1"]);
    assert!(producer.texts("slow").is_empty());
    producer.set("slow", None);
    assert_eq!(texts(&producer, "slow", 2).await, ["1", "2"]);
    relay.stop().await;
}

#[tokio::test]
async fn events_that_cannot_be_sent_keep_the_order_of_their_key() {
    let store = Store::open().await;
    let (state, producer) = (store.state().await, moody(&store).await);
    producer.set("task/a", Some(ErrorKind::Unavailable));
    let relay = start(state.clone(), producer.clone(), "one");
    for text in ["1", "2", "3"] {
        state.write(put("a", text)).await.unwrap();
        state.write(put("b", text)).await.unwrap();
    }
    assert_eq!(texts(&producer, "task/b", 3).await, ["1", "2", "3"]);
    assert!(producer.texts("task/a").is_empty());
    producer.set("task/a", None);
    state.write(put("a", "4")).await.unwrap();
    assert_eq!(texts(&producer, "task/a", 4).await, ["1", "2", "3", "4"]);
    relay.stop().await;
}

#[tokio::test]
async fn another_relay_takes_over_when_one_dies() {
    let store = Store::open().await;
    let (state, producer) = (store.state().await, moody(&store).await);
    let first = start(state.clone(), producer.clone(), "one");
    let second = start(state.clone(), producer.clone(), "two");
    state.write(put("a", "1")).await.unwrap();
    texts(&producer, "task/a", 1).await;
    first.task.abort();
    state.write(put("a", "2")).await.unwrap();
    assert_eq!(texts(&producer, "task/a", 2).await, ["1", "2"]);
    second.stop().await;
}

#[tokio::test]
async fn the_relay_leaves_no_trace_in_the_change_log() {
    let store = Store::open().await;
    let (state, producer) = (store.state().await, moody(&store).await);
    state.write(put("a", "1")).await.unwrap();
    let head = state.head().await.unwrap();
    let relay = start(state.clone(), producer.clone(), "one");
    state.apply(sending(vec![message("k", "1")])).await.unwrap();
    texts(&producer, "k", 1).await;
    texts(&producer, "task/a", 1).await;
    relay.stop().await;
    assert!(
        state
            .changes(&head, 0, Duration::ZERO)
            .await
            .unwrap()
            .changes
            .is_empty()
    );
    eventually("an empty outbox", || async {
        (state.outbox_depth().await.unwrap() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_waits_behind_a_parked_entry_is_not_looked_at_again_and_again() {
    let store = Store::open().await;
    let producer = moody(&store).await;
    let calls = Calls::default();
    let counted = statehouse_layers::around(store.backend.clone(), calls.clone());
    let state = counted.state(&scope()).await.unwrap();
    producer.set("bad", Some(ErrorKind::InvalidArgument));
    let messages = vec![message("bad", "1"), message("bad", "2")];
    state.apply(sending(messages)).await.unwrap();
    let options = RelayOptions::new("one");
    let relay = run(state.clone(), producer.clone(), options);
    let parked = eventually("a parked entry", || async {
        state.outbox_parked(0, None).await.unwrap().items.pop()
    })
    .await;
    eventually("a relay at rest", || async {
        let before = calls.number();
        // sleep: the relay must do nothing for this long
        tokio::time::sleep(Duration::from_millis(500)).await;
        (calls.number() == before).then_some(())
    })
    .await;
    assert_eq!(state.outbox_depth().await.unwrap(), 1);
    producer.set("bad", None);
    state.outbox_unpark(parked.position).await.unwrap();
    assert_eq!(texts(&producer, "bad", 2).await, ["1", "2"]);
    relay.stop().await;
}

#[tokio::test]
async fn a_batch_is_as_small_as_producer_and_store_need() {
    let store = Store::open().await;
    let (state, producer) = (store.state().await, moody(&store).await);
    let (can, takes) = (state.capability(), producer.capability());
    producer.set("task/a", Some(ErrorKind::Unavailable));
    let options = RelayOptions {
        lease: Duration::from_millis(600),
        batch: can.max_writes + can.max_page + takes.max_batch,
        inline: usize::MAX,
        ..RelayOptions::new("one")
    };
    let relay = run(state.clone(), producer.clone(), options);
    state.write(put("b", "small")).await.unwrap();
    assert_eq!(texts(&producer, "task/b", 1).await, ["small"]);
    // Too large for a message: the event tells of it without the data.
    let large = "x".repeat(takes.max_payload.max(can.max_message) + 1);
    state.write(put("b", &large)).await.unwrap();
    assert_eq!(texts(&producer, "task/b", 2).await, ["small", ""]);
    for text in ["1", "2"] {
        state.write(put("a", text)).await.unwrap();
    }
    eventually("events that take the way through the outbox", || async {
        (state.outbox_depth().await.unwrap() == 2).then_some(())
    })
    .await;
    producer.set("task/a", None);
    assert_eq!(texts(&producer, "task/a", 2).await, ["1", "2"]);
    relay.stop().await;
}

/// Releases what is parked while a message of another key, `good`, is being sent.
#[derive(Debug)]
struct Releasing {
    inner: Arc<Moody>,
    state: Arc<dyn StateManager>,
}

#[async_trait]
impl Producer for Releasing {
    fn capability(&self) -> ProducerCapability {
        self.inner.capability()
    }

    async fn send(&self, batch: Vec<Message>, options: SendOptions) -> Result<Vec<Result<Sent>>> {
        if batch[0].ordering_key.as_deref() == Some("good") {
            self.inner.set("bad", None);
            for parked in self.state.outbox_parked(0, None).await?.items {
                self.state.outbox_unpark(parked.position).await?;
            }
        }
        self.inner.send(batch, options).await
    }

    async fn cancel(&self, id: MessageId) -> Result<bool> {
        self.inner.cancel(id).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

#[tokio::test]
async fn what_is_released_amid_a_pass_still_goes_before_what_was_behind_it() {
    let store = Store::open().await;
    let (state, producer) = (store.state().await, moody(&store).await);
    producer.set("bad", Some(ErrorKind::InvalidArgument));
    let releasing = Arc::new(Releasing {
        inner: producer.clone(),
        state: state.clone(),
    });
    let options = RelayOptions {
        batch: 1,
        ..RelayOptions::new("one")
    };
    let relay = run(state.clone(), releasing, options);
    state
        .apply(sending(vec![message("bad", "1")]))
        .await
        .unwrap();
    eventually("a parked entry", || async {
        state.outbox_parked(0, None).await.unwrap().items.pop()
    })
    .await;
    state
        .apply(sending(vec![message("good", "1"), message("bad", "2")]))
        .await
        .unwrap();
    assert_eq!(texts(&producer, "bad", 2).await, ["1", "2"]);
    relay.stop().await;
}
