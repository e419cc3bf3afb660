//! A handler's effect happens once, although the broker is killed again and again while it works.
//!
//! RocketMQ gives acknowledged messages out once more after a crash, and senders that do not know
//! what became of a message send it again. Behind an inbox none of that is seen.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use statehouse_contracts::{
    Backoff, Broadcast, Consumer, ConsumerCapability, Declared, Delivery, Endpoint, ErrorKind,
    Factory, GroupName, GroupSpec, Kind, LeaseToken, ListQuery, Message, MessageId, Pattern,
    Payload, Principal, Producer, ProducerExt, QueueAdmin, Receive, Result, Scope, Settle,
    SettleAction, Settled, StateKey, StateManager, Topic, Transaction, Write,
};
use statehouse_integration_tests::{Outcome, Server, Service, Tests, cases};
use statehouse_rocketmq::RocketmqFactory;
use statehouse_sqlite::SqliteFactory;
use statehouse_state::{
    HandlerError, Inbox, MessageContext, MessageHandler, MessageProcessor, MessageProcessorOptions,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often the broker is killed.
const KILLS: usize = 20;

/// How many more messages each group is done with before each kill.
const BETWEEN: usize = 50;

/// How many messages senders may be ahead of the slowest group.
const AHEAD: usize = 100;

/// The groups; each has a handler of its own.
const GROUPS: [&str; 2] = ["ledger", "index"];

/// What senders are told while the broker is away.
const AWAY: [ErrorKind; 3] = [
    ErrorKind::Unavailable,
    ErrorKind::Timeout,
    ErrorKind::Overloaded,
];

/// How long it may take until everything has come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker in Java is started twenty times, perhaps on a busy machine.
const LIMIT: Duration = Duration::from_secs(1200);

fn main() -> ExitCode {
    Tests::of_adapter("rocketmq")
        .with(cases![effects_happen_once_through_twenty_kills])
        .within(LIMIT)
        .main()
}

/// The effect of a message: one more `x` behind what is kept under its number.
#[derive(Debug)]
struct Handler {
    kind: Kind,
    runs: Arc<AtomicUsize>,
}

#[async_trait]
impl MessageHandler for Handler {
    async fn handle(
        &self,
        context: MessageContext,
    ) -> std::result::Result<Transaction, HandlerError> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let number = String::from_utf8_lossy(context.delivery.message().bytes()).into_owned();
        let key = StateKey::parse(self.kind.as_str(), &number)?;
        Ok(Transaction::of(Write::append(key, "x")))
    }
}

type Seen = (GroupName, MessageId);

/// What a consumer handed out, and what of it was acknowledged.
#[derive(Debug, Default)]
struct Log {
    in_hand: HashMap<LeaseToken, Seen>,
    delivered: BTreeMap<Seen, u64>,
    acknowledged: BTreeSet<Seen>,
    /// How many deliveries there were of messages that had been acknowledged.
    after_ack: u64,
}

/// A consumer that keeps a log.
#[derive(Debug)]
struct Witness {
    inner: Arc<dyn Consumer>,
    log: Mutex<Log>,
}

impl Witness {
    /// With how many messages every group is done, by their acks.
    fn done(&self) -> usize {
        let log = self.log.lock();
        let of = |group: &str| {
            let acknowledged = log.acknowledged.iter();
            acknowledged
                .filter(|(name, _)| name.as_str() == group)
                .count()
        };
        GROUPS.into_iter().map(of).min().unwrap_or_default()
    }
}

#[async_trait]
impl Consumer for Witness {
    fn capability(&self) -> ConsumerCapability {
        self.inner.capability()
    }

    async fn declare(&self, group: &GroupName, spec: &GroupSpec) -> Result<Declared> {
        self.inner.declare(group, spec).await
    }

    async fn receive(&self, group: &GroupName, receive: Receive) -> Result<Vec<Delivery>> {
        let received = self.inner.receive(group, receive).await?;
        let mut log = self.log.lock();
        for delivery in &received {
            let seen = (group.clone(), delivery.message().id);
            log.after_ack += u64::from(log.acknowledged.contains(&seen));
            *log.delivered.entry(seen.clone()).or_default() += 1;
            log.in_hand.insert(delivery.lease.token.clone(), seen);
        }
        Ok(received)
    }

