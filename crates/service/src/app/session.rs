//! The handles of one scope.

use std::sync::Arc;

use statehouse_contracts::{
    Consumer, Producer, ReferenceStore, Result, Scope, StateManager, TaskStack,
};
use statehouse_messaging::{Mailboxes, SharedMemory};
use tokio::sync::OnceCell;

use crate::backends::Backends;

/// The handles of one scope, each opened when it is first needed.
#[derive(Debug)]
pub(super) struct Session {
    scope: Scope,
    producer: OnceCell<Arc<dyn Producer>>,
    consumer: OnceCell<Arc<dyn Consumer>>,
    state: OnceCell<Arc<dyn StateManager>>,
    tasks: OnceCell<Arc<dyn TaskStack>>,
    references: OnceCell<Arc<dyn ReferenceStore>>,
    pub(super) mail: OnceCell<Mailboxes>,
    pub(super) shared: OnceCell<SharedMemory>,
}

macro_rules! role {
    ($name:ident, $role:ident, $handle:ty) => {
        pub(super) async fn $name(&self, backends: &Backends) -> Result<Arc<$handle>> {
            let open = || backends.$role.$name(&self.scope);
            self.$name.get_or_try_init(open).await.map(Arc::clone)
        }
    };
}

impl Session {
    pub(super) fn new(scope: Scope) -> Self {
        Self {
            scope,
            producer: OnceCell::new(),
            consumer: OnceCell::new(),
            state: OnceCell::new(),
            tasks: OnceCell::new(),
            references: OnceCell::new(),
            mail: OnceCell::new(),
            shared: OnceCell::new(),
        }
    }

    role!(producer, messages, dyn Producer);
    role!(consumer, messages, dyn Consumer);
    role!(state, state, dyn StateManager);
    role!(tasks, tasks, dyn TaskStack);
    role!(references, references, dyn ReferenceStore);
}
