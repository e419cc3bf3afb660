//! A queue that forgets acks: what was acknowledged comes again after a crash, as from a broker
//! that had not written its offsets down.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use statehouse_contracts::{
    Broadcast, Consumer, ConsumerCapability, Declared, Delivery, Error, ErrorKind, GroupName,
    GroupSpec, Lease, LeaseToken, Pattern, QueueAdmin, Receive, Result, Settle, SettleAction,
    Settled,
};

#[derive(Debug)]
pub(crate) struct Forgetful {
    inner: Arc<dyn Consumer>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// What was handed out, by the newest token.
    out: HashMap<LeaseToken, Delivery>,
    acked: Vec<Delivery>,
    /// What comes again.
    again: VecDeque<Delivery>,
    tokens: u64,
}

impl Memory {
    fn hand_out(&mut self, mut delivery: Delivery, lease: Duration) -> Result<Delivery> {
        self.tokens += 1;
        delivery.attempt += 1;
        delivery.lease = Lease {
            token: LeaseToken::new(format!("again-{}", self.tokens))?,
            deadline: Instant::now() + lease,
        };
        self.out
            .insert(delivery.lease.token.clone(), delivery.clone());
        Ok(delivery)
    }

    fn settle(&mut self, settle: &Settle) -> Result<Settled> {
        let lost = || Error::new(ErrorKind::LeaseLost, "the broker has crashed since");
        let delivery = self.out.remove(&settle.token).ok_or_else(lost)?;
        match settle.action {
            SettleAction::Ack => self.acked.push(delivery),
            SettleAction::Nack { .. } => self.again.push_back(delivery),
            SettleAction::DeadLetter { .. } => {}
            SettleAction::Extend { lease } => {
                let mut delivery = delivery;
                delivery.attempt -= 1;
                let lease = self.hand_out(delivery, lease)?.lease;
                return Ok(Settled { lease: Some(lease) });
            }
        }
        Ok(Settled { lease: None })
    }
}

impl Forgetful {
    pub(crate) fn new(inner: Arc<dyn Consumer>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            memory: Mutex::default(),
        })
    }

    /// The broker crashes: every message that was ever handed out and acknowledged comes again, and
    /// what is in hand comes to others as well.
    pub(crate) fn crash(&self) {
        let mut memory = self.memory.lock();
        let acked = std::mem::take(&mut memory.acked);
        let out: Vec<Delivery> = memory.out.drain().map(|(_, delivery)| delivery).collect();
        memory.again.extend(acked);
        memory.again.extend(out);
    }

    /// How many messages wait to come again.
    pub(crate) fn waiting(&self) -> usize {
        self.memory.lock().again.len()
    }

    fn again(&self, receive: Receive) -> Result<Vec<Delivery>> {
        let mut memory = self.memory.lock();
        let lease = receive.lease.unwrap_or(Duration::from_secs(30));
        let mut got = Vec::new();
        while got.len() < receive.max
            && let Some(delivery) = memory.again.pop_front()
        {
            got.push(memory.hand_out(delivery, lease)?);
        }
        Ok(got)
    }
}

#[async_trait]
impl Consumer for Forgetful {
    fn capability(&self) -> ConsumerCapability {
        ConsumerCapability {
            ack_confirmed: false,
            ..self.inner.capability()
        }
    }

    async fn declare(&self, group: &GroupName, spec: &GroupSpec) -> Result<Declared> {
        self.inner.declare(group, spec).await
    }

    async fn receive(&self, group: &GroupName, receive: Receive) -> Result<Vec<Delivery>> {
        let again = self.again(receive)?;
        if !again.is_empty() {
            return Ok(again);
        }
        // A crash meanwhile must be noticed soon; what is dropped on the way comes back soon.
        let wait = receive.wait.min(Duration::from_millis(20));
        let soon = Receive {
            wait,
            lease: Some(Duration::from_millis(500)),
            ..receive
        };
        let (mut taken, mut acks) = (Vec::new(), Vec::new());
        for delivery in self.inner.receive(group, soon).await? {
            acks.push(delivery.ack());
            let first = Delivery {
                attempt: delivery.attempt - 1,
                ..delivery
            };
            let lease = receive.lease.unwrap_or(Duration::from_secs(30));
            taken.push(self.memory.lock().hand_out(first, lease)?);
        }
        // From here on they are this broker's.
        self.inner.settle(acks).await?;
        Ok(taken)
    }

    async fn settle(&self, batch: Vec<Settle>) -> Result<Vec<Result<Settled>>> {
        let mut memory = self.memory.lock();
        Ok(batch.iter().map(|settle| memory.settle(settle)).collect())
    }

    async fn broadcast(&self, pattern: &Pattern) -> Result<Box<dyn Broadcast>> {
        self.inner.broadcast(pattern).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

impl QueueAdmin for Forgetful {}
