use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use libtest_mimic::{Arguments, Trial};
use statehouse_contracts::Backend;
use statehouse_layers::{Stack, guard};
use tokio::runtime::{Builder, Runtime};

use crate::context::Shared;
use crate::{Case, Context, Failure, Outcome, Setup, Timing, cases, verified};

/// How many cases run at a time: most of the time they wait.
const AT_ONCE: usize = 48;

/// What became of the cases that [`Setup::run`] ran.
#[derive(Debug, Default)]
pub struct Report {
    /// The names of those that passed.
    pub passed: Vec<String>,
    /// Those that failed.
    pub failed: Vec<Failed>,
}

/// A case that failed.
#[derive(Debug)]
pub struct Failed {
    /// Its name.
    pub name: String,
    /// Why.
    pub failure: String,
}

impl Report {
    /// Whether the case of this name failed.
    pub fn has_failed(&self, name: &str) -> bool {
        self.failed.iter().any(|failed| failed.name == name)
    }
}

impl Setup {
    /// Runs the suite as a test program: twice, behind the guard layer alone and, as `stacked::…`,
    /// behind the whole stack of layers. Takes the arguments of `cargo test`.
    pub fn main(self) -> ExitCode {
        main(vec![self])
    }

    /// Runs the cases whose name `chosen` accepts, behind the guard layer, and tells what became
    /// of each.
    ///
    /// # Errors
    /// When no runtime can be started.
    pub fn run(&self, chosen: impl Fn(&str) -> bool) -> Result<Report, Failure> {
        let runtime = runtime()?;
        let shared = Shared::new(self.clone(), guard);
        let cases = applicable(self)
            .into_iter()
            .filter(|case| chosen(case.name()));
        let deadline = Timing::deadline(&self.expected);
        let run = |case: Case| {
            let shared = shared.clone();
            async move {
                (
                    case.name().to_owned(),
                    attempt(&case, shared, deadline).await,
                )
            }
        };
        let outcomes: Vec<(String, Outcome)> = runtime.block_on(async {
            let outcomes = futures::stream::iter(cases)
                .map(run)
                .buffer_unordered(AT_ONCE);
            let outcomes = outcomes.collect().await;
            shared.close().await;
            outcomes
        });
        runtime.shutdown_background();
        Ok(Report::of(outcomes))
    }
}

/// Runs the suite on several setups as one test program, each as [`Setup::main`] does.
pub fn main(setups: Vec<Setup>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let runtime = match runtime() {
        Ok(runtime) => Arc::new(runtime),
        Err(failure) => return fail_all(&arguments, failure.to_string()),
    };
    let mut opened = Vec::new();
    let mut all = Vec::new();
    for setup in setups {
        let plain = Shared::new(setup.clone(), guard);
        let stacked = Shared::new(setup, stacked);
        all.extend(trials(&runtime, &plain, ""));
        all.extend(trials(&runtime, &stacked, "stacked::"));
        opened.extend([plain, stacked]);
    }
    let conclusion = libtest_mimic::run(&arguments, all);
    let whole = arguments.filter.is_none() && arguments.skip.is_empty() && !arguments.list;
    let noted = if whole && !conclusion.has_failed() && verified::is_wanted() {
        runtime.block_on(note(&opened))
    } else {
        Ok(())
    };
    runtime.block_on(async {
        for shared in opened {
            shared.close().await;
        }
    });
    match noted {
        Ok(()) => conclusion.exit_code(),
        Err(error) => fail_all(&arguments, error.to_string()),
    }
}

/// Writes down what passed on each server that was there.
async fn note(opened: &[Arc<Shared>]) -> statehouse_contracts::Result<()> {
    // Each setup is opened twice: plain and stacked.
    for shared in opened.iter().step_by(2) {
        if !shared.setup.is_ignored() {
            let cases = 2 * applicable(&shared.setup).len();
            verified::write(&shared.setup, cases).await?;
        }
    }
    Ok(())
}

impl Report {
    fn of(outcomes: Vec<(String, Outcome)>) -> Self {
        let mut report = Self::default();
        for (name, outcome) in outcomes {
            match outcome {
                Ok(()) => report.passed.push(name),
                Err(failure) => report.failed.push(Failed {
                    name,
                    failure: failure.to_string(),
                }),
            }
        }
        report
    }
}

fn runtime() -> Result<Runtime, Failure> {
    Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("no runtime could be started: {error}")))
}

fn stacked(backend: Arc<dyn Backend>) -> Arc<dyn Backend> {
    Stack::default().wrap(backend)
}

