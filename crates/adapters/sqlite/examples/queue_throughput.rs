//! Measures durable messages: the adapter beside a bare rusqlite writer thread with group commit
//! that keeps messages in the same sort of tables, in one run.
//!
//! ```sh
//! cargo run --release -p statehouse-sqlite --example queue_throughput -- [seconds]
//! ```
//!
//! 256 producers send 1 KiB messages, each waiting for one before the next; 4 consumers lease up
//! to 256 at a time and acknowledge them together. Then a message at a time is sent 500 times a
//! second to a waiting consumer. Then what a receive and its ack cost is measured at two depths.

use std::{
    env,
    error::Error,
    fs,
    future::Future,
    io::{self, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rusqlite::Connection;
use statehouse_contracts::{
    Backend, Consumer, ConsumerExt, Delivery, Endpoint, Factory, GroupName, GroupSpec, Message,
    Pattern, Payload, Producer, ProducerExt, Receive, Scope, SendOptions, Topic,
};
use statehouse_sqlite::SqliteFactory;
use tokio::sync::{Notify, oneshot};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const PRODUCERS: u64 = 256;
const CONSUMERS: u64 = 4;
const LEASE_AT_ONCE: usize = 256;
const SIZE: usize = 1024;
const ROUNDS: usize = 5;

/// What is measured.
trait Queue: Clone + Send + Sync + 'static {
    type Leased: Send;
    fn send(&self, payload: Bytes) -> impl Future<Output = Result<()>> + Send;
    fn receive(&self) -> impl Future<Output = Result<Vec<Self::Leased>>> + Send;
    fn ack(&self, leased: Vec<Self::Leased>) -> impl Future<Output = Result<()>> + Send;
}

/// The adapter.
#[derive(Clone)]
struct Ours {
    backend: Arc<dyn Backend>,
    producer: Arc<dyn Producer>,
    consumer: Arc<dyn Consumer>,
    group: GroupName,
    topic: Topic,
}

impl Ours {
    async fn open(path: &Path) -> Result<Self> {
        let endpoint = Endpoint::parse(&format!("sqlite:{}", path.display()))?;
        let backend = SqliteFactory.open(&endpoint).await?;
        let scope = Scope::parse("default", "bench")?;
        let consumer = backend.consumer(&scope).await?;
        let (group, topic) = (GroupName::new("g")?, Topic::new("bench.t")?);
        let spec = GroupSpec::new(Pattern::from(topic.clone()));
        consumer.declare(&group, &spec).await?;
        Ok(Self {
            producer: backend.producer(&scope).await?,
            consumer,
            backend,
            group,
            topic,
        })
    }

    fn message(&self, payload: Bytes) -> Message {
        Message::new(self.topic.clone(), Payload::bytes(payload))
    }
}

impl Queue for Ours {
    type Leased = Delivery;

    async fn send(&self, payload: Bytes) -> Result<()> {
        self.producer.send_one(self.message(payload)).await?;
        Ok(())
    }

    async fn receive(&self) -> Result<Vec<Delivery>> {
        let receive = Receive::new(LEASE_AT_ONCE, Duration::from_millis(200));
        Ok(self.consumer.receive(&self.group, receive).await?)
    }

    async fn ack(&self, leased: Vec<Delivery>) -> Result<()> {
        let acks = leased.iter().map(Delivery::ack).collect();
        for settled in self.consumer.settle(acks).await? {
            settled?;
        }
        Ok(())
    }
}

const TABLES: &str = "
    PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;
    CREATE TABLE message (
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, id BLOB NOT NULL, payload BLOB NOT NULL);
    CREATE TABLE ready (
        grp INTEGER NOT NULL, rank INTEGER NOT NULL, due INTEGER NOT NULL, seq INTEGER NOT NULL,
        attempts INTEGER NOT NULL, PRIMARY KEY (grp, rank, due, seq)) WITHOUT ROWID;
    CREATE TABLE leased (
        grp INTEGER NOT NULL, deadline INTEGER NOT NULL, seq INTEGER NOT NULL,
        attempts INTEGER NOT NULL, PRIMARY KEY (grp, deadline, seq)) WITHOUT ROWID;
    CREATE TABLE accepted (id BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;";

enum Call {
    Send(Bytes, oneshot::Sender<()>),
    Receive(oneshot::Sender<Vec<(i64, Vec<u8>)>>),
    Ack(Vec<i64>, oneshot::Sender<()>),
}

enum Answer {
    Done(oneshot::Sender<()>),
    Leased(oneshot::Sender<Vec<(i64, Vec<u8>)>>, Vec<(i64, Vec<u8>)>),
}

/// The least that a durable queue with leases needs; with `dedup` it also remembers ids.
#[derive(Clone)]
struct Bare {
    calls: mpsc::Sender<Call>,
    sent: Arc<Notify>,
}

impl Bare {
    fn open(path: &Path, dedup: bool) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch(TABLES)?;
        let (calls, inbox) = mpsc::channel();
        let sent = Arc::new(Notify::new());
        let signal = Arc::clone(&sent);
        thread::Builder::new()
            .name("bare-writer".to_owned())
            .spawn(move || bare_writer(&connection, &inbox, &signal, dedup))?;
        Ok(Self { calls, sent })
    }
}

fn bare_writer(
    connection: &Connection,
    inbox: &mpsc::Receiver<Call>,
    signal: &Notify,
    dedup: bool,
) -> rusqlite::Result<()> {
    while let Ok(first) = inbox.recv() {
        let mut answers = Vec::new();
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
        let mut next = Some(first);
        while let Some(call) = next {
            answers.push(bare_call(connection, call, dedup)?);
            next = inbox.try_recv().ok();
        }
        connection.prepare_cached("COMMIT")?.execute(())?;
        for answer in answers {
            match answer {
                Answer::Done(reply) => drop(reply.send(())),
                Answer::Leased(reply, messages) => drop(reply.send(messages)),
            }
        }
        signal.notify_waiters();
    }
    Ok(())
}

fn bare_call(connection: &Connection, call: Call, dedup: bool) -> rusqlite::Result<Answer> {
    match call {
        Call::Send(payload, reply) => {
            let id = *uuid::Uuid::now_v7().as_bytes();
            if dedup {
                connection
                    .prepare_cached("INSERT INTO accepted (id, at) VALUES (?1, 0)")?
                    .execute((id,))?;
            }
            connection
                .prepare_cached("INSERT INTO message (at, id, payload) VALUES (0, ?1, ?2)")?
                .execute((id, &payload[..]))?;
            let seq = connection.last_insert_rowid();
            connection
                .prepare_cached(
                    "INSERT INTO ready (grp, rank, due, seq, attempts) VALUES (1, 7, ?1, ?1, 0)",
                )?
                .execute((seq,))?;
            Ok(Answer::Done(reply))
        }
        Call::Receive(reply) => {
            let messages: Vec<(i64, Vec<u8>)> = connection
                .prepare_cached(
                    "SELECT r.seq, m.payload FROM ready r JOIN message m ON m.seq = r.seq
                     WHERE r.grp = 1 ORDER BY r.rank, r.due, r.seq LIMIT ?1",
                )?
                .query_map((LEASE_AT_ONCE as i64,), |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?
                .collect::<rusqlite::Result<_>>()?;
            for (seq, _) in &messages {
                connection
                    .prepare_cached(
                        "DELETE FROM ready WHERE grp = 1 AND rank = 7 AND due = ?1 AND seq = ?1",
                    )?
                    .execute((seq,))?;
                connection
                    .prepare_cached(
                        "INSERT INTO leased (grp, deadline, seq, attempts) VALUES (1, 0, ?1, 1)",
                    )?
                    .execute((seq,))?;
            }
            Ok(Answer::Leased(reply, messages))
        }
        Call::Ack(seqs, reply) => {
            for seq in seqs {
                connection
                    .prepare_cached(
                        "DELETE FROM leased WHERE grp = 1 AND deadline = 0 AND seq = ?1",
                    )?
                    .execute((seq,))?;
                connection
                    .prepare_cached("DELETE FROM message WHERE seq = ?1")?
                    .execute((seq,))?;
            }
            Ok(Answer::Done(reply))
        }
    }
}

impl Queue for Bare {
    type Leased = i64;

    async fn send(&self, payload: Bytes) -> Result<()> {
        let (reply, done) = oneshot::channel();
        self.calls.send(Call::Send(payload, reply))?;
        Ok(done.await?)
    }

    async fn receive(&self) -> Result<Vec<i64>> {
        let sent = self.sent.notified();
        let (reply, done) = oneshot::channel();
        self.calls.send(Call::Receive(reply))?;
        let messages = done.await?;
        if messages.is_empty() {
            // The deadline is the caller's; either way it asks again.
            let _ = tokio::time::timeout(Duration::from_millis(200), sent).await;
        }
        Ok(messages.into_iter().map(|(seq, _)| seq).collect())
    }

    async fn ack(&self, leased: Vec<i64>) -> Result<()> {
        let (reply, done) = oneshot::channel();
        self.calls.send(Call::Ack(leased, reply))?;
        Ok(done.await?)
    }
}

/// The processor time that all writer threads have had, where the system tells. It says more than
/// the rate on a machine that does other things as well.
fn writer_time() -> Duration {
    const PER_TICK: Duration = Duration::from_millis(10);
    let Ok(threads) = fs::read_dir("/proc/self/task") else {
        return Duration::ZERO;
    };
    let ticks = |thread: fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("stat")).ok()?;
        let (name, rest) = stat.split_once(") ")?;
        if !name.ends_with("-writer") {
            return None;
        }
        let times: Vec<u32> = rest
            .split(' ')
            .skip(11)
            .take(2)
            .filter_map(|ticks| ticks.parse().ok())
            .collect();
        Some(times.iter().sum::<u32>())
    };
    PER_TICK * threads.flatten().filter_map(ticks).sum::<u32>()
}

