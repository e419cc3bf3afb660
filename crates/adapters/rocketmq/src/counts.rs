//! How many messages a group has still to get.
//!
//! The broker says up to where a group has taken each queue, and where the queue ends. What lies
//! between belongs to all groups of the namespace: of a group with a pattern, what matches is counted
//! by looking, up to a limit, and estimated beyond. What is leased or waits for its delay is not to
//! be had.

use std::time::Duration;

use cheetah_string::CheetahString;
use rocketmq_protocol::code::request_code::RequestCode;
use rocketmq_protocol::protocol::admin::consume_stats::ConsumeStats;
use statehouse_contracts::{Counts, Error, Pattern, Result};

use crate::dead;
use crate::groups::{Group, Groups};
use crate::log::{self, PAGE, Queue};
use crate::message::decode;
use crate::request::Request;
use crate::session::Broker;

/// How many pages of each queue are looked at.
const PAGES: usize = 200;

/// A queue, and what of it the group has still to get.
pub(crate) struct Backlog {
    pub(crate) topic: CheetahString,
    pub(crate) queue: i32,
    /// Up to where the group is done with it.
    pub(crate) committed: i64,
    /// Up to where it has been leased.
    pub(crate) from: i64,
    to: i64,
}

/// What the group holds: ready and dead; the rest is not known.
pub(crate) async fn counts(groups: &Groups, group: &Group) -> Result<Counts> {
    let mut ready = 0;
    for broker in groups.client.brokers()?.iter() {
        for backlog in backlogs(groups, group, broker).await? {
            if backlog.from >= backlog.to {
                continue;
            }
            ready += matching(groups, group, broker, &backlog).await?;
        }
    }
    Ok(Counts {
        ready,
        dead: dead::count(groups, group).await?,
        exact: false,
        ..Counts::default()
    })
}

/// The queues of one broker from which the group gets something.
pub(crate) async fn backlogs(
    groups: &Groups,
    group: &Group,
    broker: &Broker,
) -> Result<Vec<Backlog>> {
    let mut topics = group.own_topics();
    topics.extend([group.topics.keyed.clone(), group.topics.priority.clone()]);
    let mut found = Vec::new();
    for topic in topics {
        if topic == crate::naming::Naming::dead_letters(&group.native) {
            continue;
        }
        let request = Request::new(RequestCode::GetConsumeStats)
            .text("consumerGroup", group.native.clone())
            .text("topic", topic.clone())
            .text("topicList", topic.clone());
        let answer = groups.client.call("counts", &broker.address, request);
        let body = answer.await?.success("counts")?.body();
        let stats = ConsumeStats::decode(&body).map_err(|error| {
            Error::internal(format!("RocketMQ's counts cannot be read: {error}"))
        })?;
        for (queue, offsets) in stats.offset_table {
            let committed = offsets.get_consumer_offset();
            found.push(Backlog {
                topic: topic.clone(),
                queue: queue.queue_id(),
                committed,
                from: committed.max(offsets.get_pull_offset()),
                to: offsets.get_broker_offset(),
            });
        }
    }
    Ok(found)
}

/// How many messages of the backlog the group gets.
async fn matching(
    groups: &Groups,
    group: &Group,
    broker: &Broker,
    backlog: &Backlog,
) -> Result<u64> {
    let all = backlog.to.saturating_sub(backlog.from) as u64;
    let shared = backlog.topic == group.topics.keyed || backlog.topic == group.topics.priority;
    if !shared || group.spec.pattern == Pattern::ALL {
        return Ok(all);
    }
    let queue = Queue {
        broker,
        topic: &backlog.topic,
        id: backlog.queue,
    };
    let (mut at, mut matches) = (backlog.from, 0);
    for _ in 0..PAGES {
        if at >= backlog.to {
            return Ok(matches);
        }
        let page = log::read(groups, queue, at, PAGE, Duration::ZERO).await?;
        let fits = |message: &_| {
            decode(message).is_ok_and(|it| group.spec.pattern.matches(&it.message.topic))
        };
        matches += page.messages.iter().filter(|message| fits(message)).count() as u64;
        if page.next <= at {
            return Ok(matches);
        }
        at = page.next;
    }
    let seen = at.saturating_sub(backlog.from) as u64;
    Ok(matches.saturating_mul(all) / seen.max(1))
}
