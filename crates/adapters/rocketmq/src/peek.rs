//! Looking at what a group would be handed out next, without taking it.
//!
//! What is ready lies behind the place up to where the group has taken each queue, or in the buffer
//! of this process. Of a queue in order only the head is ready, and the broker says whether it is.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use rocketmq_protocol::code::request_code::RequestCode;
use statehouse_contracts::{Received, Result, Timestamp};

use crate::cluster::Cluster;
use crate::counts::{Backlog, backlogs};
use crate::groups::Group;
use crate::log::{self, PAGE, Queue};
use crate::pop::engine::Engine;
use crate::pop::held::{Held, Verdict};
use crate::pop::source::now;
use crate::request::Request;
use crate::session::Broker;

/// How many pages of a queue are looked at for something that the group gets.
const PAGES: usize = 50;

/// How long the broker may take to show what it has just accepted.
const SHOWN: Duration = Duration::from_millis(300);

/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// The next messages that the group would get, with the number of their last attempt.
pub(crate) async fn peek(
    cluster: &Cluster,
    engine: &Engine,
    group: &Group,
    max: usize,
) -> Result<Vec<(Received, u32)>> {
    let mut found = engine.in_buffer();
    for held in ready(cluster, group, max, false).await? {
        found.push((held.received, held.content.attempt - 1));
    }
    let by_priority = group.spec.priorities;
    found.sort_by_key(|(received, _)| {
        let level = received.message.priority.level();
        let level = if by_priority { level } else { 0 };
        (std::cmp::Reverse(level), received.due_at)
    });
    found.truncate(max);
    Ok(found)
}

/// Since when the oldest message has been due that the group has still to get.
pub(crate) async fn oldest(
    cluster: &Cluster,
    engine: &Engine,
    group: &Group,
) -> Result<Option<Duration>> {
    let here = engine.in_buffer().into_iter().map(|(it, _)| it.due_at);
    let there = ready(cluster, group, 1, true).await?;
    let there = there.into_iter().map(|held| held.received.due_at);
    Ok(here.chain(there).min().map(age))
}

fn age(due: Timestamp) -> Duration {
    let age = Timestamp::now().duration_since(due);
    age.try_into().unwrap_or_default()
}

/// At most `max` messages of each queue that the group would get. Where the head of a queue in order
/// is leased or waits, nothing; with `behind` what comes after it.
async fn ready(cluster: &Cluster, group: &Group, max: usize, behind: bool) -> Result<Vec<Held>> {
    let mut found = Vec::new();
    for broker in cluster.client.brokers()?.iter() {
        let queues = backlogs(&cluster.groups, group, broker).await?;
        let queues = queues
            .iter()
            .map(|backlog| of_queue(cluster, group, broker, backlog, (max, behind)));
        found.extend(try_join_all(queues).await?.into_iter().flatten());
    }
    Ok(found)
}

async fn of_queue(
    cluster: &Cluster,
    group: &Group,
    broker: &Broker,
    backlog: &Backlog,
    (max, behind): (usize, bool),
) -> Result<Vec<Held>> {
    let queue = Queue {
        broker,
        topic: &backlog.topic,
        id: backlog.queue,
    };
    let in_order = group.spec.ordering && backlog.topic == group.topics.keyed;
    if !in_order {
        return read(cluster, group, queue, backlog.from, max).await;
    }
    let mut found = read(cluster, group, queue, backlog.committed, 2).await?;
    if !found.is_empty() && !is_free(cluster, group, queue).await? {
        found.retain(|held| behind && held.place.offset > backlog.committed);
    }
    found.truncate(1);
    Ok(found)
}

/// The first messages of a queue that the group would get, with what was accepted just now.
async fn read(
    cluster: &Cluster,
    group: &Group,
    queue: Queue<'_>,
    from: i64,
    max: usize,
) -> Result<Vec<Held>> {
    let end = log::end(&cluster.client, queue).await?;
    let shown = Instant::now() + SHOWN;
    let (mut found, mut at) = (Vec::new(), from);
    for _ in 0..PAGES {
        if at >= end || found.len() >= max {
            break;
        }
        let page = log::read(&cluster.groups, queue, at, PAGE, Duration::ZERO).await?;
        if page.next <= at && Instant::now() >= shown {
            break;
        }
        if page.next <= at {
            // sleep: the pause between two looks whether the broker shows what it has accepted
            tokio::time::sleep(LOOK).await;
        }
        let messages = page.messages.into_iter();
        found.extend(messages.filter_map(|native| {
            let held = Held::seen(native).ok()?;
            (held.verdict(group) == Verdict::Deliver).then_some(held)
        }));
        at = page.next.max(at);
    }
    found.truncate(max);
    Ok(found)
}

/// Whether the head of a queue in order is neither leased nor waits.
async fn is_free(cluster: &Cluster, group: &Group, queue: Queue<'_>) -> Result<bool> {
    let request = Request::new(RequestCode::Notification)
        .text("consumerGroup", group.native.clone())
        .text("topic", queue.topic.clone())
        .field("queueId", queue.id)
        .field("pollTime", 0)
        .field("bornTime", now())
        .field("order", true);
    let answer = cluster.client.call("peek", &queue.broker.address, request);
    let answer = answer.await?.success("peek")?;
    Ok(answer.field("hasMsg") == Some("true"))
}
