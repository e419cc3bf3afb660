//! Random sequences of steps, on an adapter and on a simple model of it.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::{Failure, Outcome, ensure};

/// How long a comparison looks for a difference.
const SEARCH: Duration = Duration::from_secs(4);

/// How long it then looks for a shorter sequence that shows it.
const SHRINK: Duration = Duration::from_secs(6);

/// At most so many sequences.
const SAMPLES: usize = 100;

/// Runs random sequences of steps until time is up. Of the first that `check` fails, it looks for
/// a shorter one that fails too, and reports that.
pub(crate) async fn agree<S, F, A>(step: impl Strategy<Value = S>, check: F) -> Outcome
where
    S: Clone + Debug,
    F: Fn(Vec<S>) -> A,
    A: Future<Output = Outcome>,
{
    let samples = samples(step)?;
    // One is checked however slow the machine is, and making them takes its time too.
    let (end, mut checked) = (Instant::now() + SEARCH, 0);
    for steps in samples {
        if checked > 0 && Instant::now() > end {
            break;
        }
        if let Err(failure) = check(steps.clone()).await {
            return Err(shrink(steps, failure, check).await);
        }
        checked += 1;
    }
    ensure(checked > 0, "at least one sequence is checked in time")
}

fn samples<S: Debug>(step: impl Strategy<Value = S>) -> Result<Vec<Vec<S>>, Failure> {
    let sequences = proptest::collection::vec(step, 1..40);
    let mut runner = TestRunner::default();
    (0..SAMPLES)
        .map(|_| match sequences.new_tree(&mut runner) {
            Ok(tree) => Ok(tree.current()),
            Err(reason) => Err(Failure::new(format!("no sequence could be made: {reason}"))),
        })
        .collect()
}

/// Leaves out one step after another, as long as the rest still fails.
async fn shrink<S, F, A>(mut steps: Vec<S>, mut failure: Failure, check: F) -> Failure
where
    S: Clone + Debug,
    F: Fn(Vec<S>) -> A,
    A: Future<Output = Outcome>,
{
    let (end, mut at) = (Instant::now() + SHRINK, steps.len());
    while at > 0 && Instant::now() < end {
        at -= 1;
        let mut fewer = steps.clone();
        fewer.remove(at);
        if let Err(other) = check(fewer.clone()).await {
            (steps, failure) = (fewer, other);
        }
    }
    Failure::new(format!("{failure}, by these steps: {steps:#?}"))
}
