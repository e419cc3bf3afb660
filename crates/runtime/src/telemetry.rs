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
    let filter = filter(&log.level)?;
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

/// What a level, or a list of targets with levels, lets through. The library's own reading would
/// take a mistyped level for a target, and let all of that through.
fn filter(text: &str) -> Result<Targets> {
    let wrong = |part: &str| {
        Error::invalid(format!(
            "log.level: `{part}` is no level (error, warn, info, debug, trace, off) and no target \
             with one, such as statehouse=debug"
        ))
        .with_context("key", "log.level")
    };
    let mut filter = Targets::new();
    for part in text.split(',').map(str::trim) {
        let (target, level) = match part.split_once('=') {
            Some((target, level)) => (Some(target.trim()), level.trim()),
            None => (None, part),
        };
        if level.is_empty() || target.is_some_and(|target| !is_target(target)) {
            return Err(wrong(part));
        }
        let level: LevelFilter = level.parse().map_err(|_| wrong(part))?;
        filter = match target {
            None => filter.with_default(level),
            Some(target) => filter.with_target(target, level),
        };
    }
    Ok(filter)
}

/// Whether this can be a path of modules; spans and fields are not understood.
fn is_target(text: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || "_:-.".contains(c);
    !text.is_empty() && text.chars().all(is_part)
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

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::filter::LevelFilter as Level;

    #[test]
    fn a_filter_is_a_level_and_targets_with_levels() -> Result<()> {
        assert_eq!(filter("warn")?, Targets::new().with_default(Level::WARN));
        let both = Targets::new()
            .with_default(Level::INFO)
            .with_target("statehouse", Level::DEBUG);
        assert_eq!(filter("info, statehouse = debug")?, both);
        Ok(())
    }

    #[test]
    fn a_mistyped_filter_is_refused_by_its_part() {
        for (text, part) in [
            ("inof", "`inof`"),
            ("", "``"),
            ("info,statehouse=loud", "`statehouse=loud`"),
            ("=debug", "`=debug`"),
            ("info,", "``"),
            ("statehouse[http]=debug", "`statehouse[http]=debug`"),
            ("state house=debug", "`state house=debug`"),
        ] {
            let error = filter(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
