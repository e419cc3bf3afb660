//! From a batch of messages to requests, and back to one answer for each.
//!
//! Each message has a lane: a topic and a queue of one broker. Lanes go side by side; inside a lane
//! requests go one after another, so that a queue's order is the order sent.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cheetah_string::CheetahString;
use futures::future::join_all;
use rocketmq_protocol::code::request_code::RequestCode;
use statehouse_contracts::{
    Error, ErrorKind, GroupName, Message, Namespace, Result, SendOptions, Sent,
};
use tokio::sync::SemaphorePermit;

use crate::cluster::Cluster;
use crate::home::{home, queue};
use crate::message::{Native, batch, encode};
use crate::request::{Answer, Request};
use crate::scheduled::Scheduled;
use crate::session::Broker;
use crate::topics::Made;

/// The most messages of one request.
const TOGETHER: usize = 256;

/// What the broker needs in a request beside its messages.
const FRAME: usize = 64 * 1024;

/// Where a message goes: orders lanes, and tells them apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lane {
    broker: usize,
    keyed: bool,
    queue: u32,
    /// The place in the batch of a delayed message, which goes alone.
    alone: Option<usize>,
}

/// A message on its way.
#[derive(Debug)]
struct Item {
    index: usize,
    key: Option<String>,
    delay: Duration,
    native: Native,
}

/// All that the lanes of one batch share.
struct Sending<'a> {
    cluster: &'a Arc<Cluster>,
    namespace: &'a Namespace,
    made: Arc<Made>,
    brokers: Arc<[Broker]>,
    deadline: Instant,
}

type Answers = Vec<(usize, Result<Sent>)>;

/// Sends a batch to `namespace`.
pub(crate) async fn send(
    cluster: &Arc<Cluster>,
    namespace: &Namespace,
    messages: Vec<Message>,
    options: SendOptions,
) -> Result<Vec<Result<Sent>>> {
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let sending = Sending {
        cluster,
        namespace,
        made: cluster.groups.made(namespace).await?,
        brokers: cluster.client.brokers()?,
        deadline: Instant::now() + options.admission,
    };
    let number = messages.len();
    let no_mailbox = make_mailboxes(cluster, namespace, &messages).await;
    let (mut answers, lanes) = sending.plan(messages, &no_mailbox).await;
    let lanes = lanes
        .into_iter()
        .map(|(lane, items)| sending.run(lane, items));
    answers.extend(join_all(lanes).await.into_iter().flatten());
    answers.sort_by_key(|(index, _)| *index);
    debug_assert_eq!(answers.len(), number);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}

/// Makes the mailboxes that the messages go to; answers those that could not be made.
async fn make_mailboxes(
    cluster: &Arc<Cluster>,
    namespace: &Namespace,
    messages: &[Message],
) -> BTreeMap<String, Error> {
    let mailboxes: HashSet<&str> = messages
        .iter()
        .filter(|message| message.topic.is_mailbox())
        .map(|message| message.topic.as_str())
        .collect();
    let mut failed = BTreeMap::new();
    for mailbox in mailboxes {
        let made = match GroupName::new(mailbox) {
            Ok(name) => cluster.groups.find(namespace, &name).await.map(|_| ()),
            Err(error) => Err(error),
        };
        if let Err(error) = made {
            failed.insert(mailbox.to_owned(), error);
        }
    }
    failed
}

