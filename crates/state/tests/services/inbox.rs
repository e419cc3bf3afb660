//! A handler's effect happens once, whatever is redelivered and whatever crashes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use proptest::prelude::*;
use statehouse_contracts::{
    Backoff, Consumer, ConsumerExt, Delivery, Error, ErrorKind, GroupName, GroupSpec, Message,
    MessageId, Namespace, Pattern, Payload, Precondition, Producer, ProducerExt, Receive, Retry,
    StateManager, StateManagerExt, Topic, Transaction, Write,
};
use statehouse_layers::{Call, Layer};
use statehouse_state::{
    Deduplicated, HandlerError, Inbox, MessageContext, MessageHandler, MessageProcessor,
    MessageProcessorOptions, Once, Relay, RelayOptions,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::forgetful::Forgetful;
use crate::support::{Moody, Store, eventually, key, scope};

/// A queue that forgets, the store of the effects, and a group.
struct Bench {
    store: Store,
    queue: Arc<Forgetful>,
    producer: Arc<dyn Producer>,
    state: Arc<dyn StateManager>,
    group: GroupName,
}

impl Bench {
    async fn on(store: Store) -> Self {
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

    fn inbox(&self) -> Inbox {
        Inbox::new(self.state.clone(), Inbox::REMEMBER).unwrap()
    }

    async fn send(&self, text: &str) -> MessageId {
        let message = message(text);
        self.producer.send_one(message).await.unwrap().id
    }

    /// All that comes at the moment.
    async fn receive(&self, consumer: &dyn Consumer) -> Vec<Delivery> {
        let receive = Receive::new(100, Duration::ZERO);
        consumer.receive(&self.group, receive).await.unwrap()
    }

    /// What the effects of a message have written.
    async fn effects(&self, text: &str) -> String {
        let record = self.state.get(&key(text)).await.unwrap();
        record.map_or(String::new(), |record| {
            String::from_utf8(record.data.to_vec()).unwrap()
        })
    }

    fn start(&self, inbox: Inbox, handler: impl MessageHandler) -> Running {
        let options = MessageProcessorOptions {
            concurrency: 4,
            grace: Duration::ZERO,
            backoff: Duration::from_millis(20),
            ..MessageProcessorOptions::new(self.group.clone())
        };
        let processor = MessageProcessor::new(self.queue.clone(), inbox, handler, options);
        let stop = CancellationToken::new();
        Running {
            task: tokio::spawn(processor.run(stop.clone())),
            stop,
        }
    }
}

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

fn message(text: &str) -> Message {
    Message::new(Topic::new("t").unwrap(), Payload::text(text))
}

/// The effect of a message: it appends to the record of its name, so that twice shows.
fn effect(message: &Message) -> Transaction {
    let text = String::from_utf8(message.bytes().to_vec()).unwrap();
    Transaction::of(Write::append(key(&text), "x"))
}

struct Appends;

#[async_trait]
impl MessageHandler for Appends {
    async fn handle(&self, context: MessageContext) -> Result<Transaction, HandlerError> {
        Ok(effect(context.delivery.message()))
    }
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

everywhere! {
    what_comes_again_after_its_ack_is_known
    of_two_who_have_it_in_hand_one_applies
    the_key_tells_messages_apart_and_else_the_id
    marks_expire_and_are_forgotten
    a_processor_applies_once_through_crashes
    a_processor_settles_what_was_applied_without_an_answer
    a_precondition_that_fails_runs_the_handler_again
    a_message_that_fails_for_good_leaves_no_mark
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

async fn a_processor_applies_once_through_crashes(bench: Bench) {
    let texts: Vec<String> = (0..40).map(|n| format!("m{n}")).collect();
    for text in &texts {
        bench.send(text).await;
    }
    for round in 0_u64..20 {
        let running = bench.start(bench.inbox(), Appends);
        // sleep: the processor is killed wherever it is after a while
        tokio::time::sleep(Duration::from_millis(3 * (round % 7))).await;
        running.task.abort();
        bench.queue.crash();
    }
    let running = bench.start(bench.inbox(), Appends);
    for text in &texts {
        eventually(&format!("the effect of {text}"), || async {
            (!bench.effects(text).await.is_empty()).then_some(())
        })
        .await;
    }
    for _ in 0..3 {
        bench.queue.crash();
        eventually("all that came again", || async {
            (bench.queue.waiting() == 0).then_some(())
        })
        .await;
    }
    running.stop().await;
    for text in &texts {
        assert_eq!(bench.effects(text).await, "x", "{text}");
    }
}

/// Answers `apply` wrongly a few times: refused for now, or applied without an answer.
#[derive(Clone, Debug, Default)]
struct Faults(Arc<AtomicUsize>);

impl Layer for Faults {
    async fn call<T, F, Fut>(&self, call: &Call, mut run: F) -> statehouse_contracts::Result<T>
    where
        T: Send,
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = statehouse_contracts::Result<T>> + Send,
    {
        if call.operation != "apply" {
            return run().await;
        }
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => Err(Error::new(ErrorKind::Unavailable, "not now")),
            1 => {
                run().await?;
                let lost = Error::new(ErrorKind::Timeout, "the answer was lost");
                Err(lost.with_ambiguous(true).with_retry(Retry::Never))
            }
            _ => run().await,
        }
    }
}

async fn a_processor_settles_what_was_applied_without_an_answer(bench: Bench) {
    let faults = Faults::default();
    let broken = statehouse_layers::around(bench.store.backend.clone(), faults.clone());
    let state = broken.state(&scope()).await.unwrap();
    let inbox = Inbox::new(state, Inbox::REMEMBER).unwrap();
    bench.send("a").await;
    let running = bench.start(inbox, Appends);
    eventually("a third attempt", || async {
        (faults.0.load(Ordering::SeqCst) >= 3).then_some(())
    })
    .await;
    running.stop().await;
    assert_eq!(bench.effects("a").await, "x");
}

/// Counts up, under the version that it read; somebody else writes in between once.
struct Counts {
    state: Arc<dyn StateManager>,
    runs: Arc<AtomicUsize>,
}

#[async_trait]
impl MessageHandler for Counts {
    async fn handle(&self, _: MessageContext) -> Result<Transaction, HandlerError> {
        let before = self.state.get(&key("count")).await?;
        let when = before.map_or(Precondition::Absent, |record| {
            Precondition::Version(record.version)
        });
        if self.runs.fetch_add(1, Ordering::SeqCst) == 0 {
            self.state.append(&key("count"), "other,".into()).await?;
        }
        Ok(Transaction::of(
            Write::append(key("count"), "ours").when(when),
        ))
    }
}

async fn a_precondition_that_fails_runs_the_handler_again(bench: Bench) {
    bench.send("a").await;
    let runs = Arc::<AtomicUsize>::default();
    let handler = Counts {
        state: bench.state.clone(),
        runs: runs.clone(),
    };
    let running = bench.start(bench.inbox(), handler);
    eventually("the effect", || async {
        (bench.effects("count").await == "other,ours").then_some(())
    })
    .await;
    running.stop().await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

/// Fails for good at first.
struct Refuses(Arc<AtomicUsize>);

#[async_trait]
impl MessageHandler for Refuses {
    async fn handle(&self, context: MessageContext) -> Result<Transaction, HandlerError> {
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => Err(HandlerError::retry("not yet")),
            1 => panic!("in the middle of it"),
            2 => Err(HandlerError::fatal("poison")),
            _ => Ok(effect(context.delivery.message())),
        }
    }
}

async fn a_message_that_fails_for_good_leaves_no_mark(bench: Bench) {
    bench.send("a").await;
    let queue = bench.store.backend.consumer(&scope()).await.unwrap();
    let options = MessageProcessorOptions::new(bench.group.clone());
    let handler = Refuses(Arc::default());
    let processor = MessageProcessor::new(queue.clone(), bench.inbox(), handler, options);
    let stop = CancellationToken::new();
    let task = tokio::spawn(processor.run(stop.clone()));
    let letter = eventually("a dead letter", || async {
        let page = queue.dead_letters(&bench.group, 0, None).await.unwrap();
        page.items.into_iter().next()
    })
    .await;
    assert_eq!((letter.reason.as_str(), letter.attempts), ("poison", 3));
    let errors: Vec<&str> = letter
        .errors
        .iter()
        .map(|error| error.error.as_str())
        .collect();
    assert_eq!(
        errors,
        ["not yet", "the handler panicked: in the middle of it"]
    );
    assert_eq!(bench.effects("a").await, "");
    assert_eq!(queue.redrive(&bench.group, None).await.unwrap(), 1);
    eventually("the effect", || async {
        (bench.effects("a").await == "x").then_some(())
    })
    .await;
    stop.cancel();
    task.await.unwrap();
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

/// What may happen to a message in hand, and to the broker.
#[derive(Clone, Debug)]
enum Step {
    Send,
    /// A consumer takes what is there.
    Receive,
    /// The delivery at this place is handled: looked up, applied, acknowledged; and the consumer
    /// dies after so many of these steps.
    Handle(usize, u8),
    /// The broker forgets all acks and all leases.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => Just(Step::Send),
        3 => Just(Step::Receive),
        6 => (any::<usize>(), 0..4_u8).prop_map(|(place, until)| Step::Handle(place, until)),
        2 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..60)
}

/// Deals with a delivery, up to a step.
async fn handle(bench: &Bench, inbox: &Inbox, delivery: &Delivery, until: u8) {
    let known = inbox.known(std::slice::from_ref(delivery)).await.unwrap()[0];
    if until == 0 {
        return;
    }
    if !known {
        let text = String::from_utf8(delivery.message().bytes().to_vec()).unwrap();
        let before = bench.effects(&text).await;
        let once = inbox
            .apply_once(delivery, effect(delivery.message()))
            .await
            .unwrap();
        // The model: applied exactly if there was no effect yet.
        assert_eq!(before.is_empty(), matches!(once, Once::Applied(_)));
    }
    if until == 1 {
        return;
    }
    if let Err(error) = bench.queue.ack(delivery).await {
        assert_eq!(error.kind(), ErrorKind::LeaseLost);
    }
}

async fn play(steps: Vec<Step>) {
    let bench = Bench::on(Store::memory().await).await;
    let inbox = bench.inbox();
    let (mut sent, mut in_hand) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Send => {
                let text = format!("m{}", sent.len());
                bench.send(&text).await;
                sent.push(text);
            }
            Step::Receive => in_hand.extend(bench.receive(&*bench.queue).await),
            Step::Handle(place, until) if !in_hand.is_empty() => {
                // It stays in hand: a consumer that was slow may go on with it later.
                let delivery = &in_hand[place % in_hand.len()];
                handle(&bench, &inbox, delivery, until).await;
            }
            Step::Handle(..) => {}
            Step::Crash => bench.queue.crash(),
        }
        for text in &sent {
            assert!(
                bench.effects(text).await.len() <= 1,
                "{text} happened twice"
            );
        }
    }
    bench.queue.crash();
    loop {
        let left = bench.receive(&*bench.queue).await;
        if left.is_empty() {
            break;
        }
        for delivery in &left {
            handle(&bench, &inbox, delivery, 2).await;
        }
    }
    for text in &sent {
        assert_eq!(bench.effects(text).await, "x", "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_effect_happens_exactly_once(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(steps));
    }
}
