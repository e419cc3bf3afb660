//! Messaging in one process.

use std::time::Duration;

use super::Settings;
use crate::{
    Result,
    messaging::{self, Timed},
    table::{Goal, Row, Section, Unit},
};

pub(super) async fn run(settings: &Settings) -> Result<Section> {
    let settings = *settings;
    // What is timed has runtimes of its own.
    let rows = tokio::task::spawn_blocking(move || rows(&settings)).await??;
    Ok(Section {
        title: "Messaging in one process",
        about: "One thread, the time of one operation; each side of a round lasts half as long \
                as elsewhere. A message of 1 KiB, made before unless said otherwise, is published \
                until all subscribers have it: tokio's broadcast channel without any matching, the bus with \
                a pattern for each and 10,000 other subscriptions present. Shared memory is read \
                with 1,000 values of 1 KiB. The rest is over the memory adapter; a request is answered \
                by another agent of the process."
            .to_owned(),
        rows,
    })
}

fn rows(settings: &Settings) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for subscribers in [1_u64, 10, 100] {
        let publish = [
            messaging::bus(subscribers)?,
            messaging::broadcast(subscribers)?,
        ];
        let what = format!("publish to {subscribers}");
        let [bus, channel] = sides(settings, publish)?;
        let row = Row::compare(&what, Unit::Nanos, &bus, ("tokio broadcast", &channel));
        rows.push(row.must(Goal::AtMost(1.0)));
    }
    let made = [messaging::bus_making_messages(1)?, messaging::broadcast(1)?];
    let [bus, channel] = sides(settings, made)?;
    let what = "publish to 1, each message made with its id";
    let others = ("tokio broadcast, made before", &*channel);
    rows.push(Row::compare(what, Unit::Nanos, &bus, others));
    let matching = alone(settings, "match", messaging::matching()?)?;
    rows.push(matching.must(Goal::MedianBelow(200.0)));
    for (what, kind) in [
        ("policy of 1 KiB without a kind", None),
        ("policy of a kind with a rule", Some("session_state")),
        ("policy of a kind without one", Some("anything_else")),
    ] {
        let policy = alone(settings, what, messaging::place_bytes(kind)?)?;
        rows.push(policy.must(Goal::MedianBelow(10.0)));
    }
    for kib in [8, 1024] {
        let what = format!("policy of a JSON value of {kib} KiB");
        rows.push(alone(settings, &what, messaging::place_json(kib)?)?);
    }
    let reads = [messaging::peek()?, messaging::bare_map()?];
    let [peek, map] = sides(settings, reads)?;
    let read = Row::compare("shared memory, read", Unit::Nanos, &peek, ("dashmap", &map));
    rows.push(read.must(Goal::AtMost(3.0)));
    let exchanges = [messaging::by_messenger()?, messaging::by_hand()?];
    let [messenger, bare] = sides(settings, exchanges)?;
    let what = "send, receive and ack by a messenger";
    let exchange = Row::compare(what, Unit::Nanos, &messenger, ("the adapter alone", &bare));
    rows.push(exchange.must(Goal::AddsBelow(1_000.0)));
    let request = alone(settings, "request and reply", messaging::round_trip()?)?;
    rows.push(request.must(Goal::MedianBelow(20_000.0)));
    Ok(rows)
}

fn alone(settings: &Settings, what: &str, timed: Timed) -> Result<Row> {
    let [ours] = sides(settings, [timed])?;
    Ok(Row::alone(what, Unit::Nanos, &ours))
}

/// Nanoseconds of one operation, per round; the sides in turns.
fn sides<const N: usize>(settings: &Settings, mut timed: [Timed; N]) -> Result<[Vec<f64>; N]> {
    let time = settings.time / 2;
    let mut counts = [0; N];
    for (count, timed) in counts.iter_mut().zip(&mut timed) {
        *count = how_many(timed, time)?;
    }
    let mut rounds = [const { Vec::new() }; N];
    for _ in 0..settings.rounds {
        for ((rounds, timed), count) in rounds.iter_mut().zip(&mut timed).zip(counts) {
            rounds.push(timed(count)?.as_nanos() as f64 / count as f64);
        }
    }
    Ok(rounds)
}

/// How often something can be done in about this time.
fn how_many(timed: &mut Timed, time: Duration) -> Result<u64> {
    let mut count = 1;
    loop {
        let took = timed(count)?;
        if took >= time / 8 {
            let once = took.as_secs_f64() / count as f64;
            return Ok(((time.as_secs_f64() / once) as u64).max(1));
        }
        count *= 2;
    }
}
