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
    /// After this time and at least one call of each caller.
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
            Until::Elapsed(time) => turn > 0 && before.duration_since(begun) >= time,
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

/// Makes one call on each side in turn, for a time; each side at least once.
///
/// # Errors
/// The first error of a call.
pub async fn in_turns<A, B, AR, BR>(time: Duration, one: A, other: B) -> Result<[Run; 2]>
where
    A: Fn(u64, u64) -> AR,
    B: Fn(u64, u64) -> BR,
    AR: Future<Output = Result<()>>,
    BR: Future<Output = Result<()>>,
{
    let begun = Instant::now();
    let mut waits = [Vec::new(), Vec::new()];
    for turn in 0.. {
        let before = Instant::now();
        if turn > 0 && before.duration_since(begun) >= time {
            break;
        }
        one(0, turn).await?;
        let between = Instant::now();
        other(0, turn).await?;
        waits[0].push(micros(between.duration_since(before)));
        waits[1].push(micros(between.elapsed()));
    }
    Ok(waits.map(|waits| Run {
        took: Duration::from_secs_f64(waits.iter().sum::<f64>() / 1e6),
        waits: Waits::of(waits),
    }))
}

/// A time in microseconds.
pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