    async fn settle(&self, batch: Vec<Settle>) -> Result<Vec<Result<Settled>>> {
        let acks: Vec<Option<LeaseToken>> = batch
            .iter()
            .map(|settle| (settle.action == SettleAction::Ack).then(|| settle.token.clone()))
            .collect();
        let answers = self.inner.settle(batch).await?;
        let mut log = self.log.lock();
        for (ack, answer) in acks.into_iter().zip(&answers) {
            if let (Some(token), Ok(_)) = (ack, answer)
                && let Some(seen) = log.in_hand.remove(&token)
            {
                log.acknowledged.insert(seen);
            }
        }
        Ok(answers)
    }

    async fn broadcast(&self, pattern: &Pattern) -> Result<Box<dyn Broadcast>> {
        self.inner.broadcast(pattern).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

/// Nothing here looks after groups.
impl QueueAdmin for Witness {}

/// What senders have seen.
#[derive(Debug, Default)]
struct Sent {
    accepted: Mutex<BTreeSet<String>>,
    /// How many sends failed, and were repeated.
    repeats: AtomicU64,
}

async fn effects_happen_once_through_twenty_kills(service: &'static Service) -> Outcome {
    let folder = tempfile::tempdir()?;
    let server = Server::start(service).await?;
    let broker = RocketmqFactory
        .open(&Endpoint::parse(server.url())?)
        .await?;
    let file = format!("sqlite:{}", folder.path().join("state.db").display());
    let store = SqliteFactory.open(&Endpoint::parse(&file)?).await?;
    let scope = Scope::new("default".parse()?, Principal::new("worker")?);
    let state = store.state(&scope).await?;
    let witness = Arc::new(Witness {
        inner: broker.consumer(&scope).await?,
        log: Mutex::default(),
    });
    let runs = Arc::new(AtomicUsize::new(0));
    let (stop_sending, stop_working) = (CancellationToken::new(), CancellationToken::new());
    let mut workers = Vec::new();
    for group in GROUPS {
        workers.push(work(&witness, &state, group, &runs, &stop_working).await?);
    }
    let sent = Arc::new(Sent::default());
    let mut senders = Vec::new();
    for sender in 0..4 {
        let producer = broker.producer(&scope).await?;
        let (sent, witness) = (sent.clone(), witness.clone());
        let send = send(producer, sender, sent, witness, stop_sending.clone());
        senders.push(tokio::spawn(send));
    }

    let begun = Instant::now();
    for kill in 0..KILLS {
        reached(&witness, witness.done() + BETWEEN, kill).await?;
        server.kill().await?;
        server.restart().await?;
    }
    stop_sending.cancel();
    join(senders).await?;
    let accepted = sent.accepted.lock().clone();
    for group in GROUPS {
        all_happened(&*state, group, &accepted).await?;
    }
    stop_working.cancel();
    join(workers).await?;
    for group in GROUPS {
        happened_once(&*state, group, &accepted).await?;
    }
    report(&witness, &sent, &runs, begun.elapsed());
    broker.close().await?;
    store.close().await?;
    Ok(())
}

/// Lets a group's messages be handled.
async fn work(
    witness: &Arc<Witness>,
    state: &Arc<dyn StateManager>,
    group: &str,
    runs: &Arc<AtomicUsize>,
    stop: &CancellationToken,
) -> Result<JoinHandle<()>> {
    let name = GroupName::new(group)?;
    let spec = GroupSpec {
        lease: Duration::from_secs(2),
        backoff: Backoff::NONE,
        max_deliveries: 1_000,
        ..GroupSpec::new(Pattern::ALL)
    };
    witness.declare(&name, &spec).await?;
    let handler = Handler {
        kind: Kind::new(group)?,
        runs: runs.clone(),
    };
    let options = MessageProcessorOptions {
        concurrency: 8,
        lease: spec.lease,
        backoff: Duration::from_millis(200),
        ..MessageProcessorOptions::new(name)
    };
    let inbox = Inbox::new(state.clone(), Inbox::REMEMBER)?;
    let processor = MessageProcessor::new(witness.clone(), inbox, handler, options);
    Ok(tokio::spawn(processor.run(stop.clone())))
}

/// Sends, half of it with an ordering key, until told to stop; each message until it is accepted.
async fn send(
    producer: Arc<dyn Producer>,
    sender: usize,
    sent: Arc<Sent>,
    witness: Arc<Witness>,
    stop: CancellationToken,
) {
    let mut number = 0;
    while !stop.is_cancelled() {
        if sent.accepted.lock().len() > witness.done() + AHEAD {
            // sleep: the handlers catch up
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        let text = format!("{sender}-{number}");
        let message = Message {
            ordering_key: (number % 2 == 0).then(|| format!("key-{sender}")),
            ..Message::new(
                Topic::new("work").expect("a topic"),
                Payload::text(text.clone()),
            )
        };
        while let Err(error) = producer.send_one(message.clone()).await {
            sent.repeats.fetch_add(1, Ordering::Relaxed);
            let kind = error.kind();
            assert!(error.is_ambiguous() || AWAY.contains(&kind), "{error}");
            // sleep: as long as a caller would leave the broker alone
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        sent.accepted.lock().insert(text);
        number += 1;
    }
}

/// Waits until every group is done with so many messages.
async fn reached(witness: &Witness, goal: usize, kill: usize) -> Outcome {
    let end = Instant::now() + PATIENCE;
    while witness.done() < goal {
        if Instant::now() > end {
            return Err(format!("after {kill} kills nothing is handled any more").into());
        }
        // sleep: the pause between two looks
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn all_happened(
    state: &dyn StateManager,
    group: &str,
    accepted: &BTreeSet<String>,
) -> Outcome {
    let end = Instant::now() + PATIENCE;
    loop {
        let happened = effects(state, group).await?;
        let missing = |text: &&String| !happened.contains_key(*text);
        let missing: Vec<&String> = accepted.iter().filter(missing).collect();
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            let some = &missing[..missing.len().min(5)];
            return Err(format!("{group}: {} are missing: {some:?} …", missing.len()).into());
        }
        // sleep: the pause between two looks
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn happened_once(
    state: &dyn StateManager,
    group: &str,
    accepted: &BTreeSet<String>,
) -> Outcome {
    let happened = effects(state, group).await?;
    let numbers: BTreeSet<String> = happened.keys().cloned().collect();
    if numbers != *accepted {
        return Err(format!("{group}: there are effects of what was not sent").into());
    }
    let twice: Vec<&String> = happened
        .iter()
        .filter(|(_, times)| **times != 1)
        .map(|(text, _)| text)
        .collect();
    if !twice.is_empty() {
        return Err(format!("{group}: not once: {twice:?}").into());
    }
    Ok(())
}

/// How often the effect of each message happened.
async fn effects(state: &dyn StateManager, group: &str) -> Result<BTreeMap<String, usize>> {
    let mut happened = BTreeMap::new();
    let mut query = ListQuery::new(Kind::new(group)?);
    loop {
        let page = state.list(query.clone()).await?;
        for record in page.items {
            happened.insert(record.key.id.to_string(), record.data.len());
        }
        query.after = page.next;
        if query.after.is_none() {
            return Ok(happened);
        }
    }
}

async fn join(tasks: Vec<JoinHandle<()>>) -> Outcome {
    for task in tasks {
        task.await?;
    }
    Ok(())
}

fn report(witness: &Witness, sent: &Sent, runs: &AtomicUsize, took: Duration) {
    let log = witness.log.lock();
    let deliveries: u64 = log.delivered.values().sum();
    eprintln!(
        "{KILLS} kills in {took:.1?}: {} messages accepted, {} sends repeated; {} groups got {} \
         messages in {deliveries} deliveries, {} of them after their ack; handlers ran {} times",
        sent.accepted.lock().len(),
        sent.repeats.load(Ordering::Relaxed),
        GROUPS.len(),
        log.delivered.len(),
        log.after_ack,
        runs.load(Ordering::Relaxed),
    );
}
