//! The clients: each goes on through every kill, and writes down what was acknowledged.

use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{
    Backend, Backoff, ClaimRequest, Consumer, ContentType, ErrorKind, GroupName, GroupSpec, Kind,
    Message, NewTask, OpId, Pattern, Payload, Precondition, Producer, ProducerExt, Push, Receive,
    StackName, StateKey, StateManager, TaskStack, TaskStackExt, Topic, Transaction, WorkerName,
    Write,
};
use statehouse_state::StateEvent;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ledger::Ledger;
use crate::server::{Server, scope};

pub(crate) struct Clients {
    stop: CancellationToken,
    running: JoinSet<()>,
}

/// How many clients of each sort there are.
const EACH: usize = 4;
/// The leases of messages and tasks: short, so that what a kill leaves leased comes back soon.
pub(crate) const LEASE: Duration = Duration::from_millis(500);

pub(crate) fn jobs() -> GroupName {
    GroupName::new("jobs").unwrap()
}

pub(crate) fn events() -> GroupName {
    GroupName::new("events").unwrap()
}

pub(crate) fn stack() -> StackName {
    StackName::new("work").unwrap()
}

impl Clients {
    pub(crate) async fn start(server: &Server, ledger: &Arc<Ledger>) -> Self {
        let backend = server.connect().await;
        declare(&*backend).await;
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        for number in 0..EACH {
            let (state, producer) = (
                backend.state(&scope()).await.unwrap(),
                backend.producer(&scope()).await.unwrap(),
            );
            let tasks = backend.tasks(&scope()).await.unwrap();
            let consumer = backend.consumer(&scope()).await.unwrap();
            running.spawn(write(state, number, Arc::clone(ledger), stop.clone()));
            running.spawn(send(producer, number, Arc::clone(ledger), stop.clone()));
            running.spawn(push(tasks.clone(), Arc::clone(ledger), stop.clone()));
            running.spawn(work(tasks, Arc::clone(ledger), stop.clone()));
            running.spawn(receive(consumer.clone(), Arc::clone(ledger), stop.clone()));
            if number == 0 {
                running.spawn(listen(consumer, Arc::clone(ledger), stop.clone()));
            }
        }
        Self { stop, running }
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended.unwrap();
        }
    }
}

async fn declare(backend: &dyn Backend) {
    let consumer = backend.consumer(&scope()).await.unwrap();
    for (group, pattern) in [(jobs(), "jobs.#"), (events(), "state.#")] {
        let spec = GroupSpec {
            max_deliveries: 10_000,
            lease: LEASE,
            backoff: Backoff::NONE,
            ..GroupSpec::new(Pattern::new(pattern).unwrap())
        };
        consumer.declare(&group, &spec).await.unwrap();
    }
}

/// A moment's rest while the service is away.
async fn rest() {
    // sleep: the pause of a client between two attempts.
    tokio::time::sleep(Duration::from_millis(5)).await;
}

/// Each writer has its own keys and knows their versions. What a kill left unclear is asked again
/// under the same op_id.
async fn write(
    state: Arc<dyn StateManager>,
    number: usize,
    ledger: Arc<Ledger>,
    stop: CancellationToken,
) {
    let mut versions = [0_u64; 8];
    let mut count = 0_u64;
    while !stop.is_cancelled() {
        let slot = count as usize % versions.len();
        let key = StateKey::parse("task", &format!("{number}-{slot}")).unwrap();
        let data = format!("{number}-{count}");
        let when = match versions[slot] {
            0 => Precondition::Absent,
            version => Precondition::Version(version),
        };
        let write = Write::put(key.clone(), data.clone(), ContentType::TEXT).when(when);
        let op_id = Some(OpId::random());
        let transaction = Transaction {
            op_id,
            messages: vec![job()],
            ..Transaction::of(write)
        };
        let message = transaction.messages[0].id;
        let applied = loop {
            match state.apply(transaction.clone()).await {
                Ok(applied) => break applied,
                Err(error) if error.kind() == ErrorKind::Conflict => panic!("{key}: {error}"),
                Err(_) => rest().await,
            }
        };
        versions[slot] += 1;
        assert_eq!(applied.versions, [versions[slot]], "{key}");
        ledger.wrote(&key, versions[slot], data);
        ledger.sent(message);
        count += 1;
    }
}

fn job() -> Message {
    Message::new(Topic::new("jobs.crash").unwrap(), Payload::text("job"))
}

async fn send(
    producer: Arc<dyn Producer>,
    number: usize,
    ledger: Arc<Ledger>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let mut message = job();
        if number.is_multiple_of(2) {
            message.ordering_key = Some(format!("key-{number}"));
        }
        // The same id until it is answered: accepted once.
        while producer.send_one(message.clone()).await.is_err() {
            rest().await;
        }
        ledger.sent(message.id);
    }
}

pub(crate) async fn receive(
    consumer: Arc<dyn Consumer>,
    ledger: Arc<Ledger>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let Ok(deliveries) = consumer
            .receive(&jobs(), Receive::new(16, Duration::from_millis(100)))
            .await
        else {
            rest().await;
            continue;
        };
        for delivery in &deliveries {
            ledger.delivered(delivery.message().id);
        }
        let settles = deliveries.iter().map(|delivery| delivery.ack()).collect();
        let Ok(answers) = consumer.settle(settles).await else {
            continue;
        };
        for (delivery, answer) in deliveries.iter().zip(answers) {
            if answer.is_ok() {
                ledger.acked(delivery.message().id);
            }
        }
    }
}

pub(crate) async fn listen(
    consumer: Arc<dyn Consumer>,
    ledger: Arc<Ledger>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let Ok(deliveries) = consumer
            .receive(&events(), Receive::new(64, Duration::from_millis(100)))
            .await
        else {
            rest().await;
            continue;
        };
        for delivery in &deliveries {
            let event = StateEvent::parse(delivery.message()).unwrap();
            ledger.event(event.key.to_string(), event.version);
        }
        // An ack that is lost brings the event again, which does no harm.
        let _ = consumer
            .settle(deliveries.iter().map(|delivery| delivery.ack()).collect())
            .await;
    }
}

async fn push(tasks: Arc<dyn TaskStack>, ledger: Arc<Ledger>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let task = NewTask {
            max_attempts: 10_000,
            backoff: Backoff::NONE,
            ..NewTask::new(Kind::new("job").unwrap(), "x", ContentType::TEXT)
        };
        let push = Push {
            stack: stack(),
            tasks: vec![task.clone()],
            parent: None,
            op_id: None,
        };
        while tasks.push(push.clone()).await.is_err() {
            rest().await;
        }
        ledger.pushed(task.id);
    }
}

pub(crate) async fn work(tasks: Arc<dyn TaskStack>, ledger: Arc<Ledger>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let request = ClaimRequest {
            stack: stack(),
            worker: WorkerName::new("crash").unwrap(),
            max: 4,
            lease: LEASE,
            wait: Duration::from_millis(100),
        };
        let Ok(claims) = tasks.claim(request).await else {
            rest().await;
            continue;
        };
        for claim in claims {
            ledger.claimed(&claim.task.id);
            let done = tasks
                .complete(&claim.lease, "done".into(), ContentType::TEXT)
                .await;
            if done.is_ok() {
                ledger.completed(claim.task.id);
            }
        }
    }
}
