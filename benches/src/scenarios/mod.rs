//! What is compared with what.
//!
//! Rounds alternate between the sides, so that what else the machine does meets all of them; a
//! ratio is that of a round's pair. Rounds are short, because a disk that others use as well is
//! slower for seconds at a time; a lone caller makes one call on each side in turn.

mod depth;
mod latency;
mod messaging;
mod puts;
mod queue;
mod reads;
mod references;

use std::{future::Future, time::Duration};

use crate::{
    Result,
    load::{self, Run, Until},
    table::{Row, Section, Unit},
};

/// How long and how much.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Rounds of each comparison.
    pub rounds: usize,
    /// How long each side of a round is loaded; twice as long for messages, in half as many rounds.
    pub time: Duration,
    /// Messages of a round at a fixed rate.
    pub paced: usize,
    /// The shallow queue.
    pub few: usize,
    /// The deep queue.
    pub many: usize,
    /// Operations that are timed at each depth.
    pub timed: usize,
    /// The most callers at a time.
    pub callers: u64,
}

impl Settings {
    /// What the results are made with.
    pub fn full() -> Self {
        Self {
            rounds: 20,
            time: Duration::from_millis(250),
            paced: 200,
            few: 1_000,
            many: 1_000_000,
            timed: 100,
            callers: 256,
        }
    }

    /// Just enough to run every line.
    pub fn smoke() -> Self {
        Self {
            rounds: 1,
            time: Duration::from_millis(20),
            paced: 5,
            few: 20,
            many: 60,
            timed: 5,
            callers: 8,
        }
    }

    /// `callers`, or the most there may be.
    pub fn callers(&self, callers: u64) -> u64 {
        callers.min(self.callers)
    }
}

/// The scenarios by name, in the order in which they run.
pub const NAMES: [&str; 7] = [
    "puts",
    "queue",
    "latency",
    "reads",
    "references",
    "depth",
    "messaging",
];

/// Runs the scenarios named; `told` hears of each when it is over.
///
/// # Errors
/// The first error of any; a name that none has.
pub async fn run(
    names: &[&str],
    settings: &Settings,
    mut told: impl FnMut(&Section),
) -> Result<Vec<Section>> {
    let mut sections = Vec::new();
    for name in names {
        let section = match *name {
            "puts" => puts::run(settings).await?,
            "queue" => queue::run(settings).await?,
            "latency" => latency::run(settings).await?,
            "reads" => reads::run(settings).await?,
            "references" => references::run(settings).await?,
            "depth" => depth::run(settings).await?,
            "messaging" => messaging::run(settings).await?,
            _ => return Err(format!("no scenario {name}; there are {}", NAMES.join(", ")).into()),
        };
        told(&section);
        sections.push(section);
    }
    Ok(sections)
}

/// Loads both sides in turns, and answers each round's runs.
pub async fn rounds<A, B, AR, BR>(
    settings: &Settings,
    callers: u64,
    ours: A,
    other: B,
) -> Result<[Vec<Run>; 2]>
where
    A: Fn(u64, u64) -> AR + Clone + Send + 'static,
    B: Fn(u64, u64) -> BR + Clone + Send + 'static,
    AR: Future<Output = Result<()>> + Send + 'static,
    BR: Future<Output = Result<()>> + Send + 'static,
{
    if callers == 1 {
        return in_turns(settings, ours, other).await;
    }
    let until = Until::Elapsed(settings.time);
    let mut runs = [Vec::new(), Vec::new()];
    for _ in 0..settings.rounds {
        runs[1].push(load::run(callers, until, other.clone()).await?);
        runs[0].push(load::run(callers, until, ours.clone()).await?);
    }
    Ok(runs)
}

/// As [`rounds`] by one caller, who makes one call on each side in turn.
async fn in_turns<A, B, AR, BR>(settings: &Settings, ours: A, other: B) -> Result<[Vec<Run>; 2]>
where
    A: Fn(u64, u64) -> AR + Clone + Send + 'static,
    B: Fn(u64, u64) -> BR + Clone + Send + 'static,
    AR: Future<Output = Result<()>> + Send + 'static,
    BR: Future<Output = Result<()>> + Send + 'static,
{
    let mut runs = [Vec::new(), Vec::new()];
    for _ in 0..settings.rounds {
        let both = tokio::spawn(load::in_turns(
            settings.time * 2,
            ours.clone(),
            other.clone(),
        ));
        let [ours, other] = both.await??;
        runs[0].push(ours);
        runs[1].push(other);
    }
    Ok(runs)
}

/// Compares the calls per second of both sides.
pub fn rates(what: &str, name: &str, runs: &[Vec<Run>; 2]) -> Row {
    let [ours, other] = runs
        .each_ref()
        .map(|runs| runs.iter().map(Run::per_second).collect::<Vec<_>>());
    Row::compare(what, Unit::PerSecond, &ours, (name, &other))
}

/// Compares what a call waits on both sides, at a percentile.
fn waits(what: &str, name: &str, runs: &[Vec<Run>; 2], share: f64) -> Row {
    let [ours, other] = runs.each_ref().map(|runs| percentiles(runs, share));
    Row::compare(what, Unit::Micros, &ours, (name, &other))
}

fn percentiles(runs: &[Run], share: f64) -> Vec<f64> {
    let of = |run: &Run| run.waits.percentile(share);
    runs.iter().map(of).collect()
}
