//! From a durable send to the consumer that waits for it.

use std::time::Duration;

use super::Settings;
use crate::{
    Result, queue,
    redis::Streams,
    stats::Waits,
    store::Store,
    table::{Goal, Row, Section, Unit},
};

/// 500 a second.
const INTERVAL: Duration = Duration::from_millis(2);

pub(super) async fn run(settings: &Settings) -> Result<Section> {
    let (store, redis) = (Store::open("").await?, Streams::open().await?);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        ours.push(queue::latency(&store, settings.paced, INTERVAL).await?);
        if let Some(redis) = &redis {
            theirs.push(queue::latency(redis, settings.paced, INTERVAL).await?);
        }
    }
    store.close().await?;
    let rows = [(0.5, "p50"), (0.99, "p99")].map(|(share, name)| {
        let [ours, theirs] = [&ours, &theirs].map(|rounds| percentiles(rounds, share));
        let what = format!("500 a second, {name}");
        match &redis {
            Some(_) => Row::compare(&what, Unit::Micros, &ours, ("Redis streams", &theirs)),
            None => Row::alone(&what, Unit::Micros, &ours),
        }
    });
    let [median, tail] = rows;
    Ok(Section {
        title: "A durable message to a waiting consumer",
        about: about(redis.is_some()),
        rows: vec![median.must(Goal::AtMost(1.25)), tail],
    })
}

fn about(redis: bool) -> String {
    let text = "1 KiB messages at a fixed rate, whether or not the one before has been accepted; \
                from before the send until the consumer, which waits in its receive and \
                acknowledges each, has the message.";
    if redis {
        text.to_owned()
    } else {
        format!("{text} **Redis was skipped: `redis-server` is not installed.**")
    }
}

fn percentiles(rounds: &[Waits], share: f64) -> Vec<f64> {
    rounds.iter().map(|waits| waits.percentile(share)).collect()
}
