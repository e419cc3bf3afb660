//! Callers that repeat an operation, each waiting for one call before it makes the next.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use crate::{Result, stats::Waits};

/// What the callers of one round did.
#[derive(Clone, Debug)]
pub struct Run {
    /// What each call waited.
    pub waits: Waits,
    /// How long the round was.
    pub took: Duration,
}

impl Run {
    /// Calls in a second.
    pub fn per_second(&self) -> f64 {
        self.waits.count() as f64 / self.took.as_secs_f64()
    }
}

/// When a caller stops.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After this time.
    Elapsed(Duration),
    /// After this many calls of all callers together, rounded up to the same for each.
    Calls(u64),
}

/// Has `callers` repeat `call`, which is given the caller's number and its turn.
///
/// # Errors
/// The first error of a call.
pub async fn run<F, R>(callers: u64, until: Until, call: F) -> Result<Run>
where
    F: Fn(u64, u64) -> R + Clone + Send + 'static,
    R: Future<Output = Result<()>> + Send + 'static,
{
    let begun = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| tokio::spawn(repeat(caller, callers, begun, until, call.clone())))
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.append(&mut task.await??);
    }
    Ok(Run {
        waits: Waits::of(all),
        took: begun.elapsed(),
    })
}

async fn repeat<F, R>(
    caller: u64,
    callers: u64,
    begun: Instant,
    until: Until,
    call: F,
) -> Result<Vec<f64>>
where
    F: Fn(u64, u64) -> R,
    R: Future<Output = Result<()>>,
{
    let mut waits = Vec::new();
    for turn in 0.. {
        let before = Instant::now();
        let over = match until {
            Until::Elapsed(time) => before.duration_since(begun) >= time,
            Until::Calls(calls) => turn >= calls.div_ceil(callers),
        };
        if over {
            break;
        }
        call(caller, turn).await?;
        waits.push(micros(before.elapsed()));
    }
    Ok(waits)
}

/// A time in microseconds.
pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