impl Sending<'_> {
    /// The lanes of the messages, and the answers to those that cannot be sent at all.
    async fn plan(
        &self,
        messages: Vec<Message>,
        no_mailbox: &BTreeMap<String, Error>,
    ) -> (Answers, BTreeMap<Lane, Vec<Item>>) {
        let mut answers = Answers::new();
        let mut lanes: BTreeMap<Lane, Vec<Item>> = BTreeMap::new();
        let mut failed: HashSet<String> = HashSet::new();
        let free = fastrand::usize(..self.brokers.len().max(1));
        for (index, message) in messages.into_iter().enumerate() {
            if message
                .ordering_key
                .as_ref()
                .is_some_and(|key| failed.contains(key))
            {
                answers.push((index, Err(behind_a_failure())));
                continue;
            }
            let encoded = match no_mailbox.get(message.topic.as_str()) {
                Some(error) => Err(error.replicate()),
                None => encode(&message),
            };
            match encoded {
                Ok(native) => {
                    let lane = self.lane(&message, index, free);
                    lanes.entry(lane).or_default().push(Item {
                        index,
                        key: message.ordering_key,
                        delay: message.delay,
                        native,
                    });
                }
                Err(error) => {
                    failed.extend(message.ordering_key);
                    answers.push((index, Err(error)));
                }
            }
        }
        (answers, lanes)
    }

    /// Where the message goes. A key stays with its broker and queue as long as the broker is there;
    /// `free` is the broker for messages without one.
    fn lane(&self, message: &Message, index: usize, free: usize) -> Lane {
        match &message.ordering_key {
            Some(key) => {
                let broker = home(key, &self.brokers);
                let queues = self.brokers.get(broker).map(|it| self.made.key_queues(it));
                Lane {
                    broker,
                    keyed: true,
                    queue: queue(key, queues.unwrap_or(1)),
                    alone: None,
                }
            }
            None => Lane {
                broker: free,
                keyed: false,
                queue: u32::from(message.priority.level()),
                alone: (!message.delay.is_zero()).then_some(index),
            },
        }
    }

    /// Sends what goes to one lane.
    async fn run(&self, lane: Lane, items: Vec<Item>) -> Answers {
        let mut answers = Answers::new();
        let mut failed: HashSet<String> = HashSet::new();
        for mut request in self.requests(items) {
            request.retain(|item| {
                let behind = item.key.as_ref().is_some_and(|key| failed.contains(key));
                if behind {
                    answers.push((item.index, Err(behind_a_failure())));
                }
                !behind
            });
            if request.is_empty() {
                continue;
            }
            match self.request(&lane, &request).await {
                Ok(()) => answers.extend(request.into_iter().map(|item| {
                    let sent = Sent {
                        id: item.native.id,
                        routed: None,
                        duplicate_of: None,
                    };
                    (item.index, Ok(sent))
                })),
                Err(error) => {
                    for item in request {
                        answers.push((item.index, Err(error.replicate())));
                        failed.extend(item.key);
                    }
                }
            }
        }
        answers
    }

    /// Parts that fit into one request each.
    fn requests(&self, items: Vec<Item>) -> Vec<Vec<Item>> {
        let room = self.cluster.settings.max_message().saturating_sub(FRAME);
        let mut parts: Vec<Vec<Item>> = Vec::new();
        let mut taken = 0;
        for item in items {
            let size = item.native.size();
            match parts.last_mut() {
                Some(part) if part.len() < TOGETHER && taken + size <= room => {
                    taken += size;
                    part.push(item);
                }
                _ => {
                    taken = size;
                    parts.push(vec![item]);
                }
            }
        }
        parts
    }

    async fn request(&self, lane: &Lane, items: &[Item]) -> Result<()> {
        let broker = self
            .brokers
            .get(lane.broker)
            .ok_or_else(|| Error::new(ErrorKind::Unavailable, "there is no broker to send to"))?;
        let _admitted = self.admitted().await?;
        let topic = if lane.keyed {
            &self.made.topics.keyed
        } else {
            &self.made.topics.priority
        };
        let request = request(self.cluster, broker, topic, lane.queue, items);
        let asked = Instant::now();
        let answer = self
            .cluster
            .client
            .call("send", &broker.address, request)
            .await?;
        let answer = answer.success("send").inspect_err(|error| {
            // Somebody deleted the topic: the next send makes it again.
            if error.kind() == ErrorKind::NotFound {
                self.cluster.groups.made.forget(self.namespace);
            }
        })?;
        if lane.alone.is_some() {
            self.remember(broker, topic, items, &answer, asked);
        }
        Ok(())
    }

    async fn admitted(&self) -> Result<SemaphorePermit<'_>> {
        let deadline = tokio::time::Instant::from_std(self.deadline);
        let waiting = tokio::time::timeout_at(deadline, self.cluster.sends.acquire());
        match waiting.await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(Error::closed()),
            Err(_) => Err(Error::new(
                ErrorKind::Overloaded,
                "too many messages of this process are on their way",
            )),
        }
    }

    fn remember(
        &self,
        broker: &Broker,
        topic: &CheetahString,
        items: &[Item],
        answer: &Answer,
        asked: Instant,
    ) {
        let (Some(handle), [item]) = (answer.field("recallHandle"), items) else {
            return;
        };
        let scheduled = Scheduled {
            due: asked + item.delay,
            broker: broker.name.clone(),
            topic: topic.clone(),
            handle: handle.into(),
        };
        self.cluster
            .scheduled
            .remember(self.namespace, item.native.id, scheduled);
    }
}

/// The request that sends these messages to one queue.
fn request(
    cluster: &Cluster,
    broker: &Broker,
    topic: &CheetahString,
    queue: u32,
    items: &[Item],
) -> Request {
    let natives: Vec<Native> = items.iter().map(|item| item.native.clone()).collect();
    let (code, properties, body) = match &natives[..] {
        [one] => (
            RequestCode::SendMessageV2,
            one.properties.clone(),
            one.body.clone(),
        ),
        many => (
            RequestCode::SendBatchMessage,
            CheetahString::new(),
            batch(many),
        ),
    };
    let is_batch = natives.len() > 1;
    write_header(
        Request::new(code),
        &cluster.client.config.producer_group,
        broker,
        topic,
        queue,
    )
    .text("i", properties)
    .field("m", is_batch)
    .body(body)
}

/// The fields of a request that sends, by their short names.
fn write_header(
    request: Request,
    producer_group: &str,
    broker: &Broker,
    topic: &CheetahString,
    queue: u32,
) -> Request {
    let born = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    request
        .field("a", producer_group)
        .text("b", topic.clone())
        .field("c", "TBW102")
        .field("d", 4)
        .field("e", queue)
        .field("f", 0)
        .field("g", born)
        .field("h", 0)
        .field("j", 0)
        .field("k", false)
        .text("n", broker.name.clone())
}

fn behind_a_failure() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "an earlier message of its ordering key in this batch failed",
    )
}
