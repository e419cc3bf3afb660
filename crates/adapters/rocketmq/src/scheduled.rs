//! Delayed messages that this process may take back.
//!
//! The broker takes a message back by a handle that the send answered, and finds none by id: so this
//! process remembers the handles of what it scheduled, until it is due.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cheetah_string::CheetahString;
use parking_lot::Mutex;
use rocketmq_protocol::code::request_code::RequestCode;
use statehouse_contracts::{MessageId, Namespace, Result};

use crate::cluster::Cluster;
use crate::error::code;
use crate::request::Request;

/// Beyond so many, those that are due are forgotten.
const TIDY: usize = 10_000;

/// How long before it is due a message counts as due: the broker takes note of a recall as slowly.
const NOTICE: Duration = Duration::from_millis(300);

/// One scheduled message.
#[derive(Clone, Debug)]
pub(crate) struct Scheduled {
    pub(crate) due: Instant,
    pub(crate) broker: CheetahString,
    pub(crate) topic: CheetahString,
    pub(crate) handle: CheetahString,
}

/// What this process scheduled.
#[derive(Debug, Default)]
pub(crate) struct ScheduledMessages(Mutex<HashMap<(Namespace, MessageId), Scheduled>>);

impl ScheduledMessages {
    pub(crate) fn remember(&self, namespace: &Namespace, id: MessageId, scheduled: Scheduled) {
        let mut all = self.0.lock();
        if all.len() >= TIDY {
            let now = Instant::now();
            all.retain(|_, scheduled| scheduled.due > now);
        }
        all.insert((namespace.clone(), id), scheduled);
    }

    /// Takes the message back; false when it is due or unknown.
    pub(crate) async fn cancel(
        &self,
        cluster: &Arc<Cluster>,
        namespace: &Namespace,
        id: MessageId,
    ) -> Result<bool> {
        let key = (namespace.clone(), id);
        let Some(scheduled) = self.0.lock().get(&key).cloned() else {
            return Ok(false);
        };
        let notice = cluster.settings.timer_precision() * 2 + NOTICE;
        if scheduled.due.saturating_duration_since(Instant::now()) <= notice {
            return Ok(false);
        }
        let client = &cluster.client;
        let request = Request::new(RequestCode::RecallMessage)
            .field("producerGroup", &client.config.producer_group)
            .text("topic", scheduled.topic)
            .text("recallHandle", scheduled.handle);
        let address = client.broker(&scheduled.broker)?.address;
        let answer = client.call("cancel", &address, request).await?;
        if answer.code() == code::ILLEGAL_OPERATION {
            return Ok(false);
        }
        answer.success("cancel")?;
        Ok(self.0.lock().remove(&key).is_some())
    }
}
