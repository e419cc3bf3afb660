//! What nobody calls for: expired records, ended leases, content that nobody holds.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use statehouse_contracts::{Namespace, Principal, Result, Scope};
use tokio::time::{MissedTickBehavior, interval};

use crate::keys::Role;
use crate::session::Store;
use crate::{queue, reference, state, tasks};

/// How many namespaces are looked after side by side.
const AT_ONCE: usize = 32;
/// How often each namespace is looked after.
const ROUND: Duration = Duration::from_secs(1);
/// In which rounds a namespace is entered again, which a server that went back to an older
/// snapshot may have forgotten.
const ENTER_EVERY: u64 = 30;

/// In which rounds leases of tasks end that nobody looks at.
const TASKS_EVERY: u64 = 10;

/// The namespaces that this process has opened handles for, and so looks after.
#[derive(Debug, Default)]
pub(crate) struct Houses {
    names: Mutex<BTreeSet<Namespace>>,
}

impl Houses {
    pub(crate) fn add(&self, namespace: &Namespace) {
        let mut names = self.names.lock();
        if !names.contains(namespace) {
            names.insert(namespace.clone());
        }
    }

    fn all(&self) -> Vec<Namespace> {
        self.names.lock().iter().cloned().collect()
    }
}

/// Looks after the store's namespaces until it is closed or dropped.
pub(crate) fn start(store: &Arc<Store>) {
    let closing = store.closing.clone();
    let store = Arc::downgrade(store);
    tokio::spawn(async move {
        tokio::select! {
            () = closing.cancelled() => {}
            () = rounds(store) => {}
        }
    });
}

async fn rounds(store: Weak<Store>) {
    let mut ticks = interval(ROUND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 0.. {
        ticks.tick().await;
        let Some(store) = store.upgrade() else { return };
        let houses = stream::iter(store.houses.all());
        houses
            .for_each_concurrent(AT_ONCE, |namespace| {
                let store = &store;
                async move {
                    if let Err(error) = look_after(store, &namespace, round).await {
                        tracing::debug!(%error, %namespace, "housekeeping is put off");
                    }
                }
            })
            .await;
    }
}

/// One round in one namespace. Several processes may do it at once.
async fn look_after(store: &Arc<Store>, namespace: &Namespace, round: u64) -> Result<()> {
    if round % ENTER_EVERY == ENTER_EVERY - 1 {
        store.enter(namespace).await?;
        queue::look_after(store, namespace).await?;
    }
    state::look_after(store, namespace).await?;
    let scope = Scope::new(namespace.clone(), Principal::new("housekeeping")?);
    if round % TASKS_EVERY == TASKS_EVERY - 1 {
        tasks::look_after(&store.begin(&scope, Role::Tasks)).await?;
    }
    if round > 0 && round.is_multiple_of(rounds_of(store.config.gc_interval)) {
        reference::look_after(&store.begin(&scope, Role::References)).await?;
    }
    Ok(())
}

/// How many rounds a span takes, at least one.
fn rounds_of(span: Duration) -> u64 {
    (span.as_millis() / ROUND.as_millis()).clamp(1, u64::MAX.into()) as u64
}
