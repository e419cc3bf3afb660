//! Drives the whole stack with recorded runs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use parking_lot::Mutex;
use statehouse_contracts::{Consumer, ReferenceStore, Result, StateManager, TaskStack};

use super::events::{Events, step_key};
use super::names::Names;
use super::nest::Nest;
use super::verify;
use super::write::Writer;
use super::{Event, Report, Run, RunReport, Tally};

/// What a replay works on.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Takes states, conversations and events.
    pub state: Arc<dyn StateManager>,
    /// Hears the events.
    pub consumer: Arc<dyn Consumer>,
    /// Takes tasks and subtasks.
    pub tasks: Arc<dyn TaskStack>,
    /// Takes long observations.
    pub references: Arc<dyn ReferenceStore>,
}

/// How to replay.
#[derive(Clone, Copy, Debug)]
pub struct ReplayOptions {
    /// How many copies of each run there are, each an agent of its own.
    pub agents: u32,
    /// How much faster than recorded; `None`: as fast as it goes.
    pub speed: Option<f64>,
    /// The longest observation, in bytes, that is stored with its step.
    pub inline: usize,
    /// How many runs are replayed at once.
    pub concurrency: usize,
}

impl Default for ReplayOptions {
    /// One agent, as fast as it goes, 4,096 bytes inline, 64 runs at once.
    fn default() -> Self {
        Self {
            agents: 1,
            speed: None,
            inline: 4096,
            concurrency: 64,
        }
    }
}

/// Replays `runs`: each is an agent and a task; each step an update of state and an event; what the
/// recording opens are subtasks; the conversation grows by appends; long observations go by
/// reference. Then reads everything back and compares it. What an earlier replay wrote is not
/// written again. `progress` is told of each step.
///
/// # Errors
/// Those of the backends. A difference is no error: see [`Report::is_right`].
pub async fn replay(
    stage: &Stage,
    runs: &[Run],
    options: ReplayOptions,
    progress: &(dyn Fn() + Sync),
) -> Result<Report> {
    let events = Events::listen(Arc::clone(&stage.consumer)).await?;
    let latencies = Mutex::new(Vec::new());
    let started = Instant::now();
    let copies = runs
        .iter()
        .flat_map(|run| (0..options.agents.max(1)).map(move |copy| (run, copy)));
    let work = copies.map(|(run, copy)| {
        let player = Player {
            stage,
            options,
            latencies: &latencies,
            names: Names::of(&run.id, copy),
        };
        async move { player.play(run, progress).await }
    });
    let played: Vec<Result<Played>> = futures::stream::iter(work)
        .buffer_unordered(options.concurrency.max(1))
        .collect()
        .await;
    let elapsed = started.elapsed();
    let played: Vec<Played> = played.into_iter().collect::<Result<_>>()?;
    let expected: HashMap<String, u64> = played
        .iter()
        .flat_map(|played| played.expected.clone())
        .collect();
    let (arrived, event_problems) = events.finish(&expected).await?;
    let mut runs: Vec<RunReport> = played.into_iter().map(|played| played.report).collect();
    runs.sort_by(|a, b| a.run.cmp(&b.run));
    let mut total = Tally {
        events: arrived,
        ..Tally::default()
    };
    runs.iter().for_each(|run| total += run.added);
    Ok(Report {
        runs,
        total,
        elapsed,
        latency: percentiles(latencies.into_inner()),
        event_problems,
    })
}

/// Replays one copy of one run.
struct Player<'a> {
    stage: &'a Stage,
    options: ReplayOptions,
    latencies: &'a Mutex<Vec<Duration>>,
    names: Names,
}

struct Played {
    report: RunReport,
    /// How many events of each key must arrive.
    expected: HashMap<String, u64>,
}

impl Player<'_> {
    async fn play(&self, run: &Run, progress: &(dyn Fn() + Sync)) -> Result<Played> {
        let (state, references) = (&*self.stage.state, &*self.stage.references);
        let before = self.versions().await?;
        let mut writer = Writer::new(
            state,
            references,
            &self.names,
            self.options.inline,
            self.latencies,
        )
        .await?;
        writer.agent(run).await?;
        let mut nest = Nest::begin(&*self.stage.tasks, &self.names, run, &mut writer).await?;
        for event in &run.timeline {
            match *event {
                Event::Message(index) => writer.message(run, index).await?,
                Event::Step(index) => {
                    self.pace(run, index).await;
                    nest.keep().await?;
                    writer.step(run, index).await?;
                    progress();
                }
                Event::Open(index) => {
                    nest.open(index, &run.subtasks[index], &mut writer.tally)
                        .await?
                }
                Event::Close(index) => nest.close(&run.subtasks[index]).await?,
            }
        }
        nest.end(run).await?;
        let expected = self.expected(&before).await?;
        let difference = verify::difference(state, references, &self.names, run).await?;
        let report = RunReport {
            run: self.names.id.clone(),
            file: run.source.display().to_string(),
            steps: run.steps.len(),
            added: writer.tally,
            difference,
        };
        Ok(Played { report, expected })
    }

    /// Takes as long as the step took, by the speed that was asked for.
    async fn pace(&self, run: &Run, step: usize) {
        let recorded = run.steps[step]
            .execution_time
            .filter(|seconds| seconds.is_finite() && *seconds > 0.0);
        if let (Some(speed), Some(seconds)) = (self.options.speed, recorded) {
            tokio::time::sleep(Duration::from_secs_f64((seconds / speed).min(86_400.0))).await;
        }
    }

    /// The version of each record of the run.
    async fn versions(&self) -> Result<[(String, u64); 3]> {
        let keys = [
            self.names.agent()?,
            self.names.task()?,
            self.names.conversation()?,
        ];
        let records = self.stage.state.get_many(&keys).await?;
        let mut versions = keys.map(|key| (key.to_string(), 0));
        for (entry, record) in versions.iter_mut().zip(records) {
            entry.1 = record.map_or(0, |record| record.version);
        }
        Ok(versions)
    }

    async fn expected(&self, before: &[(String, u64); 3]) -> Result<HashMap<String, u64>> {
        let after = self.versions().await?;
        let mut expected = HashMap::new();
        for ((key, old), (_, new)) in before.iter().zip(&after) {
            expected.insert(key.clone(), new - old);
        }
        expected.insert(step_key(&self.names.id), after[1].1 - before[1].1);
        Ok(expected)
    }
}

fn percentiles(mut latencies: Vec<Duration>) -> Option<(Duration, Duration)> {
    latencies.sort_unstable();
    let at = |share: f64| {
        latencies
            .get(((latencies.len() - 1) as f64 * share) as usize)
            .copied()
    };
    if latencies.is_empty() {
        None
    } else {
        Some((at(0.5)?, at(0.99)?))
    }
}
