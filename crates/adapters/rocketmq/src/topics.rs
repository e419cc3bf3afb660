//! The two topics of each namespace, made when it is first used.

use std::collections::HashMap;
use std::sync::Arc;

use cheetah_string::CheetahString;
use parking_lot::Mutex;
use rocketmq_protocol::code::request_code::RequestCode;
use statehouse_contracts::{Namespace, Result};

use crate::client::Client;
use crate::naming::{Naming, Topics};
use crate::request::Request;
use crate::session::Broker;

/// One queue for each priority.
pub(crate) const PRIORITY_QUEUES: u32 = 10;

/// Read and write.
const PERMISSION: u8 = 6;

/// The topics of one namespace, as they are.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) topics: Topics,
    /// Over how many queues of each broker ordering keys are spread.
    key_queues: HashMap<CheetahString, u32>,
}

impl Made {
    /// Over how many queues of this broker ordering keys are spread.
    pub(crate) fn key_queues(&self, broker: &Broker) -> u32 {
        self.key_queues.get(&broker.name).copied().unwrap_or(1)
    }
}

/// Which topics were made or seen by this process.
#[derive(Debug, Default)]
pub(crate) struct TopicsMade(Mutex<HashMap<Namespace, Arc<Made>>>);

impl TopicsMade {
    /// Makes the topics of `namespace` on every broker, unless this process knows that they are
    /// there. Idempotent. A topic that is there stays as it is.
    pub(crate) async fn ensure(
        &self,
        client: &Arc<Client>,
        naming: &Naming,
        namespace: &Namespace,
    ) -> Result<Arc<Made>> {
        let brokers = client.brokers()?;
        if let Some(made) = self.0.lock().get(namespace)
            && brokers
                .iter()
                .all(|it| made.key_queues.contains_key(&it.name))
        {
            return Ok(made.clone());
        }
        let topics = naming.topics(namespace);
        let mut key_queues = HashMap::new();
        for broker in brokers.iter() {
            let (keyed, priority) = (&topics.keyed, &topics.priority);
            let queues = make(client, broker, keyed, client.config.key_queues, "FIFO").await?;
            make(client, broker, priority, PRIORITY_QUEUES, "PRIORITY").await?;
            key_queues.insert(broker.name.clone(), queues.max(1));
        }
        let made = Arc::new(Made { topics, key_queues });
        self.0.lock().insert(namespace.clone(), made.clone());
        Ok(made)
    }

    /// Forgets what it knows, after the broker said that a topic is not there.
    pub(crate) fn forget(&self, namespace: &Namespace) {
        self.0.lock().remove(namespace);
    }
}

/// Makes a topic, unless it is there; answers how many queues it has.
pub(crate) async fn make(
    client: &Arc<Client>,
    broker: &Broker,
    topic: &CheetahString,
    queues: u32,
    kind: &str,
) -> Result<u32> {
    if let Some(there) = queues_of(client, broker, topic).await? {
        return Ok(there);
    }
    let request = Request::new(RequestCode::UpdateAndCreateTopic)
        .text("topic", topic.clone())
        .field("defaultTopic", "TBW102")
        .field("readQueueNums", queues)
        .field("writeQueueNums", queues)
        .field("perm", PERMISSION)
        .field("topicFilterType", "SINGLE_TAG")
        .field("topicSysFlag", 0)
        .field("order", false)
        .field("attributes", format!("+message.type={kind}"));
    let answer = client.call("make topic", &broker.address, request).await?;
    answer.success("make topic").map(|_| queues)
}

/// How many queues the topic has on this broker; `None` when it is not there.
pub(crate) async fn queues_of(
    client: &Arc<Client>,
    broker: &Broker,
    topic: &CheetahString,
) -> Result<Option<u32>> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape {
        write_queue_nums: u32,
    }
    let request = Request::new(RequestCode::GetTopicConfig)
        .text("topic", topic.clone())
        .field("lo", true);
    let answer = client
        .call("look for topic", &broker.address, request)
        .await?;
    if answer.code() == crate::error::code::TOPIC_NOT_EXIST {
        return Ok(None);
    }
    let shape: Shape = answer.success("look for topic")?.json()?;
    Ok(Some(shape.write_queue_nums))
}
