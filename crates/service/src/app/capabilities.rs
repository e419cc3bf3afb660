//! What the roles of the service can do.

use statehouse_contracts::{
    ConsumerCapability, ErrorKind, ProducerCapability, ReferenceCapability, Result, Scope,
    StateCapability, TaskCapability,
};

use crate::backends::Backends;

/// What each role can do; `None` where its backend has no such role.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities {
    /// Sending.
    pub producer: Option<ProducerCapability>,
    /// Receiving.
    pub consumer: Option<ConsumerCapability>,
    /// States.
    pub state: Option<StateCapability>,
    /// Task stacks.
    pub tasks: Option<TaskCapability>,
    /// References.
    pub references: Option<ReferenceCapability>,
}

impl Capabilities {
    /// Opens each role once and asks it.
    pub(super) async fn read(backends: &Backends, scope: &Scope) -> Result<Self> {
        let producer = present(backends.messages.producer(scope).await)?;
        let consumer = present(backends.messages.consumer(scope).await)?;
        let state = present(backends.state.state(scope).await)?;
        let tasks = present(backends.tasks.tasks(scope).await)?;
        let references = present(backends.references.references(scope).await)?;
        Ok(Self {
            producer: producer.map(|producer| producer.capability()),
            consumer: consumer.map(|consumer| consumer.capability()),
            state: state.map(|state| state.capability()),
            tasks: tasks.map(|tasks| tasks.capability()),
            references: references.map(|references| references.capability()),
        })
    }
}

/// A role that a backend does not have is no failure.
fn present<T>(opened: Result<T>) -> Result<Option<T>> {
    match opened {
        Ok(handle) => Ok(Some(handle)),
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
        Err(error) => Err(error),
    }
}
