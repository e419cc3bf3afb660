//! An adapter, as an application uses it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use statehouse_contracts::{
    Backend, Consumer, ConsumerExt, ContentType, Delivery, Endpoint, Factory, GroupName, GroupSpec,
    Kind, Message, Pattern, Payload, Precondition, Producer, ProducerExt, Scope, SendOptions,
    StateKey, StateManager, StateManagerExt, Topic,
};

use statehouse_benches::{Result, VALUE, name};

use crate::compare::{Messages, Records};

const WAIT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(crate) struct Ours {
    backend: Arc<dyn Backend>,
    /// Where the backend has that role.
    state: Option<Arc<dyn StateManager>>,
    producer: Arc<dyn Producer>,
    consumer: Arc<dyn Consumer>,
    group: GroupName,
    topic: Topic,
    kind: Kind,
    value: Bytes,
}

impl Ours {
    pub(crate) async fn open(factory: &dyn Factory, url: &str) -> Result<Self> {
        let backend = factory.open(&Endpoint::parse(url)?).await?;
        let scope = Scope::parse("default", "bench")?;
        let consumer = backend.consumer(&scope).await?;
        let (group, topic) = (GroupName::new("bench")?, Topic::new("bench.topic")?);
        let spec = GroupSpec::new(Pattern::from(topic.clone()));
        consumer.declare(&group, &spec).await?;
        Ok(Self {
            state: backend.state(&scope).await.ok(),
            producer: backend.producer(&scope).await?,
            kind: Kind::new("agent")?,
            value: vec![b'x'; VALUE].into(),
            backend,
            consumer,
            group,
            topic,
        })
    }

    /// The same with so many bytes in each value and message.
    pub(crate) fn carrying(self, bytes: usize) -> Self {
        let value = vec![b'x'; bytes].into();
        Self { value, ..self }
    }

    pub(crate) async fn receive(&self) -> Result<Delivery> {
        let delivery = self.consumer.receive_one(&self.group, WAIT).await?;
        Ok(delivery.ok_or("nothing to receive")?)
    }

    pub(crate) async fn ack(&self, delivery: &Delivery) -> Result<()> {
        Ok(self.consumer.ack(delivery).await?)
    }

    pub(crate) async fn close(&self) -> Result<()> {
        Ok(self.backend.close().await?)
    }

    fn message(&self) -> Message {
        Message::new(self.topic.clone(), Payload::bytes(self.value.clone()))
    }

    fn key(&self, caller: u64, turn: u64) -> Result<StateKey> {
        Ok(StateKey::parse(self.kind.as_str(), &name(caller, turn))?)
    }

    fn state(&self) -> Result<&Arc<dyn StateManager>> {
        let state = self.state.as_ref();
        state.ok_or_else(|| "the backend keeps no state".into())
    }
}

impl Messages for Ours {
    async fn send(&self) -> Result<()> {
        self.producer.send_one(self.message()).await?;
        Ok(())
    }

    async fn stock(&self, count: usize) -> Result<()> {
        for from in (0..count).step_by(1000) {
            let batch = (from..count.min(from + 1000)).map(|_| self.message());
            let sent = self.producer.send(batch.collect(), SendOptions::default());
            for answer in sent.await? {
                answer?;
            }
        }
        Ok(())
    }

    async fn receive_and_ack(&self) -> Result<()> {
        self.ack(&self.receive().await?).await
    }
}

impl Records for Ours {
    async fn put(&self, caller: u64, turn: u64) -> Result<()> {
        let key = self.key(caller, turn)?;
        let (value, content_type) = (self.value.clone(), ContentType::BYTES);
        let put = self
            .state()?
            .put(&key, value, content_type, Precondition::None);
        put.await?;
        Ok(())
    }

    async fn get(&self, caller: u64, turn: u64) -> Result<()> {
        let record = self.state()?.get(&self.key(caller, turn)?).await?;
        record.map(|_| ()).ok_or_else(|| "nothing to read".into())
    }
}
