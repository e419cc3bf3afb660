//! `statehouse replay`

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use statehouse_contracts::{Error, ErrorKind, Namespace, Result};
use statehouse_replay::{ReplayOptions, Report, Run, Stage, Tally};
use statehouse_state::{Relay, RelayOptions};
use tokio_util::sync::CancellationToken;

use super::args::Replay;
use super::output::table;
use super::{Desk, Output};

pub(super) async fn run(command: Replay, desk: &Desk, output: &Output) -> Result<()> {
    let mut runs = Vec::new();
    for file in &command.files {
        runs.extend(statehouse_replay::read(file)?);
    }
    let stage = Stage {
        state: desk.state().await?,
        consumer: desk.consumer().await?,
        tasks: desk.tasks().await?,
        references: desk.references().await?,
    };
    let options = ReplayOptions {
        agents: command.agents,
        speed: command.speed,
        ..ReplayOptions::default()
    };
    let relay = OwnRelay::start(desk).await?;
    let bar = progress_bar(&runs, command.agents);
    let report = statehouse_replay::replay(&stage, &runs, options, &|| bar.inc(1)).await;
    bar.finish_and_clear();
    relay.stop().await;
    let report = report?;
    show(&report, output)?;
    if report.is_right() {
        return Ok(());
    }
    let problems = report.runs.iter().filter_map(|run| run.difference.as_ref());
    let first = problems
        .chain(&report.event_problems)
        .next()
        .cloned()
        .unwrap_or_default();
    Err(Error::new(
        ErrorKind::Corrupted,
        format!("what was read back differs from the input: {first}"),
    ))
}

/// The relay of a replay that opens the backends itself. A running service has its own; then this
/// one finds the lease taken, and waits.
struct OwnRelay {
    stop: CancellationToken,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl OwnRelay {
    async fn start(desk: &Desk) -> Result<Self> {
        let stop = CancellationToken::new();
        if desk.is_service() {
            return Ok(Self { stop, task: None });
        }
        let namespace: Namespace = desk.scope().namespace.clone();
        let options = RelayOptions::new(format!("replay-{}", std::process::id()));
        let relay = Relay::new(
            desk.state().await?,
            desk.producer().await?,
            namespace,
            options,
        )?;
        let task = tokio::spawn(relay.run(stop.clone()));
        Ok(Self {
            stop,
            task: Some(task),
        })
    }

    async fn stop(self) {
        self.stop.cancel();
        if let Some(task) = self.task {
            // It ends by itself; only a panic in it could be told here, and that was printed.
            let _ = task.await;
        }
    }
}

fn progress_bar(runs: &[Run], agents: u32) -> ProgressBar {
    let steps: u64 = runs.iter().map(|run| run.steps.len() as u64).sum();
    let bar = ProgressBar::new(steps * u64::from(agents));
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {pos}/{len} steps  {per_sec}  {eta} left")
    {
        bar.set_style(style);
    }
    bar
}

fn show(report: &Report, output: &Output) -> Result<()> {
    if output.is_json() {
        return output.document(report);
    }
    let mut rows: Vec<[String; 9]> = report
        .runs
        .iter()
        .take(MOST_ROWS)
        .map(|run| {
            row(
                &run.run,
                run.steps,
                run.added,
                "",
                run.difference.as_deref().unwrap_or("equal"),
            )
        })
        .collect();
    if report.runs.len() > 1 {
        let steps = report.runs.iter().map(|run| run.steps).sum();
        let equal = report
            .runs
            .iter()
            .filter(|run| run.difference.is_none())
            .count();
        let check = format!("{equal} of {} equal", report.runs.len());
        rows.push(row(
            "in all",
            steps,
            report.total,
            &report.total.events.to_string(),
            &check,
        ));
    } else if let Some(only) = rows.first_mut() {
        only[4] = report.total.events.to_string();
    }
    let header = [
        "run",
        "steps",
        "states",
        "versions",
        "events",
        "tasks",
        "inline",
        "by reference",
        "read back",
    ];
    output.text(&table(header, rows))?;
    let hidden = report.runs.len().saturating_sub(MOST_ROWS);
    if hidden > 0 {
        output.text(&format!("and {hidden} more runs"))?;
    }
    if let Some((median, late)) = report.latency {
        let rate = report.total.versions as f64 / report.elapsed.as_secs_f64().max(1e-9);
        output.text(&format!(
            "{rate:.0} updates/s; an update took {:.2} ms at the median, {:.2} ms at p99",
            millis(median),
            millis(late),
        ))?;
    }
    Ok(())
}

/// More runs than this are summed up only.
const MOST_ROWS: usize = 20;

fn row(name: &str, steps: usize, added: Tally, events: &str, check: &str) -> [String; 9] {
    [
        name.to_owned(),
        steps.to_string(),
        added.states.to_string(),
        added.versions.to_string(),
        events.to_owned(),
        added.tasks.to_string(),
        bytes(added.inline_bytes),
        bytes(added.reference_bytes),
        check.to_owned(),
    ]
}

fn bytes(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
