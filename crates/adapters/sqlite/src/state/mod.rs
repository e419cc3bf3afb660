//! Versioned state.

use std::sync::Arc;

use statehouse_contracts::{Error, Result, Scope, StateManager};

use crate::{housekeeping::Chore, session::Store};

/// The role's regular work.
pub(crate) const CHORES: &[Chore] = &[];

/// Whether the namespace `namespace.id` holds anything of this role, as an SQL condition.
pub(crate) const HOLDS: &str = "0";

/// A handle on state.
pub(crate) async fn open(_store: &Arc<Store>, _scope: &Scope) -> Result<Arc<dyn StateManager>> {
    Err(Error::unsupported("sqlite", "state"))
}
