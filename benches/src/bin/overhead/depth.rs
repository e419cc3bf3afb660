//! Receiving with few and with many pending.

use std::time::Instant;

use statehouse_benches::{
    Result,
    load::micros,
    redis::Server,
    scenarios::Settings,
    stats::Waits,
    table::{Goal, Row, Section, Unit},
};
use statehouse_dragonfly::DragonflyFactory;

use crate::{compare::Messages, ours::Ours};

/// Bytes of a message.
const BYTES: usize = 64;

/// Medians in microseconds, one per round.
#[derive(Default)]
struct Medians {
    receive: Vec<f64>,
    ack: Vec<f64>,
}

/// Measures receives and acks of one message; `None` where `redis-server` is not installed.
///
/// # Errors
/// The first error of the adapter.
pub(crate) async fn run(settings: &Settings) -> Result<Option<Section>> {
    let Some(server) = Server::start_without_syncs().await? else {
        return Ok(None);
    };
    let url = format!("redis://127.0.0.1:{}", server.port());
    let ours = Ours::open(&DragonflyFactory, &url).await?.carrying(BYTES);
    ours.stock(settings.few).await?;
    let shallow = rounds(settings, &ours).await?;
    ours.stock(settings.many - settings.few).await?;
    let deep = rounds(settings, &ours).await?;
    ours.close().await?;
    let compare = |what: &str, deep: &[f64], shallow: &[f64]| {
        let name = format!("with {} pending", settings.few);
        Row::compare(what, Unit::Micros, deep, (&name, shallow)).must(Goal::AtMost(1.5))
    };
    Ok(Some(Section {
        title: "Few and many pending on Redis",
        about: format!(
            "Medians with {} pending beside those with {}, one message of {BYTES} bytes at a time; \
             the server never waits for its disk, so that no sync hides what the search costs.",
            settings.many, settings.few
        ),
        rows: vec![
            compare("receive one", &deep.receive, &shallow.receive),
            compare("acknowledge it", &deep.ack, &shallow.ack),
        ],
    }))
}

async fn rounds(settings: &Settings, ours: &Ours) -> Result<Medians> {
    let mut medians = Medians::default();
    for _ in 0..settings.rounds {
        let (mut receives, mut acks) = (Vec::new(), Vec::new());
        for _ in 0..settings.timed {
            let begun = Instant::now();
            let delivery = ours.receive().await?;
            receives.push(micros(begun.elapsed()));
            let begun = Instant::now();
            ours.ack(&delivery).await?;
            acks.push(micros(begun.elapsed()));
        }
        // As many as before, for the next round.
        ours.stock(settings.timed).await?;
        medians.receive.push(Waits::of(receives).percentile(0.5));
        medians.ack.push(Waits::of(acks).percentile(0.5));
    }
    Ok(medians)
}
