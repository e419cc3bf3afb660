//! From a durable send to the consumer that waits for it.

use std::time::Duration;

use super::Settings;
use crate::{
    Result,
    mail::Mail,
    queue,
    redis::Streams,
    stats::Waits,
    store::Store,
    table::{Goal, Row, Section, Unit},
};

/// 500 a second.
const INTERVAL: Duration = Duration::from_millis(2);

pub(super) async fn run(settings: &Settings) -> Result<Section> {
    let (store, mail) = (Store::open("").await?, Mail::open().await?);
    let redis = Streams::open().await?;
    let (mut ours, mut mails, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        ours.push(queue::latency(&store, settings.paced, INTERVAL).await?);
        mails.push(queue::latency(&mail, settings.paced, INTERVAL).await?);
        if let Some(redis) = &redis {
            theirs.push(queue::latency(redis, settings.paced, INTERVAL).await?);
        }
    }
    store.close().await?;
    mail.close().await?;
    let mut rows = Vec::new();
    for (whose, ours) in [("", &ours), (" of a mailbox", &mails)] {
        let theirs = redis.is_some().then_some(&theirs);
        let row = |share, name| row(&format!("500 a second{whose}, {name}"), share, ours, theirs);
        rows.push(row(0.5, "p50").must(Goal::AtMost(1.25)));
        rows.push(row(0.99, "p99"));
    }
    Ok(Section {
        title: "A durable message to a waiting consumer",
        about: about(redis.is_some()),
        rows,
    })
}

/// What a share of the messages of each round did not exceed, beside Redis if it is there.
fn row(what: &str, share: f64, ours: &[Waits], redis: Option<&Vec<Waits>>) -> Row {
    let ours = percentiles(ours, share);
    match redis {
        Some(redis) => {
            let redis = percentiles(redis, share);
            Row::compare(what, Unit::Micros, &ours, ("Redis streams", &redis))
        }
        None => Row::alone(what, Unit::Micros, &ours),
    }
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
