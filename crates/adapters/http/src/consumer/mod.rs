//! Receiving.

mod admin;
mod broadcast;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use statehouse_contracts::{
    Broadcast, Consumer, ConsumerCapability, Declared, Delivery, GroupName, GroupSpec, Pattern,
    Receive, Result, Settle, Settled,
};
use statehouse_wire::{
    DeclaredDoc, DeliveryDoc, GroupSpecDoc, ItemsDoc, OutcomeDoc, ReceiveDoc, SettleDoc, SettledDoc,
};

use crate::batch::{Part, fitted, parts};
use crate::client::Handle;
use crate::error::{nonsense, of_service};
use broadcast::Listener;

/// Receives by way of the service.
#[derive(Debug)]
pub(crate) struct HttpConsumer {
    handle: Handle,
    capability: ConsumerCapability,
}

impl HttpConsumer {
    pub(crate) fn new(handle: Handle, capability: ConsumerCapability) -> Self {
        // A service that has handed something out cannot tell whether the caller still was there.
        let capability = ConsumerCapability {
            drop_counts_no_attempt: false,
            ..capability
        };
        Self { handle, capability }
    }

    async fn receive_once(&self, group: &GroupName, receive: Receive) -> Result<Vec<Delivery>> {
        let requested = Instant::now();
        let path = ["v1", "groups", group.as_str(), "receive"];
        let request = self.handle.post("receive", &path);
        let request = request.json(&ReceiveDoc::from(receive))?;
        let answer: ItemsDoc<DeliveryDoc> = request.waits(receive.wait).answer().await?;
        let deliveries = answer
            .items
            .into_iter()
            .map(|item| item.delivery(requested));
        let deliveries: Result<_> = deliveries.collect();
        deliveries.map_err(|error| nonsense(error).with_operation("receive"))
    }

    async fn settle_part(&self, part: &Part) -> Result<Vec<Result<Settled>>> {
        let requested = Instant::now();
        let request = self.handle.post("settle", &["v1", "deliveries", "settle"]);
        let request = request.json_bytes(part.document("settles", ""));
        let outcomes: ItemsDoc<OutcomeDoc<SettledDoc>> = request.answer().await?;
        let settled = |outcome| match outcome {
            OutcomeDoc::Ok(document) => SettledDoc::settled(document, requested).map_err(nonsense),
            OutcomeDoc::Error(document) => Err(of_service(*document)),
        };
        Ok(outcomes.items.into_iter().map(settled).collect())
    }
}

#[async_trait]
impl Consumer for HttpConsumer {
    fn capability(&self) -> ConsumerCapability {
        self.capability
    }

    async fn declare(&self, group: &GroupName, spec: &GroupSpec) -> Result<Declared> {
        let request = self
            .handle
            .put("declare", &["v1", "groups", group.as_str()]);
        let request = request.json(&GroupSpecDoc::from(spec.clone()))?;
        let declared: DeclaredDoc = request.answer().await?;
        Ok(declared.into())
    }

    async fn receive(&self, group: &GroupName, receive: Receive) -> Result<Vec<Delivery>> {
        let once = |wait: Duration| self.receive_once(group, Receive { wait, ..receive });
        self.handle.long_poll(receive.wait, once).await
    }

    async fn settle(&self, batch: Vec<Settle>) -> Result<Vec<Result<Settled>>> {
        let whole = parts(batch.into_iter().map(SettleDoc::from), self.handle.room())?;
        if let [part] = whole.as_slice() {
            return self.settle_part(part).await;
        }
        let mut answers = Vec::new();
        for part in whole {
            answers.extend(fitted(part.len, self.settle_part(&part).await));
        }
        Ok(answers)
    }

    async fn broadcast(&self, pattern: &Pattern) -> Result<Box<dyn Broadcast>> {
        let listener = Listener::open(self.handle.clone(), pattern.clone()).await?;
        Ok(Box::new(listener))
    }

    async fn close(&self) -> Result<()> {
        self.handle.close();
        Ok(())
    }
}
