//! Test programs whose tests need servers.

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use libtest_mimic::{Arguments, Failed, Trial};
use statehouse_conformance::{Place, Setup};
use statehouse_contracts::Result;
use tokio::runtime::Builder;

use crate::background;
use crate::server::Server;
use crate::source::{Absent, Source};
use crate::table::Service;

/// What becomes of a test.
pub type Outcome = std::result::Result<(), Failed>;

type Run = Arc<dyn Fn(&'static Service) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// A test on a server of a service.
#[derive(Clone)]
pub struct Case {
    name: &'static str,
    run: Run,
}

impl Case {
    /// The test `run`, called `name`. [`cases!`](crate::cases) writes this.
    pub fn new<F>(name: &'static str, run: fn(&'static Service) -> F) -> Self
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        Self {
            name,
            run: Arc::new(move |service| Box::pin(run(service))),
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Case({})", self.name)
    }
}

/// The named functions as tests: `async fn name(service: &'static Service) -> Outcome`.
#[macro_export]
macro_rules! cases {
    ($($function:ident),* $(,)?) => {
        vec![$($crate::Case::new(stringify!($function), $function)),*]
    };
}

/// Tests that run once on each of some services, as `<service>::<test>`.
#[derive(Debug)]
pub struct Tests {
    groups: Vec<(&'static Service, Vec<Case>)>,
    at_once: usize,
    limit: Duration,
}

const AT_ONCE: usize = 4;
const LIMIT: Duration = Duration::from_secs(300);

impl Tests {
    /// On every service of the adapter `name`.
    pub fn of_adapter(name: &str) -> Self {
        Self::on_all(known(Service::of_adapter(name)))
    }

    /// On the service `name`.
    pub fn on(name: &str) -> Self {
        Self::on_all(vec![known(Service::named(name))])
    }

    fn on_all(services: Vec<&'static Service>) -> Self {
        Self {
            groups: services.into_iter().map(|it| (it, Vec::new())).collect(),
            at_once: AT_ONCE,
            limit: LIMIT,
        }
    }

    /// Adds tests, on each of its services.
    pub fn with(mut self, cases: impl IntoIterator<Item = Case>) -> Self {
        let cases: Vec<Case> = cases.into_iter().collect();
        for (_, on_it) in &mut self.groups {
            on_it.extend(cases.iter().cloned());
        }
        self
    }

    /// How many run at a time, if the command line does not say; 4 by default.
    pub fn at_once(mut self, number: usize) -> Self {
        self.at_once = number;
        self
    }

    /// How long a test may take; 5 minutes by default.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Adds those of `other` to the same program.
    pub fn and(mut self, other: Self) -> Self {
        self.groups.extend(other.groups);
        self
    }

    /// Runs them as a test program. Takes the arguments of `cargo test`.
    pub fn main(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        arguments.test_threads.get_or_insert(self.at_once);
        let mut trials = Vec::new();
        for (service, cases) in &self.groups {
            let absent = absent(service);
            if is_left_out(service, &absent) {
                continue;
            }
            let on_it = |case: &Case| trial(service, case.clone(), self.limit, &absent);
            trials.extend(cases.iter().map(on_it));
        }
        libtest_mimic::run(&arguments, trials).exit_code()
    }
}

/// Runs the conformance suite as a test program, once on each service of the adapter `name`, as
/// `<service>::…`. `setup` says how the adapter is opened and what it is expected to do there.
pub fn conformance(name: &str, setup: impl Fn(&'static Service) -> Setup) -> ExitCode {
    let on_it = |service: &'static Service| {
        let setup = setup(service).labelled(service.name());
        match absent(service) {
            None => Some(setup.server(move || place(service))),
            absent if is_left_out(service, &absent) => None,
            Some(absent) => Some(setup.without_server(absent.to_string())),
        }
    };
    let services = known(Service::of_adapter(name));
    statehouse_conformance::main(services.into_iter().filter_map(on_it).collect())
}

/// Whether there are no tests on a service, although servers are required: nothing on this machine
/// could bring it here, and other services of its adapter are tested in its place.
#[expect(
    clippy::print_stderr,
    reason = "whoever reads the run sees what is not in it"
)]
fn is_left_out(service: &Service, absent: &Option<Absent>) -> bool {
    let Some(absent) = absent.as_ref().filter(|it| it.is_excused()) else {
        return false;
    };
    let left_out = statehouse_conformance::required();
    if left_out {
        eprintln!("no tests on {}: {absent}", service.name());
    }
    left_out
}

fn place(service: &'static Service) -> Result<Place> {
    let server = background::wait(Server::shared(service))?;
    Ok(Place::new(server.url()))
}

/// The table is part of the program: what it lacks is a mistake in the test itself.
fn known<T>(found: Result<T>) -> T {
    found.unwrap_or_else(|error| panic!("{error}"))
}

fn absent(service: &'static Service) -> Option<Absent> {
    let asked = background::wait(async { Ok(service.source().await) });
    match asked {
        Ok(Ok(Source::Running(_) | Source::Image(_))) => None,
        Ok(Err(absent)) => Some(absent),
        Err(error) => Some(Absent::because(error)),
    }
}

fn trial(service: &'static Service, case: Case, limit: Duration, absent: &Option<Absent>) -> Trial {
    let name = format!("{}::{}", service.name(), case.name);
    let why = absent.as_ref().map(ToString::to_string);
    let ignored = absent.is_some() && !statehouse_conformance::required();
    let run = move || match why {
        Some(why) => Err(Failed::from(why)),
        None => run_one(&case, service, limit),
    };
    Trial::test(name, run).with_ignored_flag(ignored)
}

fn run_one(case: &Case, service: &'static Service, limit: Duration) -> Outcome {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async { tokio::time::timeout(limit, (case.run)(service)).await });
    runtime.shutdown_background();
    ended.unwrap_or_else(|_| Err(format!("it hangs: not done within {limit:?}").into()))
}
