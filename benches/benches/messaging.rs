//! Messaging in one process: the bus beside tokio's broadcast channel, decisions, shared memory, and
//! what a messenger adds to the memory adapter.
//!
//! ```sh
//! cargo bench -p statehouse-benches --bench messaging
//! ```

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use dashmap::DashMap;
use foldhash::fast::FixedState;
use statehouse_benches::{Result, VALUE};
use statehouse_contracts::{
    Backend, ConsumerExt, Endpoint, Factory, GroupName, Id, Kind, Message, Pattern, Payload,
    ProducerExt, Scope, Topic,
};
use statehouse_messaging::{
    Bus, MailboxOptions, Mailboxes, Messenger, Policy, PolicyManager, PutShared, Requests,
    SharedFeed, SharedMemory, SharedScope, Subscribe, Subscription,
};
use tokio::runtime::Runtime;
use tokio::sync::broadcast;

/// Messages in the buffers at once: below the capacity of either side, so that nothing is lost.
const BATCH: u64 = 64;

/// Subscriptions beside those that are published to.
const OTHERS: usize = 10_000;

/// Publishes `messages`, in batches that are drained by who listens; the time of it.
async fn publish(
    messages: u64,
    subscribers: u64,
    heard: &AtomicU64,
    mut publish: impl FnMut(),
) -> Duration {
    let before = heard.load(Ordering::Relaxed);
    let start = Instant::now();
    for sent in 1..=messages {
        publish();
        if sent % BATCH == 0 || sent == messages {
            while heard.load(Ordering::Relaxed) - before < sent * subscribers {
                tokio::task::yield_now().await;
            }
        }
    }
    start.elapsed()
}

fn single() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    Ok(builder.enable_time().build()?)
}

/// A bus with many subscriptions of many shapes.
fn crowded() -> Result<(Bus, Vec<Subscription>)> {
    let bus = Bus::default();
    let mut others = Vec::with_capacity(OTHERS);
    for n in 0..OTHERS {
        let pattern = match n % 4 {
            0 => format!("job.{n}.done"),
            1 => format!("team-{}.*.agent-{n}", n % 100),
            2 => format!("team-{}.agent-{n}.#", n % 100),
            _ => format!("event.{n}.*"),
        };
        let pattern = Pattern::new(pattern)?;
        others.push(bus.subscribe(Subscribe::new("other", pattern))?);
    }
    Ok((bus, others))
}

