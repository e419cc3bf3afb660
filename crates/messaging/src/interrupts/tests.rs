use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use statehouse_contracts::{Backend, Endpoint, Factory, Scope};
use tokio::sync::Notify;

use super::*;
use crate::PolicyManager;

/// What a handler does with what it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Done,
    Taken,
    Fail,
    Panic,
    /// Fails so often, then it is done.
    FailTwice,
    /// Waits until it is let go on.
    Wait,
}

#[derive(Debug)]
struct Handler {
    way: Way,
    seen: Mutex<Vec<Interrupt>>,
    calls: AtomicUsize,
    called: Notify,
    go_on: Notify,
}

impl Handler {
    fn new(way: Way) -> Arc<Self> {
        Arc::new(Self {
            way,
            seen: Mutex::default(),
            calls: AtomicUsize::new(0),
            called: Notify::new(),
            go_on: Notify::new(),
        })
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Waits until it was called so often.
    async fn until(&self, calls: usize) {
        until(|| self.calls() >= calls, &self.called).await;
    }
}

async fn until(done: impl Fn() -> bool, told: &Notify) {
    let waiting = async {
        loop {
            let next = told.notified();
            if done() {
                return;
            }
            // A lost wake-up costs a moment.
            drop(tokio::time::timeout(Duration::from_millis(20), next).await);
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    waited.expect("in time");
}

#[async_trait]
impl InterruptHandler for Handler {
    async fn handle(&self, interrupt: &Interrupt) -> Result<Handled> {
        self.seen.lock().push(interrupt.clone());
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        self.called.notify_waiters();
        match self.way {
            Way::Done => Ok(Handled::Done),
            Way::Taken => Ok(Handled::Taken),
            Way::FailTwice if call >= 2 => Ok(Handled::Done),
            Way::Fail | Way::FailTwice => Err(Error::internal("not now")),
            Way::Panic => panic!("out of its mind"),
            Way::Wait => {
                self.go_on.notified().await;
                Ok(Handled::Done)
            }
        }
    }
}

async fn backend() -> Arc<dyn Backend> {
    let endpoint = Endpoint::parse("memory:").unwrap();
    let backend = statehouse_memory::Memory.open(&endpoint).await.unwrap();
    statehouse_layers::guard(backend)
}

/// As in a process of its own.
async fn process(backend: &Arc<dyn Backend>, options: InterruptOptions) -> Interrupts {
    let scope = Scope::parse("default", "tester").unwrap();
    let policies = Arc::new(PolicyManager::default());
    let messenger = Messenger::open(&**backend, &scope, policies).await.unwrap();
    Interrupts::new(messenger, options)
}

async fn interrupts(options: InterruptOptions) -> Interrupts {
    process(&backend().await, options).await
}

/// Repeats at once.
fn eager() -> InterruptOptions {
    InterruptOptions {
        retry: Duration::from_millis(1),
        retry_cap: Duration::from_millis(2),
        ..InterruptOptions::default()
    }
}

async fn settled(interrupts: &Interrupts, done: impl Fn(InterruptStats) -> bool) -> InterruptStats {
    let nobody = Notify::new();
    until(|| done(interrupts.stats()), &nobody).await;
    interrupts.stats()
}

#[test]
fn signals_have_classes_and_names() {
    let table = [
        (0, SignalClass::Critical),
        (9, SignalClass::Critical),
        (10, SignalClass::High),
        (22, SignalClass::Normal),
        (39, SignalClass::Low),
        (40, SignalClass::Learning),
        (1000, SignalClass::Normal),
    ];
    for (number, class) in table {
        assert_eq!(Signal::new(number).unwrap().class(), class, "{number}");
    }
    assert!(Signal::new(50).is_err() && Signal::new(999).is_err());
    for signal in [Signal::DATABASE_DOWN, Signal::CUSTOM, Signal::WAKEUP] {
        assert_eq!(signal.to_string().parse::<Signal>().unwrap(), signal);
    }
    assert!("wake up".parse::<Signal>().is_err());
}

#[tokio::test]
async fn each_agent_handles_its_own_signals() {
    let interrupts = interrupts(InterruptOptions::default()).await;
    let (ada, bob) = (Handler::new(Way::Done), Handler::new(Way::Done));
    let wakeup = Signal::WAKEUP;
    interrupts
        .register("ada", wakeup, ada.clone())
        .await
        .unwrap();
    interrupts
        .register("bob", wakeup, bob.clone())
        .await
        .unwrap();
    let again = interrupts.register("bob", wakeup, bob.clone()).await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(interrupts.agents(), ["ada", "bob"]);
    assert_eq!(interrupts.handlers("ada"), [wakeup]);

    interrupts
        .send_from(Some("eve"), wakeup, "ada", "up")
        .await
        .unwrap();
    ada.until(1).await;
    assert_eq!(ada.seen.lock()[0].sender.as_deref(), Some("eve"));
    assert_eq!(ada.seen.lock()[0].payload, "up");
    assert_eq!(interrupts.broadcast(None, wakeup, "all").await.unwrap(), 2);
    ada.until(2).await;
    bob.until(1).await;

    assert!(interrupts.unregister("bob", wakeup));
    assert!(!interrupts.unregister("bob", wakeup));
    let gone = interrupts.send(wakeup, "bob", "").await;
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
    let stats = settled(&interrupts, |stats| stats.delivered == 3).await;
    assert_eq!((stats.sent, stats.failed, stats.dropped), (3, 0, 0));
    interrupts.close().await;
}

#[tokio::test]
async fn a_full_buffer_refuses_and_another_class_goes_on() {
    let options = InterruptOptions {
        normal: 2,
        ..InterruptOptions::default()
    };
    let interrupts = interrupts(options).await;
    let (slow, quick) = (Handler::new(Way::Wait), Handler::new(Way::Done));
    let (wakeup, alert) = (Signal::WAKEUP, Signal::ALERT_ERROR);
    interrupts
        .register("a", wakeup, slow.clone())
        .await
        .unwrap();
    interrupts
        .register("a", alert, quick.clone())
        .await
        .unwrap();
    interrupts.send(wakeup, "a", "handled").await.unwrap();
    slow.until(1).await;
    for _ in 0..2 {
        interrupts.send(wakeup, "a", "waits").await.unwrap();
    }
    let full = interrupts.send(wakeup, "a", "too many").await.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Overloaded);
    interrupts.send(alert, "a", "at once").await.unwrap();
    quick.until(1).await;
    assert_eq!(interrupts.stats().waiting, 2);
    assert_eq!(interrupts.stats().dropped, 1);

    // What is handled is finished, what waits is told as dropped, and nothing more is taken.
    let closing = tokio::spawn({
        let interrupts = interrupts.clone();
        async move { interrupts.close().await }
    });
    until(|| interrupts.0.stop.is_cancelled(), &Notify::new()).await;
    slow.go_on.notify_one();
    closing.await.unwrap();
    let stats = interrupts.stats();
    assert_eq!((stats.delivered, stats.dropped, stats.sent), (2, 3, 4));
    let late = interrupts.send(wakeup, "a", "late").await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Closed);
    interrupts.close().await;
}

#[tokio::test]
async fn b78_an_error_or_a_panic_is_no_delivery_and_harms_nobody() {
    let interrupts = interrupts(InterruptOptions {
        timeout: Duration::from_millis(50),
        ..eager()
    })
    .await;
    let ways = [Way::Fail, Way::Panic, Way::Wait];
    for (at, way) in ways.into_iter().enumerate() {
        let name = format!("agent-{at}");
        let handler = Handler::new(way);
        let registered = interrupts.register(&name, Signal::WAKEUP, handler);
        registered.await.unwrap();
        interrupts.send(Signal::WAKEUP, &name, "").await.unwrap();
    }
    let stats = settled(&interrupts, |stats| stats.failed == 3).await;
    assert_eq!((stats.sent, stats.delivered), (3, 0));
    let fine = Handler::new(Way::Done);
    let registered = interrupts.register("fine", Signal::WAKEUP, fine.clone());
    registered.await.unwrap();
    interrupts.set_hook(Some(Arc::new(|_, _| panic!("the hook, too"))));
    interrupts.send(Signal::WAKEUP, "fine", "").await.unwrap();
    fine.until(1).await;
    interrupts.close().await;
}

#[tokio::test]
async fn b78_a_critical_one_comes_again_until_it_is_handled() {
    let interrupts = interrupts(eager()).await;
    let stop = Signal::EMERGENCY_STOP;
    for way in [Way::FailTwice, Way::Panic] {
        let handler = Handler::new(way);
        interrupts
            .register("a", stop, handler.clone())
            .await
            .unwrap();
        interrupts.send(stop, "a", vec![7; 50_000]).await.unwrap();
        handler.until(3).await;
        assert_eq!(handler.seen.lock()[2].attempt, 3);
        assert_eq!(handler.seen.lock()[2].payload, vec![7; 50_000]);
        if way == Way::FailTwice {
            let stats = settled(&interrupts, |stats| stats.acknowledged == 1).await;
            assert_eq!((stats.delivered, stats.failed, stats.retried), (1, 2, 2));
        }
        interrupts.unregister("a", stop);
    }
    interrupts.close().await;
}

#[tokio::test]
async fn after_its_last_attempt_a_critical_one_is_a_dead_letter() {
    let options = InterruptOptions {
        max_attempts: 2,
        ..eager()
    };
    let interrupts = interrupts(options).await;
    let handler = Handler::new(Way::Fail);
    let down = Signal::DATABASE_DOWN;
    interrupts
        .register("a", down, handler.clone())
        .await
        .unwrap();
    interrupts.send(down, "a", "").await.unwrap();
    let group = interrupts.0.declare("a").await.unwrap();
    let messenger = interrupts.0.messenger.clone();
    let started = std::time::Instant::now();
    let dead = loop {
        let dead = messenger.dead_letters(&group).await.unwrap();
        if let Some(letter) = dead.into_iter().next() {
            break letter;
        }
        assert!(started.elapsed() < Duration::from_secs(20));
        tokio::task::yield_now().await;
    };
    assert_eq!(dead.attempts, 2);
    assert!(dead.errors[0].error.contains("not now"), "{dead:?}");
    assert_eq!(handler.calls(), 2);
    interrupts.close().await;
}

#[tokio::test]
async fn a_critical_one_waits_for_its_agent_in_whatever_process() {
    let backend = backend().await;
    let (here, there) = (
        process(&backend, eager()).await,
        process(&backend, eager()).await,
    );
    // The more urgent first.
    for signal in [Signal::SECURITY_BREACH, Signal::SYSTEM_SHUTDOWN] {
        here.send(signal, "my-agent/ü", "").await.unwrap();
    }
    let handler = Handler::new(Way::Done);
    for signal in [Signal::SYSTEM_SHUTDOWN, Signal::SECURITY_BREACH] {
        let registered = there.register("my-agent/ü", signal, handler.clone());
        registered.await.unwrap();
    }
    handler.until(2).await;
    let first = handler.seen.lock()[0].signal;
    assert_eq!(first, Signal::SYSTEM_SHUTDOWN);
    settled(&there, |stats| stats.acknowledged == 2).await;

    here.close().await;
    there.close().await;
}

#[tokio::test]
async fn a_broadcast_waits_for_who_handles_it_whoever_of_the_agent_takes_it_first() {
    let backend = backend().await;
    let (here, there) = (
        process(&backend, eager()).await,
        process(&backend, eager()).await,
    );
    // Of the same agent; only this one listens when the signal comes.
    let other = Handler::new(Way::Done);
    let registered = here.register("a", Signal::DATABASE_DOWN, other.clone());
    registered.await.unwrap();
    let told = here.broadcast(None, Signal::SYSTEM_SHUTDOWN, "now").await;
    assert_eq!(told.unwrap(), 1);
    settled(&here, |stats| stats.failed > 0).await;
    let right = Handler::new(Way::Done);
    let registered = there.register("a", Signal::SYSTEM_SHUTDOWN, right.clone());
    registered.await.unwrap();
    right.until(1).await;
    assert_eq!(right.seen.lock()[0].payload, "now");
    assert_eq!(other.calls(), 0);
    settled(&there, |stats| stats.acknowledged == 1).await;
    here.close().await;
    there.close().await;
}

#[tokio::test]
async fn a_broadcast_that_nobody_takes_ends_by_itself() {
    let interrupts = interrupts(eager()).await;
    let group = interrupts.0.declare("a").await.unwrap();
    let told = interrupts
        .broadcast(None, Signal::SYSTEM_SHUTDOWN, "")
        .await;
    assert_eq!(told.unwrap(), 1);
    interrupts
        .send(Signal::SYSTEM_SHUTDOWN, "a", "")
        .await
        .unwrap();
    let consumer = interrupts.0.messenger.consumer();
    let waiting = consumer.peek(&group, 2).await.unwrap();
    let ends = waiting.iter().map(|(waits, _)| waits.expires_at.is_some());
    let mut ends: Vec<bool> = ends.collect();
    ends.sort_unstable();
    assert_eq!(ends, [false, true], "{waiting:?}");
    interrupts.close().await;
}

#[tokio::test]
async fn several_signals_are_registered_together_or_not_at_all() {
    let interrupts = interrupts(eager()).await;
    let first = Handler::new(Way::Done);
    let signals = [Signal::SYSTEM_SHUTDOWN, Signal::WAKEUP];
    let handler: Arc<dyn InterruptHandler> = first.clone();
    let registered = interrupts.register_all("a", &signals, &handler);
    registered.await.unwrap();
    let more = [Signal::DATABASE_DOWN, Signal::WAKEUP];
    let conflict = interrupts.register_all("a", &more, &handler).await;
    assert_eq!(conflict.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(interrupts.handlers("a"), signals);
    for signal in signals {
        interrupts.send(signal, "a", "").await.unwrap();
    }
    first.until(2).await;
    interrupts.close().await;
}

#[tokio::test]
async fn b78_only_what_was_taken_can_be_acknowledged() {
    let interrupts = interrupts(eager()).await;
    let unknown = interrupts.acknowledge(MessageId::random()).await;
    assert_eq!(unknown.unwrap_err().kind(), ErrorKind::NotFound);
    let handler = Handler::new(Way::Taken);
    let down = Signal::DATABASE_DOWN;
    interrupts
        .register("a", down, handler.clone())
        .await
        .unwrap();
    let id = interrupts.send(down, "a", "").await.unwrap();
    settled(&interrupts, |stats| stats.taken == 1).await;
    assert_eq!(interrupts.stats().acknowledged, 0);
    interrupts.acknowledge(id).await.unwrap();
    let again = interrupts.acknowledge(id).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::NotFound);
    assert_eq!(interrupts.stats().acknowledged, 1);
    assert_eq!(handler.calls(), 1);
    interrupts.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b78_sending_while_everything_closes_is_an_error_at_worst() {
    for _ in 0..50 {
        let interrupts = interrupts(InterruptOptions::default()).await;
        let handler = Handler::new(Way::Done);
        let wakeup = Signal::WAKEUP;
        interrupts.register("a", wakeup, handler).await.unwrap();
        let sending = tokio::spawn({
            let interrupts = interrupts.clone();
            async move {
                let mut sent = 0_u64;
                loop {
                    match interrupts.send(wakeup, "a", "x").await {
                        Ok(_) => sent += 1,
                        Err(error) if error.kind() == ErrorKind::Overloaded => {}
                        Err(error) => return (sent, error.kind()),
                    }
                    tokio::task::yield_now().await;
                }
            }
        });
        interrupts.close().await;
        let (sent, ended) = sending.await.unwrap();
        assert!(
            matches!(ended, ErrorKind::Closed | ErrorKind::NotFound),
            "{ended}"
        );
        let stats = interrupts.stats();
        assert_eq!(stats.sent, sent);
        assert!(
            stats.delivered + stats.dropped >= sent,
            "none is lost: {stats:?}"
        );
    }
}
