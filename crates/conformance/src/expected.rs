use statehouse_contracts::{
    ConsumerCapability, ProducerCapability, ReferenceCapability, StateCapability, TaskCapability,
};

/// What an adapter says it can do, role by role; `None`: it does not have the role. The first
/// trials check that it reports exactly this, the other ones that it is true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Of its producer.
    pub producer: Option<ProducerCapability>,
    /// Of its consumer.
    pub consumer: Option<ConsumerCapability>,
    /// Of its state manager.
    pub state: Option<StateCapability>,
    /// Of its task stack.
    pub tasks: Option<TaskCapability>,
    /// Of its reference store.
    pub references: Option<ReferenceCapability>,
}