/// What was measured at once: messages per second that were sent, received and acknowledged, and
/// the writer's processor time for each, in microseconds.
#[derive(Clone, Copy)]
struct Rate {
    per_second: f64,
    writer_micros: f64,
}

async fn throughput<Q: Queue>(queue: &Q, time: Duration) -> Result<Rate> {
    let payload = Bytes::from(vec![b'x'; SIZE]);
    let (over, acked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut tasks = Vec::new();
    for _ in 0..PRODUCERS {
        let (queue, payload, over) = (queue.clone(), payload.clone(), Arc::clone(&over));
        tasks.push(tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                queue.send(payload.clone()).await?;
            }
            Ok::<_, Box<dyn Error + Send + Sync>>(())
        }));
    }
    for _ in 0..CONSUMERS {
        let (queue, over, acked) = (queue.clone(), Arc::clone(&over), Arc::clone(&acked));
        tasks.push(tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let leased = queue.receive().await?;
                let count = leased.len() as u64;
                if count > 0 {
                    queue.ack(leased).await?;
                }
                acked.fetch_add(count, Ordering::Relaxed);
            }
            Ok(())
        }));
    }
    tokio::time::sleep(time / 4).await;
    let (begun, before) = (Instant::now(), acked.load(Ordering::Relaxed));
    let worked = writer_time();
    tokio::time::sleep(time).await;
    let count = (acked.load(Ordering::Relaxed) - before) as f64;
    let rate = Rate {
        per_second: count / begun.elapsed().as_secs_f64(),
        writer_micros: (writer_time() - worked).as_micros() as f64 / count,
    };
    over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await??;
    }
    Ok(rate)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn describe(what: &str, rates: &[Rate]) -> String {
    let all = || rates.iter().map(|rate| rate.per_second);
    let (low, high) = all().fold((f64::MAX, 0_f64), |(low, high), rate| {
        (low.min(rate), high.max(rate))
    });
    format!(
        "{what:<14} {:>7.0} msg/s ({low:.0} to {high:.0}), writer {:.1} us each",
        median(all()),
        median(rates.iter().map(|rate| rate.writer_micros))
    )
}

