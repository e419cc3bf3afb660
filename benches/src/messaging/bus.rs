//! The bus beside tokio's broadcast channel.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use statehouse_contracts::{Message, Pattern, Topic};
use statehouse_messaging::{Bus, Subscribe, Subscription};
use tokio::sync::broadcast::channel;

use super::{Timed, message, single};
use crate::Result;

/// Messages in the buffers at once: below the capacity of either side, so that nothing is lost.
const BATCH: u64 = 64;

/// Subscriptions beside those that are published to.
const OTHERS: usize = 10_000;

/// Publishes `messages`, in batches that are drained by who listens; the time of it.
async fn publish(
    messages: u64,
    subscribers: u64,
    heard: &AtomicU64,
    mut publish: impl FnMut() -> Result<()>,
) -> Result<Duration> {
    let before = heard.load(Ordering::Relaxed);
    let start = Instant::now();
    for sent in 1..=messages {
        publish()?;
        if sent % BATCH == 0 || sent == messages {
            while heard.load(Ordering::Relaxed) - before < sent * subscribers {
                tokio::task::yield_now().await;
            }
        }
    }
    Ok(start.elapsed())
}

/// A message of 1 KiB by a channel without any matching, until all receivers have it.
///
/// # Errors
/// When there is no runtime to be had.
pub fn broadcast(subscribers: u64) -> Result<Timed> {
    let (runtime, heard) = (single()?, Arc::new(AtomicU64::new(0)));
    let (sender, _) = channel::<Arc<Message>>(128);
    for _ in 0..subscribers {
        let (mut receiver, heard) = (sender.subscribe(), Arc::clone(&heard));
        runtime.spawn(async move {
            while receiver.recv().await.is_ok() {
                heard.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let message = Arc::new(message("hot.topic.done")?);
    Ok(Box::new(move |messages| {
        let send = || Ok(sender.send(Arc::clone(&message)).map(drop)?);
        runtime.block_on(publish(messages, subscribers, &heard, send))
    }))
}

/// The same by the bus: a pattern of each subscriber, and 10,000 other subscriptions.
///
/// # Errors
/// Those of the bus.
pub fn bus(subscribers: u64) -> Result<Timed> {
    let message = Arc::new(message("hot.topic.done")?);
    bus_with(subscribers, move || Arc::clone(&message))
}

/// The same, where each message is made for it.
///
/// # Errors
/// Those of the bus.
pub fn bus_making_messages(subscribers: u64) -> Result<Timed> {
    let message = message("hot.topic.done")?;
    let made = move || Message::new(message.topic.clone(), message.payload.clone()).into();
    bus_with(subscribers, made)
}

fn bus_with(subscribers: u64, make: impl Fn() -> Arc<Message> + 'static) -> Result<Timed> {
    let (runtime, heard) = (single()?, Arc::new(AtomicU64::new(0)));
    let (bus, others) = crowded()?;
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
    Ok(Box::new(move |messages| {
        black_box(&others);
        let send = || Ok(bus.publish(make()).map(drop)?);
        runtime.block_on(publish(messages, subscribers, &heard, send))
    }))
}

/// Finding who hears a topic among 10,000 subscriptions.
///
/// # Errors
/// Those of the bus.
pub fn matching() -> Result<Timed> {
    let (bus, others) = crowded()?;
    let topics: Vec<Topic> = (0..1_000)
        .map(|n| Topic::new(format!("team-{}.agent-{n}.step", n % 100)))
        .collect::<std::result::Result<_, _>>()?;
    Ok(Box::new(move |times| {
        black_box(&others);
        let mut next = topics.iter().cycle();
        let start = Instant::now();
        for _ in 0..times {
            black_box(next.next().map(|topic| bus.listeners(topic)));
        }
        Ok(start.elapsed())
    }))
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
