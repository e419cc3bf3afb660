//! Messages: producer, consumer, and their administration.

use std::sync::Arc;

use statehouse_contracts::{Consumer, Error, Message, Producer, Result, Scope};

use crate::{config::Config, engine::Tx, error::Failure, housekeeping::Chore, session::Store};

/// The role's regular work.
pub(crate) const CHORES: &[Chore] = &[];

/// Whether the namespace `namespace.id` holds anything of this role, as an SQL condition.
pub(crate) const HOLDS: &str = "0";

/// A handle that sends.
pub(crate) async fn producer(_store: &Arc<Store>, _scope: &Scope) -> Result<Arc<dyn Producer>> {
    Err(Error::unsupported("sqlite", "producer"))
}

/// A handle that receives.
pub(crate) async fn consumer(_store: &Arc<Store>, _scope: &Scope) -> Result<Arc<dyn Consumer>> {
    Err(Error::unsupported("sqlite", "consumer"))
}

/// Sends messages into the groups of namespace `ns`, inside the transaction of a change of state.
/// What a producer would refuse is refused, before anything is written where possible.
pub(crate) fn enqueue(
    _tx: &Tx<'_>,
    _ns: i64,
    _config: &Config,
    _messages: &[Message],
) -> Result<(), Failure> {
    Err(Error::unsupported("sqlite", "deliver_local").into())
}
