//! The two topics of each namespace, made when it is first used.

use std::collections::HashSet;
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

/// Which topics were made or seen by this process.
#[derive(Debug, Default)]
pub(crate) struct TopicsMade(Mutex<HashSet<Namespace>>);

impl TopicsMade {
    /// Makes the topics of `namespace` on every broker, unless this process knows that they are
    /// there. Idempotent.
    pub(crate) async fn ensure(
        &self,
        client: &Arc<Client>,
        naming: &Naming,
        namespace: &Namespace,
    ) -> Result<Topics> {
        let topics = naming.topics(namespace);
        if self.0.lock().contains(namespace) {
            return Ok(topics);
        }
        for broker in client.brokers()?.iter() {
            make(
                client,
                broker,
                &topics.keyed,
                client.config.key_queues,
                "FIFO",
            )
            .await?;
            make(
                client,
                broker,
                &topics.priority,
                PRIORITY_QUEUES,
                "PRIORITY",
            )
            .await?;
        }
        self.0.lock().insert(namespace.clone());
        Ok(topics)
    }

    /// Forgets what it knows, after the broker said that a topic is not there.
    pub(crate) fn forget(&self, namespace: &Namespace) {
        self.0.lock().remove(namespace);
    }
}

async fn make(
    client: &Arc<Client>,
    broker: &Broker,
    topic: &CheetahString,
    queues: u32,
    kind: &str,
) -> Result<()> {
    if queues_of(client, broker, topic).await?.is_some() {
        return Ok(());
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
    answer.success("make topic").map(|_| ())
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
