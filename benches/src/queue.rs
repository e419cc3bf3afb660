//! Durable queues under load, whoever keeps them.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{Result, VALUE, load::micros, stats::Waits};

/// How long a receive waits for the first message.
pub(crate) const WAIT: Duration = Duration::from_millis(200);

/// How long a round may last that acknowledges nothing: a disk may stand still for a moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// A queue that answers a send or an ack once it is on the disk.
pub trait Queue: Clone + Send + Sync + 'static {
    /// A message in a consumer's hands.
    type Leased: Send;

    /// Sends one message.
    fn send(&self, payload: Bytes) -> impl Future<Output = Result<()>> + Send;

    /// Leases up to `max` messages, waiting a while for the first.
    fn receive(&self, max: usize) -> impl Future<Output = Result<Vec<Self::Leased>>> + Send;

    /// Acknowledges what was leased.
    fn ack(&self, leased: Vec<Self::Leased>) -> impl Future<Output = Result<()>> + Send;

    /// The content of a message.
    fn payload(leased: &Self::Leased) -> &[u8];

    /// A handle for one more consumer.
    fn consumer(&self) -> impl Future<Output = Result<Self>> + Send {
        async { Ok(self.clone()) }
    }
}

/// How many send and receive.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Each sends one message after the other.
    pub producers: u64,
    /// Each leases and acknowledges up to `lease` at a time.
    pub consumers: u64,
    /// The most messages of one receive.
    pub lease: usize,
}

/// Messages per second that are sent, received and acknowledged while all do so.
///
/// # Errors
/// The first error of anyone.
pub async fn throughput<Q: Queue>(queue: &Q, crowd: Crowd, time: Duration) -> Result<f64> {
    let (over, acked) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let mut tasks = Vec::new();
    for _ in 0..crowd.producers {
        tasks.push(tokio::spawn(produce(queue.clone(), Arc::clone(&over))));
    }
    for _ in 0..crowd.consumers {
        let (queue, over, acked) = (queue.consumer().await?, Arc::clone(&over), acked.clone());
        tasks.push(tokio::spawn(consume(queue, crowd.lease, over, acked)));
    }
    tokio::time::sleep(time / 4).await;
    let (begun, before) = (Instant::now(), acked.load(Ordering::Relaxed));
    let count = loop {
        // sleep: what is measured is how much is done meanwhile
        tokio::time::sleep(time).await;
        let count = acked.load(Ordering::Relaxed) - before;
        if count > 0 || begun.elapsed() > PATIENCE {
            break count;
        }
    };
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await??;
    }
    drain(queue, crowd.lease).await?;
    Ok(rate)
}

async fn produce<Q: Queue>(queue: Q, over: Arc<AtomicBool>) -> Result<()> {
    let payload = Bytes::from(vec![b'x'; VALUE]);
    while !over.load(Ordering::Relaxed) {
        queue.send(payload.clone()).await?;
    }
    Ok(())
}

async fn consume<Q: Queue>(
    queue: Q,
    lease: usize,
    over: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
) -> Result<()> {
    while !over.load(Ordering::Relaxed) {
        let leased = queue.receive(lease).await?;
        let count = leased.len() as u64;
        if count > 0 {
            queue.ack(leased).await?;
        }
        acked.fetch_add(count, Ordering::Relaxed);
    }
    Ok(())
}

/// Empties the queue, so that each round begins with the same.
async fn drain<Q: Queue>(queue: &Q, lease: usize) -> Result<()> {
    loop {
        let leased = queue.receive(lease).await?;
        if leased.is_empty() {
            return Ok(());
        }
        queue.ack(leased).await?;
    }
}

/// From before a send until the waiting consumer has the message, for `count` messages that are
/// sent every `interval`, whether or not the one before has been accepted.
///
/// # Errors
/// The first error of anyone.
pub async fn latency<Q: Queue>(queue: &Q, count: usize, interval: Duration) -> Result<Waits> {
    let clock = Instant::now();
    let receiver = tokio::spawn(note_arrivals(queue.consumer().await?, clock, count));
    let mut tick = tokio::time::interval(interval);
    let mut sends = Vec::with_capacity(count);
    for _ in 0..count {
        tick.tick().await;
        let queue = queue.clone();
        sends.push(tokio::spawn(async move {
            let mut payload = vec![b'x'; VALUE];
            let now = micros(clock.elapsed());
            payload[..8].copy_from_slice(&now.to_le_bytes());
            queue.send(payload.into()).await
        }));
    }
    for send in sends {
        send.await??;
    }
    Ok(Waits::of(receiver.await??))
}

async fn note_arrivals<Q: Queue>(queue: Q, clock: Instant, count: usize) -> Result<Vec<f64>> {
    let mut waits = Vec::with_capacity(count);
    while waits.len() < count {
        let leased = queue.receive(16).await?;
        let now = micros(clock.elapsed());
        for message in &leased {
            let stamp = Q::payload(message).first_chunk().ok_or("no time in it")?;
            waits.push(now - f64::from_le_bytes(*stamp));
        }
        if !leased.is_empty() {
            queue.ack(leased).await?;
        }
    }
    Ok(waits)
}
