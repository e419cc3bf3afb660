use std::fmt::{self, Debug};

use futures::future::BoxFuture;
use statehouse_contracts::{
    ConsumerCapability, ProducerCapability, ReferenceCapability, StateCapability, TaskCapability,
};

use crate::setup::Hooks;
use crate::{Context, Expected, Failure};

/// The end of a case.
pub type Outcome = Result<(), Failure>;

/// One case: a sentence of the specification, what it needs, and how it is shown.
///
/// It runs where all of its conditions hold. `cases/mod.rs` adds the roles that a subject needs.
#[derive(Clone)]
pub struct Case {
    name: String,
    needs: Vec<Need>,
    run: fn(Context) -> BoxFuture<'static, Outcome>,
}

#[derive(Clone, Copy)]
enum Need {
    Producer(fn(&ProducerCapability) -> bool),
    Consumer(fn(&ConsumerCapability) -> bool),
    State(fn(&StateCapability) -> bool),
    Tasks(fn(&TaskCapability) -> bool),
    References(fn(&ReferenceCapability) -> bool),
    Reopen,
    Damage,
    Quota,
    Cache,
    NoCache,
}

impl Need {
    fn holds(self, expected: &Expected, hooks: &Hooks) -> bool {
        match self {
            Need::Producer(holds) => expected.producer.as_ref().is_some_and(holds),
            Need::Consumer(holds) => expected.consumer.as_ref().is_some_and(holds),
            Need::State(holds) => expected.state.as_ref().is_some_and(holds),
            Need::Tasks(holds) => expected.tasks.as_ref().is_some_and(holds),
            Need::References(holds) => expected.references.as_ref().is_some_and(holds),
            Need::Reopen => hooks.persistent,
            Need::Damage => hooks.damage.is_some(),
            Need::Quota => hooks.quota.is_some(),
            Need::Cache => hooks.cache,
            Need::NoCache => !hooks.cache,
        }
    }
}

impl Case {
    /// A case named after its module below `cases` and its function; see [`case!`](crate::case).
    pub(crate) fn new(
        module: &str,
        function: &str,
        run: fn(Context) -> BoxFuture<'static, Outcome>,
    ) -> Self {
        let subject = module
            .split_once("cases::")
            .map_or(module, |(_, subject)| subject);
        Self {
            name: format!("{subject}::{function}"),
            needs: Vec::new(),
            run,
        }
    }

    /// Its name: `consumer::order::a_retry_blocks_only_its_key`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Only where the producer can do this.
    pub(crate) fn producer(self, holds: fn(&ProducerCapability) -> bool) -> Self {
        self.when(Need::Producer(holds))
    }

    /// Only where the consumer can do this.
    pub(crate) fn consumer(self, holds: fn(&ConsumerCapability) -> bool) -> Self {
        self.when(Need::Consumer(holds))
    }

    /// Only where the state manager can do this.
    pub(crate) fn state(self, holds: fn(&StateCapability) -> bool) -> Self {
        self.when(Need::State(holds))
    }

    /// Only where the task stack can do this.
    pub(crate) fn tasks(self, holds: fn(&TaskCapability) -> bool) -> Self {
        self.when(Need::Tasks(holds))
    }

    /// Only where the reference store can do this.
    pub(crate) fn references(self, holds: fn(&ReferenceCapability) -> bool) -> Self {
        self.when(Need::References(holds))
    }

    /// Only where the same data can be opened again.
    pub(crate) fn reopens(self) -> Self {
        self.when(Need::Reopen)
    }

    /// Only where stored content can be damaged.
    pub(crate) fn damages(self) -> Self {
        self.when(Need::Damage)
    }

    /// Only where a backend with a quota can be opened.
    pub(crate) fn quota(self) -> Self {
        self.when(Need::Quota)
    }

    /// Only where there is a cache that processes share.
    pub(crate) fn cache(self) -> Self {
        self.when(Need::Cache)
    }

    /// Only where there is none.
    pub(crate) fn no_cache(self) -> Self {
        self.when(Need::NoCache)
    }

    fn when(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }

    pub(crate) fn applies(&self, expected: &Expected, hooks: &Hooks) -> bool {
        self.needs.iter().all(|need| need.holds(expected, hooks))
    }

    pub(crate) fn start(&self, context: Context) -> BoxFuture<'static, Outcome> {
        (self.run)(context)
    }
}

impl Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Case({})", self.name)
    }
}

/// The case of an `async fn(Context) -> Outcome`.
macro_rules! case {
    ($function:ident) => {
        $crate::Case::new(module_path!(), stringify!($function), |context| {
            Box::pin($function(context))
        })
    };
}
pub(crate) use case;