fn applicable(setup: &Setup) -> Vec<Case> {
    let mut cases = cases::all();
    cases.retain(|case| case.applies(&setup.expected, &setup.hooks));
    cases
}

fn trials(runtime: &Arc<Runtime>, shared: &Arc<Shared>, prefix: &str) -> Vec<Trial> {
    let setup = &shared.setup;
    let ignored = setup.is_ignored();
    let deadline = Timing::deadline(&setup.expected);
    let trial = |case: Case| {
        let (runtime, shared) = (runtime.clone(), shared.clone());
        let name = format!("{}{prefix}{}", setup.label, case.name());
        let run = move || {
            shared.setup.ready()?;
            let outcome = runtime.block_on(attempt(&case, shared, deadline));
            outcome.map_err(libtest_mimic::Failed::from)
        };
        Trial::test(name, run).with_ignored_flag(ignored)
    };
    applicable(setup).into_iter().map(trial).collect()
}

/// Runs one case in a task of its own, so that neither a panic nor a thread that it blocks takes
/// the suite with it.
async fn attempt(case: &Case, shared: Arc<Shared>, deadline: Duration) -> Outcome {
    let task = tokio::spawn(case.start(Context::new(shared)?));
    let abort = task.abort_handle();
    match tokio::time::timeout(deadline, task).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => Err(Failure::new(format!("the case panicked: {error}"))),
        Err(_) => {
            abort.abort();
            Err(Failure::new(format!(
                "it hangs: not done within {deadline:?}"
            )))
        }
    }
}

fn fail_all(arguments: &Arguments, why: String) -> ExitCode {
    let trial = Trial::test("runtime", move || Err(why.into()));
    libtest_mimic::run(arguments, vec![trial]).exit_code()
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use statehouse_contracts::{Endpoint, Error, ErrorKind, Factory};

    use super::*;
    use crate::case::case;
    use crate::{Expected, Place};

    /// An adapter whose server is away.
    #[derive(Debug)]
    struct Away;

    #[async_trait]
    impl Factory for Away {
        fn name(&self) -> &'static str {
            "away"
        }

        fn schemes(&self) -> &'static [&'static str] {
            &["away"]
        }

        async fn open(&self, _: &Endpoint) -> statehouse_contracts::Result<Arc<dyn Backend>> {
            Err(Error::new(ErrorKind::Unavailable, "nobody answers"))
        }
    }

    const PLENTY: Duration = Duration::from_secs(30);

    async fn hangs(_: Context) -> Outcome {
        std::future::pending().await
    }

    async fn panics(_: Context) -> Outcome {
        panic!("a wrong assumption")
    }

    async fn needs_the_backend(cx: Context) -> Outcome {
        cx.backend().await?;
        Ok(())
    }

    fn failure(case: &Case, deadline: Duration) -> String {
        let setup = Setup::new(Away, Expected::default()).places(|| Ok(Place::new("away:")));
        let shared = Shared::new(setup, guard);
        let outcome = runtime().unwrap().block_on(attempt(case, shared, deadline));
        outcome.unwrap_err().to_string()
    }

    #[test]
    fn a_case_that_hangs_fails_at_its_deadline() {
        assert!(
            failure(&case!(hangs), Duration::from_millis(50))
                .contains("it hangs: not done within 50ms")
        );
    }

    #[test]
    fn a_case_that_panics_fails_with_what_it_said() {
        assert!(failure(&case!(panics), PLENTY).contains("a wrong assumption"));
    }

    #[test]
    fn a_backend_that_cannot_be_opened_fails_the_case() {
        let failure = failure(&case!(needs_the_backend), PLENTY);
        assert!(failure.contains("nobody answers"), "{failure}");
        assert!(
            failure.contains("run.rs"),
            "the place is the case's own: {failure}"
        );
    }

    #[test]
    fn cases_of_roles_that_are_not_there_do_not_run() {
        let bare = Setup::new(Away, Expected::default());
        let role = |case: &Case| {
            !["capabilities::", "backend::", "cache::"]
                .iter()
                .any(|of| case.name().starts_with(of))
        };
        let names: Vec<Case> = applicable(&bare).into_iter().filter(role).collect();
        assert!(names.is_empty(), "{names:?}");
    }

    #[test]
    fn no_two_cases_share_a_name() {
        let mut names: Vec<String> = cases::all().iter().map(|c| c.name().to_owned()).collect();
        let number = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), number);
    }
}
