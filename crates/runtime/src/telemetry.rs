//! Logs and measures of the process.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use statehouse_config::{Log, LogFormat};
use statehouse_contracts::{Error, Result};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Upper bounds of the buckets of durations, in seconds.
const BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// How often old measures are folded together.
const UPKEEP: Duration = Duration::from_secs(5);

/// Sends the log to standard error, for the rest of the process.
///
/// # Errors
/// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for a filter that makes
/// no sense, or when a log is there already.
pub fn start_log(log: &Log) -> Result<()> {
    let filter = filter(log)?;
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    let lines = match log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init()
        .map_err(|error| Error::invalid(format!("the log cannot start: {error}")))
}

fn filter(log: &Log) -> Result<Targets> {
    let wrong = |part: &str| Error::invalid(format!("log.level: `{part}` is no filter"));
    let parts = log.filter().map_err(wrong)?;
    parts.into_iter().try_fold(Targets::new(), |filter, part| {
        let (target, level) = part;
        let level: LevelFilter = level.parse().map_err(|_| wrong(level))?;
        Ok(match target {
            None => filter.with_default(level),
            Some(target) => filter.with_target(target, level),
        })
    })
}

/// Collects the measures of the process from now on. Call [`keep_up`] with the handle.
///
/// # Errors
/// [`Internal`](statehouse_contracts::ErrorKind::Internal) when something else collects them.
pub fn start_metrics() -> Result<PrometheusHandle> {
    let wrong = |error: &dyn std::fmt::Display| {
        Error::internal(format!("measures cannot be collected: {error}"))
    };
    let seconds = Matcher::Suffix("_seconds".to_owned());
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(seconds, &BUCKETS)
        .map_err(|error| wrong(&error))?;
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|error| wrong(&error))?;
    Ok(handle)
}

/// Folds old measures together, for ever.
pub async fn keep_up(metrics: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}
