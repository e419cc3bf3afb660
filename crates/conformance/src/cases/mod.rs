//! The cases, by subject.

use crate::Case;

mod backend;
mod cache;
mod capabilities;
mod changes;
mod consumer;
mod desk;
mod model;
mod outbox;
mod producer;
mod references;
mod shelf;
mod state;
mod tasks;
mod yard;

/// All cases there are. A subject's cases run only where the adapter has its roles.
pub(crate) fn all() -> Vec<Case> {
    let mut all = capabilities::cases();
    all.extend(backend::cases());
    all.extend(cache::cases());
    all.extend(messages());
    all.extend(references());
    all.extend(states());
    all.extend(tasks());
    all
}

fn messages() -> impl Iterator<Item = Case> {
    let subjects = [producer::cases(), consumer::cases()];
    let cases = subjects.into_iter().flatten();
    cases.map(|case| case.producer(|_| true).consumer(|_| true))
}

fn references() -> impl Iterator<Item = Case> {
    references::cases()
        .into_iter()
        .map(|case| case.references(|_| true))
}

fn states() -> impl Iterator<Item = Case> {
    let subjects = [state::cases(), changes::cases(), outbox::cases()];
    let cases = subjects.into_iter().flatten();
    cases.map(|case| case.state(|_| true))
}

fn tasks() -> impl Iterator<Item = Case> {
    tasks::cases().into_iter().map(|case| case.tasks(|_| true))
}