fn percentile(micros: &[u64], share: f64) -> f64 {
    micros[((micros.len() - 1) as f64 * share) as usize] as f64 / 1e3
}

/// From before the send until the waiting consumer has the message.
async fn latency(queue: &Ours, count: u64) -> Result<Vec<u64>> {
    let receiver = queue.clone();
    let clock = Instant::now();
    let task = tokio::spawn(async move {
        let mut micros = Vec::new();
        while (micros.len() as u64) < count {
            for delivery in receiver.receive().await? {
                let sent: [u8; 8] = delivery.message().bytes()[..8].try_into()?;
                let now = u64::try_from(clock.elapsed().as_micros())?;
                micros.push(now - u64::from_le_bytes(sent));
                receiver.consumer.ack(&delivery).await?;
            }
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(micros)
    });
    let mut tick = tokio::time::interval(Duration::from_millis(2));
    for _ in 0..count {
        tick.tick().await;
        let mut payload = vec![b'x'; SIZE];
        let now = u64::try_from(clock.elapsed().as_micros())?;
        payload[..8].copy_from_slice(&now.to_le_bytes());
        queue.send(payload.into()).await?;
    }
    let mut micros = task.await??;
    micros.sort_unstable();
    Ok(micros)
}

/// What one durable insert costs a lone caller, for comparison.
fn bare_insert(path: &Path, count: usize) -> Result<Vec<u64>> {
    let connection = Connection::open(path)?;
    connection.execute_batch(TABLES)?;
    let payload = vec![b'x'; SIZE];
    let mut micros = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        connection
            .prepare_cached("INSERT INTO message (at, id, payload) VALUES (0, x'00', ?1)")?
            .execute((&payload,))?;
        micros.push(u64::try_from(begun.elapsed().as_micros())?);
    }
    micros.sort_unstable();
    Ok(micros)
}