fn publishes(criterion: &mut Criterion) -> Result<()> {
    for subscribers in [1_u64, 10, 100] {
        let mut group = criterion.benchmark_group("publish 1 KiB");
        group.throughput(Throughput::Elements(1));
        bench_broadcast(&mut group, subscribers)?;
        bench_bus(&mut group, subscribers)?;
        group.finish();
    }
    Ok(())
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn bench_broadcast(group: &mut Group<'_>, subscribers: u64) -> Result<()> {
    let (runtime, heard) = (single()?, Arc::new(AtomicU64::new(0)));
    let (sender, _) = broadcast::channel::<Bytes>(128);
    for _ in 0..subscribers {
        let (mut receiver, heard) = (sender.subscribe(), Arc::clone(&heard));
        runtime.spawn(async move {
            while receiver.recv().await.is_ok() {
                heard.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let payload = Bytes::from(vec![7; VALUE]);
    group.bench_function(BenchmarkId::new("broadcast", subscribers), |bencher| {
        bencher.iter_custom(|messages| {
            let send = || assert!(sender.send(payload.clone()).is_ok());
            runtime.block_on(publish(messages, subscribers, &heard, send))
        });
    });
    Ok(())
}

fn bench_bus(group: &mut Group<'_>, subscribers: u64) -> Result<()> {
    let (runtime, heard) = (single()?, Arc::new(AtomicU64::new(0)));
    let (bus, _others) = crowded()?;
    for _ in 0..subscribers {
        let heard = Arc::clone(&heard);
        let pattern = Pattern::new("hot.*.done")?;
        let mut subscription = bus.subscribe(Subscribe::new("reader", pattern))?;
        runtime.spawn(async move {
            while subscription.recv().await.is_some() {
                heard.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let message = message("hot.topic.done")?;
    let shared = Arc::new(message.clone());
    group.bench_function(BenchmarkId::new("bus", subscribers), |bencher| {
        bencher.iter_custom(|messages| {
            let send = || assert!(bus.publish(Arc::clone(&shared)).is_ok());
            runtime.block_on(publish(messages, subscribers, &heard, send))
        });
    });
    let id = BenchmarkId::new("bus, message made for it", subscribers);
    group.bench_function(id, |bencher| {
        bencher.iter_custom(|messages| {
            let made = || Message::new(message.topic.clone(), message.payload.clone());
            let send = || assert!(bus.publish(made()).is_ok());
            runtime.block_on(publish(messages, subscribers, &heard, send))
        });
    });
    Ok(())
}

fn message(topic: &str) -> Result<Message> {
    let payload = Payload::bytes(vec![7; VALUE]);
    Ok(Message::new(Topic::new(topic)?, payload))
}

fn matches(criterion: &mut Criterion) -> Result<()> {
    let (bus, _others) = crowded()?;
    let topics: Vec<Topic> = (0..1_000)
        .map(|n| Topic::new(format!("team-{}.agent-{n}.step", n % 100)))
        .collect::<std::result::Result<_, _>>()?;
    let mut next = topics.iter().cycle();
    criterion.bench_function("match against 10,000 subscriptions", |bencher| {
        bencher.iter(|| next.next().map(|topic| bus.listeners(topic)));
    });
    Ok(())
}

fn decisions(criterion: &mut Criterion) -> Result<()> {
    let policies = PolicyManager::default();
    let kinds = [Kind::new("session_state")?, Kind::new("anything_else")?];
    let mut group = criterion.benchmark_group("policy");
    group.bench_function("bytes, no kind", |bencher| {
        bencher.iter(|| policies.place(None, black_box(VALUE)));
    });
    for kind in &kinds {
        group.bench_function(BenchmarkId::new("bytes", kind), |bencher| {
            bencher.iter(|| policies.place(Some(kind), black_box(VALUE)));
        });
    }
    for kib in [8_usize, 1024] {
        let value = serde_json::json!({ "lines": vec!["x".repeat(61); kib * 1024 / 64] });
        group.bench_function(BenchmarkId::new("JSON, KiB", kib), |bencher| {
            bencher.iter(|| policies.place_json(None, &value).is_ok());
        });
    }
    policies.set_default(Policy::AlwaysValue);
    group.finish();
    Ok(())
}

async fn memory() -> Result<(Arc<dyn Backend>, Scope)> {
    let backend = statehouse_memory::Memory
        .open(&Endpoint::parse("memory:")?)
        .await?;
    Ok((backend, Scope::parse("default", "bench")?))
}

fn reads(criterion: &mut Criterion, runtime: &Runtime) -> Result<()> {
    let (backend, scope) = runtime.block_on(memory())?;
    let shared = SharedMemory::new(runtime.block_on(backend.state(&scope))?, "bench")?;
    let feed = runtime.block_on(SharedFeed::start(shared.clone()))?;
    let bare = DashMap::<Id, Arc<Bytes>, FixedState>::default();
    let mut keys = Vec::new();
    for n in 0..1_000 {
        let name = format!("value-{n}");
        let key = shared.key(&SharedScope::Workflow("w1".into()), &name)?;
        runtime.block_on(shared.put(&key, PutShared::new(vec![7; VALUE])))?;
        runtime.block_on(shared.get(&key))?;
        let id = Id::new(format!("workflow/w1/{name}"))?;
        bare.insert(id.clone(), Arc::new(Bytes::from(vec![7; VALUE])));
        keys.push((key, id));
    }
    // What the feed has yet to hear of is read again until it stays.
    for (key, _) in &keys {
        while shared.peek(key).is_none() {
            runtime.block_on(shared.get(key))?;
        }
    }
    let mut group = criterion.benchmark_group("shared memory, read");
    let mut next = keys.iter().cycle();
    group.bench_function("dashmap", |bencher| {
        bencher.iter(|| bare.get(&next.next()?.1).map(|value| Arc::clone(&value)));
    });
    group.bench_function("peek", |bencher| {
        bencher.iter(|| shared.peek(&next.next()?.0));
    });
    group.finish();
    runtime.block_on(feed.stop());
    Ok(())
}

fn sends(criterion: &mut Criterion, runtime: &Runtime) -> Result<()> {
    let (backend, scope) = runtime.block_on(memory())?;
    let producer = runtime.block_on(backend.producer(&scope))?;
    let consumer = runtime.block_on(backend.consumer(&scope))?;
    let policies = Arc::new(PolicyManager::default());
    let messenger = runtime.block_on(Messenger::open(&*backend, &scope, policies))?;
    let mailbox = GroupName::mailbox("bench");
    let mut group = criterion.benchmark_group("inline send, receive, ack");
    group.bench_function("memory adapter", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                producer.send_one(message("mailbox.bench")?).await?;
                let got = consumer.receive_one(&mailbox, Duration::ZERO).await?;
                consumer.ack(&got.ok_or("it was sent")?).await?;
                Result::Ok(())
            })
        });
    });
    group.bench_function("messenger", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                messenger.send(message("mailbox.bench")?).await?;
                let got = messenger.receive_one(&mailbox, Duration::ZERO).await?;
                messenger.ack(&got.ok_or("it was sent")?).await?;
                Result::Ok(())
            })
        });
    });
    group.finish();
    Ok(())
}

fn round_trips(criterion: &mut Criterion) -> Result<()> {
    let runtime = single()?;
    let (backend, scope) = runtime.block_on(memory())?;
    let policies = Arc::new(PolicyManager::default());
    let messenger = runtime.block_on(Messenger::open(&*backend, &scope, policies))?;
    let mail = Mailboxes::new(messenger, MailboxOptions::default());
    let worker = mail.clone();
    runtime.spawn(async move {
        let wait = Duration::from_secs(60);
        while let Ok(Some(asked)) = worker.receive_one("worker", wait).await {
            let payload = asked.message().payload.clone();
            let done = worker.reply(asked.message(), payload).await.is_ok();
            assert!(done && worker.messenger().ack(&asked).await.is_ok());
        }
    });
    let requests = runtime.block_on(Requests::open(mail, "asker"))?;
    criterion.bench_function("request and reply, memory adapter", |bencher| {
        bencher.iter(|| {
            let asked = requests.ask("worker", Payload::bytes(&b"?"[..]));
            assert!(runtime.block_on(asked).is_ok());
        });
    });
    Ok(())
}

fn main() -> Result<()> {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .configure_from_args();
    publishes(&mut criterion)?;
    matches(&mut criterion)?;
    decisions(&mut criterion)?;
    let runtime = Runtime::new()?;
    reads(&mut criterion, &runtime)?;
    sends(&mut criterion, &runtime)?;
    round_trips(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}
