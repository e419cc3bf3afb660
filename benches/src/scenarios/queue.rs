//! Durable messages: many producers, a few consumers.

use super::Settings;
use crate::{
    Result,
    bare::{BareQueue, Ids},
    mail::Mail,
    queue::{self, Crowd, Queue},
    redis::Streams,
    store::Store,
    table::{Goal, Row, Section, Unit},
};

const REMEMBERS: &str = "bare rusqlite that remembers ids";
const FORGETS: &str = "bare rusqlite that forgets ids";
const REDIS: &str = "Redis streams";

/// Messages per second of each round, by side.
#[derive(Default)]
struct Rates {
    ours: Vec<f64>,
    mail: Vec<f64>,
    bare: Vec<f64>,
    forgetful: Vec<f64>,
    redis: Vec<f64>,
}

pub(super) async fn run(settings: &Settings) -> Result<Section> {
    let crowd = Crowd {
        producers: settings.callers(256),
        consumers: 4,
        lease: 256,
    };
    let redis = Streams::open().await?;
    let mut rows = compare(
        settings,
        crowd,
        redis.as_ref(),
        "256 producers, 4 consumers",
    )
    .await?;
    for row in &mut rows {
        row.goal = match &row.other {
            Some((name, _)) if name == REMEMBERS => Goal::AtLeast(0.7),
            Some((name, _)) if name == REDIS => Goal::AtLeast(1.0),
            _ => Goal::None,
        };
    }
    let lone = Crowd {
        producers: 1,
        consumers: 1,
        lease: 1,
    };
    rows.extend(
        compare(
            settings,
            lone,
            redis.as_ref(),
            "1 producer, 1 consumer of one",
        )
        .await?,
    );
    Ok(Section {
        title: "Durable messages",
        about: about(redis.as_ref()).await?,
        rows,
    })
}

async fn about(redis: Option<&Streams>) -> Result<String> {
    let peer = match redis {
        Some(redis) => format!(
            "Redis {} streams with `appendfsync always`: XADD over {} shared connections, \
             XREADGROUP BLOCK and XACK over one per consumer, entries dropped between rounds only.",
            redis.version().await?,
            crate::redis::CONNECTIONS
        ),
        None => "**Redis was skipped: `redis-server` is not installed.**".to_owned(),
    };
    Ok(format!(
        "1 KiB messages that are sent, received and acknowledged while all of it goes on; each \
         producer waits until its message is on the disk, consumers lease and acknowledge up to \
         256 at a time. Bare rusqlite is a writer thread with group commit over tables of bodies, \
         ready and leased messages; it remembers accepted ids as Statehouse does, so that a \
         repeated send is taken once, or forgets them, as Redis does. Mail of a mailbox has a time \
         to live besides, and a messenger looks whether it travels by reference. {peer}"
    ))
}

async fn compare(
    settings: &Settings,
    crowd: Crowd,
    redis: Option<&Streams>,
    what: &str,
) -> Result<Vec<Row>> {
    let store = Store::open("").await?;
    let mail = Mail::open().await?;
    let bare = BareQueue::open(Ids::Remembered)?;
    let forgetful = BareQueue::open(Ids::Forgotten)?;
    let mut rates = Rates::default();
    for _ in 0..settings.rounds.div_ceil(2) {
        rates.bare.push(round(&bare, crowd, settings).await?);
        rates.ours.push(round(&store, crowd, settings).await?);
        rates.mail.push(round(&mail, crowd, settings).await?);
        rates
            .forgetful
            .push(round(&forgetful, crowd, settings).await?);
        if let Some(redis) = redis {
            rates.redis.push(round(redis, crowd, settings).await?);
            redis.trim().await?;
        }
    }
    store.close().await?;
    mail.close().await?;
    let mut others = vec![(REMEMBERS, &rates.bare), (FORGETS, &rates.forgetful)];
    others.extend(redis.map(|_| (REDIS, &rates.redis)));
    let mailbox = format!("{what} of a mailbox");
    let row = |what: &str, ours: &[f64], other: (&str, &Vec<f64>)| {
        Row::compare(what, Unit::PerSecond, ours, (other.0, other.1))
    };
    let ours = others.iter().map(|other| row(what, &rates.ours, *other));
    let mail = others
        .iter()
        .map(|other| row(&mailbox, &rates.mail, *other));
    Ok(ours.chain(mail).collect())
}

async fn round<Q: Queue>(queue: &Q, crowd: Crowd, settings: &Settings) -> Result<f64> {
    queue::throughput(queue, crowd, settings.time * 2).await
}