/// The median of a receive of one and its ack, at a depth.
async fn at_depth(queue: &Ours, depth: usize) -> Result<f64> {
    let payload = Bytes::from(vec![b'x'; 64]);
    let mut left = depth;
    while left > 0 {
        let batch: Vec<Message> = (0..left.min(4096))
            .map(|_| queue.message(payload.clone()))
            .collect();
        left -= batch.len();
        for sent in queue.producer.send(batch, SendOptions::default()).await? {
            sent?;
        }
    }
    let mut micros = Vec::new();
    for _ in 0..1000 {
        let begun = Instant::now();
        let receive = Receive::new(1, Duration::ZERO);
        let got = queue.consumer.receive(&queue.group, receive).await?;
        queue.ack(got).await?;
        micros.push(u64::try_from(begun.elapsed().as_micros())?);
    }
    micros.sort_unstable();
    Ok(percentile(&micros, 0.5))
}

#[tokio::main]
async fn main() -> Result<()> {
    let seconds = env::args().nth(1).map_or(Ok(2), |text| text.parse())?;
    let time = Duration::from_secs(seconds);
    let directory = tempfile::tempdir_in(".")?;
    let file = |name: &str| directory.path().join(name);
    let mut out = io::stdout();

    let bare = Bare::open(&file("bare.db"), false)?;
    let with_ids = Bare::open(&file("bare-ids.db"), true)?;
    let queue = Ours::open(&file("ours.db")).await?;
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    // In turns, so that what else the machine does meets all of them.
    for _ in 0..ROUNDS {
        rates[0].push(throughput(&bare, time).await?);
        rates[1].push(throughput(&with_ids, time).await?);
        rates[2].push(throughput(&queue, time).await?);
    }
    for (what, rates) in ["bare", "bare with ids", "adapter"].iter().zip(&rates) {
        writeln!(out, "{}", describe(what, rates))?;
    }
    let against = |bare: usize| {
        let pairs = rates[2].iter().zip(&rates[bare]);
        let speed = median(
            pairs
                .clone()
                .map(|(ours, bare)| ours.per_second / bare.per_second),
        );
        let work = median(pairs.map(|(ours, bare)| bare.writer_micros / ours.writer_micros));
        format!("{speed:.2} ({work:.2} by the writer's work)")
    };
    writeln!(
        out,
        "adapter: {} of bare, {} of bare with ids",
        against(0),
        against(1)
    )?;
    queue.backend.close().await?;

    let inserts = bare_insert(&file("insert.db"), 500)?;
    let queue = Ours::open(&file("latency.db")).await?;
    let micros = latency(&queue, 2500).await?;
    writeln!(
        out,
        "send to waiting consumer, 500/s: p50 {:.2} ms, p99 {:.2} ms; one bare durable insert: p50 \
         {:.2} ms",
        percentile(&micros, 0.5),
        percentile(&micros, 0.99),
        percentile(&inserts, 0.5)
    )?;
    queue.backend.close().await?;

    let queue = Ours::open(&file("depth.db")).await?;
    let shallow = at_depth(&queue, 1_000).await?;
    let deep = at_depth(&queue, 1_000_000).await?;
    writeln!(
        out,
        "receive and ack of one: {shallow:.3} ms at 1,000 pending, {deep:.3} ms at 1,000,000 \
         ({:.2}x)",
        deep / shallow
    )?;
    queue.backend.close().await?;
    Ok(())
}
