//! The suite itself is tested: an adapter that is broken on purpose fails by the named case, and
//! the same adapter without its fault passes it.

mod faults;
mod messages;
mod references;
mod state;
mod tasks;

use std::sync::Arc;

use async_trait::async_trait;
use statehouse_conformance::{Expected, Place, Report, Setup};
use statehouse_contracts::{
    Backend, BackendInfo, Consumer, Endpoint, Factory, Namespace, Producer, ReferenceStore, Result,
    Scope, StateManager, TaskStack,
};
use statehouse_memory::Memory;

use crate::faults::{FAULTS, Fault};

/// Opens stores in memory with one fault.
#[derive(Clone, Copy, Debug)]
struct BrokenFactory(Fault);

#[async_trait]
impl Factory for BrokenFactory {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["memory"]
    }

    async fn open(&self, endpoint: &Endpoint) -> Result<Arc<dyn Backend>> {
        let inner = Memory.open(endpoint).await?;
        Ok(Arc::new(Broken {
            inner,
            fault: self.0,
        }))
    }
}

/// A backend or handle with a fault.
#[derive(Debug)]
struct Broken<H: ?Sized> {
    inner: Arc<H>,
    fault: Fault,
}

impl<H: ?Sized> Broken<H> {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

impl Broken<dyn Backend> {
    fn scope(&self, scope: &Scope) -> Scope {
        let mut scope = scope.clone();
        if self.is(Fault::SharesNamespaces) {
            scope.namespace = Namespace::DEFAULT;
        }
        scope
    }

    fn wrap<H: ?Sized>(&self, inner: Arc<H>) -> Arc<Broken<H>> {
        Arc::new(Broken {
            inner,
            fault: self.fault,
        })
    }
}

#[async_trait]
impl Backend for Broken<dyn Backend> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn info(&self) -> Result<BackendInfo> {
        self.inner.info().await
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.inner.namespaces().await
    }

    async fn producer(&self, scope: &Scope) -> Result<Arc<dyn Producer>> {
        Ok(self.wrap(self.inner.producer(&self.scope(scope)).await?))
    }

    async fn consumer(&self, scope: &Scope) -> Result<Arc<dyn Consumer>> {
        Ok(self.wrap(self.inner.consumer(&self.scope(scope)).await?))
    }

    async fn state(&self, scope: &Scope) -> Result<Arc<dyn StateManager>> {
        Ok(self.wrap(self.inner.state(&self.scope(scope)).await?))
    }

    async fn tasks(&self, scope: &Scope) -> Result<Arc<dyn TaskStack>> {
        Ok(self.wrap(self.inner.tasks(&self.scope(scope)).await?))
    }

    async fn references(&self, scope: &Scope) -> Result<Arc<dyn ReferenceStore>> {
        Ok(self.wrap(self.inner.references(&self.scope(scope)).await?))
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

/// What a store in memory says of itself.
async fn reported() -> Result<Expected> {
    let backend = Memory.open(&Endpoint::parse("memory:")?).await?;
    let scope = Scope::parse("probe", "probe")?;
    Ok(Expected {
        producer: Some(backend.producer(&scope).await?.capability()),
        consumer: Some(backend.consumer(&scope).await?.capability()),
        state: Some(backend.state(&scope).await?.capability()),
        tasks: Some(backend.tasks(&scope).await?.capability()),
        references: Some(backend.references(&scope).await?.capability()),
    })
}

fn run(fault: Fault, chosen: impl Fn(&str) -> bool) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let expected = runtime.block_on(reported()).expect("a store in memory");
    Setup::new(BrokenFactory(fault), expected)
        .places(|| Ok(Place::new("memory:")))
        .run(chosen)
        .expect("a runtime")
}

/// The names of the cases that must tell, for all faults.
fn telling() -> Vec<&'static str> {
    FAULTS
        .iter()
        .flat_map(|(_, cases)| cases.iter().copied())
        .collect()
}

/// The named cases that did not tell.
fn silent(fault: Fault, cases: &[&str]) -> Vec<String> {
    let report = run(fault, |name| cases.contains(&name));
    let silent = cases.iter().filter(|case| !report.has_failed(case));
    silent
        .map(|case| format!("{fault:?} is not told by {case}"))
        .collect()
}

#[test]
fn each_fault_fails_by_the_named_case() {
    let silent: Vec<String> = std::thread::scope(|scope| {
        let spawn = |(fault, cases): &(Fault, &'static [&'static str])| {
            let (fault, cases) = (*fault, *cases);
            scope.spawn(move || silent(fault, cases))
        };
        let runs: Vec<_> = FAULTS.iter().map(spawn).collect();
        runs.into_iter()
            .flat_map(|run| run.join().expect("the cases of one fault"))
            .collect()
    });
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn without_a_fault_the_same_cases_pass() {
    let telling = telling();
    let report = run(Fault::None, |name| telling.contains(&name));
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    for case in telling {
        assert!(
            report.passed.iter().any(|name| name == case),
            "{case} did not run"
        );
    }
}
