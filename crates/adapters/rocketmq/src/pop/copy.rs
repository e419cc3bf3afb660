//! Copies of messages: of one that comes again, and of one that is given up.
//!
//! A message that failed comes again as a copy in its group's own topic, which says how many
//! deliveries it had and what went wrong. So any process can take it at once or after its delay,
//! and what is known of it survives. The broker's own redelivery, half a second late and without
//! any of this, is left to leases that end.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cheetah_string::CheetahString;
use rocketmq_protocol::code::request_code::RequestCode;
use statehouse_contracts::{ErrorKind, Result};

use crate::client::Client;
use crate::cluster::Cluster;
use crate::groups::Group;
use crate::message::Native;
use crate::pop::held::{Content, property};
use crate::pop::source::now;
use crate::request::Request;
use crate::session::Broker;
use crate::topics::{PRIORITY_QUEUES, make};

/// What ends a property's name, and what ends its value.
const NAME_END: char = '\u{1}';
const VALUE_END: char = '\u{2}';

/// RocketMQ's own properties that a copy keeps: its tag, its keys and its identity.
const KEPT: [&str; 4] = ["TAGS", "KEYS", "UNIQ_KEY", "WAIT"];

/// A message as it is written once more.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    properties: String,
    body: Bytes,
    born: i64,
}

impl Copy {
    /// The message with what is known of it.
    pub(crate) fn of(content: &Content) -> Result<Self> {
        let (body, length) = content.history.behind(&content.payload)?;
        let mut copy = Self {
            properties: String::new(),
            body,
            born: content.born,
        };
        for (name, value) in &content.properties {
            if is_ours(name) {
                copy.set(name, value);
            }
        }
        copy.set(property::ATTEMPTS, content.attempt);
        if length > 0 {
            copy.set(property::HISTORY, length);
        }
        Ok(copy)
    }

    /// The message as if it had never been delivered, due now.
    pub(crate) fn afresh(content: &Content) -> Self {
        let mut copy = Self {
            properties: String::new(),
            body: content.payload.clone(),
            born: content.born,
        };
        for (name, value) in &content.properties {
            if is_ours(name) {
                copy.set(name, value);
            }
        }
        copy.set(property::DUE, now());
        copy
    }

    /// A message that was sent at another time.
    pub(crate) fn sent(native: Native, born: i64) -> Self {
        Self {
            properties: native.properties.to_string(),
            body: native.body,
            born,
        }
    }

    /// Without any property, sent now.
    pub(crate) fn empty(body: Bytes) -> Self {
        Self {
            properties: String::new(),
            body,
            born: now(),
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Display) {
        use std::fmt::Write;
        // Writing to a String does not fail.
        let _ = write!(self.properties, "{name}{NAME_END}{value}{VALUE_END}");
    }

    /// Lets the broker hold it back; for no longer than `longest`, after which it is held back
    /// again.
    pub(crate) fn delayed(mut self, delay: Duration, longest: Duration) -> Self {
        if delay.is_zero() {
            return self;
        }
        if delay > longest {
            self.set(property::UNTIL, now() + delay.as_millis() as i64);
        }
        self.set("TIMER_DELAY_MS", delay.min(longest).as_millis());
        self
    }

    /// Writes it to a queue of `topic`, which is made if it is not there.
    pub(crate) async fn write(
        &self,
        client: &Arc<Client>,
        broker: &Broker,
        topic: &CheetahString,
        queue: u32,
    ) -> Result<()> {
        match self.try_write(client, broker, topic, queue).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make(client, broker, topic, PRIORITY_QUEUES, "PRIORITY").await?;
                self.try_write(client, broker, topic, queue).await
            }
            written => written,
        }
    }

    async fn try_write(
        &self,
        client: &Arc<Client>,
        broker: &Broker,
        topic: &CheetahString,
        queue: u32,
    ) -> Result<()> {
        let request = Request::new(RequestCode::SendMessageV2)
            .field("a", &client.config.producer_group)
            .text("b", topic.clone())
            .field("c", "TBW102")
            .field("d", PRIORITY_QUEUES)
            .field("e", queue)
            .field("f", 0)
            .field("g", self.born)
            .field("h", 0)
            .text("i", self.properties.as_str().into())
            .field("j", 0)
            .field("k", false)
            .field("m", false)
            .text("n", broker.name.clone())
            .body(self.body.clone());
        let answer = client.call("give back", &broker.address, request).await?;
        answer.success("give back").map(|_| ())
    }
}

/// Whether a property is the message's own, and neither the broker's nor of an earlier copy.
fn is_ours(name: &str) -> bool {
    let of_copies = [
        property::ATTEMPTS,
        property::HISTORY,
        property::UNTIL,
        crate::dead::property::REASON,
        crate::dead::property::AT,
    ];
    let envelope =
        name.starts_with("statehouse-") || name.starts_with("h-") || name == "traceparent";
    (envelope && !of_copies.contains(&name)) || KEPT.contains(&name)
}

/// Puts the message into the group's own topic, due after `delay`.
pub(crate) async fn give_again(
    cluster: &Cluster,
    broker: &Broker,
    group: &Group,
    content: &Content,
    delay: Duration,
) -> Result<()> {
    let queue = u32::from(content.priority.level());
    let longest = cluster.settings.max_delay().unwrap_or_default();
    Copy::of(content)?
        .delayed(delay, longest)
        .write(&cluster.client, broker, &group.again, queue)
        .await
}
