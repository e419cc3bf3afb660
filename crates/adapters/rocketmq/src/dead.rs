//! Dead letters: the messages that a group gave up on, in a topic of its own.
//!
//! Queue 0 of that topic holds the letters, each a copy of the message with its reason and history.
//! Queue 1 says which of them were put back. Before the offset that the group has committed on
//! either, nothing counts.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cheetah_string::CheetahString;
use jiff::Timestamp;
use rocketmq_model::common::message::message_ext::MessageExt;
use rocketmq_protocol::code::request_code::RequestCode;
use statehouse_contracts::{
    DeadLetter, Error, Message, MessageId, Page, PageCursor, Payload, Result, Topic,
};

use crate::client::Client;
use crate::error::code;
use crate::groups::{Group, Groups};
use crate::log::{self, PAGE, Queue};
use crate::message::encode;
use crate::naming::Naming;
use crate::pop::copy::Copy;
use crate::pop::held::{Content, Held, Unread, number};
use crate::pop::history::{shortened, time};
use crate::pop::source::now;
use crate::request::Request;
use crate::session::Broker;

/// The reason of a message whose deliveries are used up.
pub(crate) const MAX_DELIVERIES: &str = "max_deliveries";

/// The properties that only dead letters carry.
pub(crate) mod property {
    /// Why the message was given up.
    pub(crate) const REASON: &str = "statehouse-dead-reason";
    /// When, in milliseconds since 1970.
    pub(crate) const AT: &str = "statehouse-dead-at-ms";
    /// In queue 1: the offset of a letter that was put back.
    pub(super) const GONE: &str = "statehouse-gone";
}

/// Where the letters are, and where it says which were put back.
const LETTERS: i32 = 0;
const GONE: i32 = 1;

/// The topic of dead letters that name none.
const FOREIGN: &str = "foreign";

/// The largest page.
const MAX_PAGE: usize = 1000;

/// Makes a message a dead letter of the group. The delivery it comes from is still to be ended.
pub(crate) async fn bury(
    client: &Arc<Client>,
    broker: &Broker,
    group: &Group,
    content: &Content,
    reason: &str,
) -> Result<()> {
    let mut copy = Copy::of(content)?;
    copy.set(property::REASON, escaped(shortened(reason)));
    copy.set(property::AT, now());
    let topic = Naming::dead_letters(&group.native);
    copy.write(client, broker, &topic, LETTERS as u32).await
}

/// Makes a dead letter of a message that is none of ours: its body as it is, on the topic that its
/// tag names, or else on [`FOREIGN`]. The delivery it comes from is still to be ended.
pub(crate) async fn bury_unread(
    client: &Arc<Client>,
    broker: &Broker,
    group: &Group,
    unread: &Unread,
) -> Result<()> {
    let native = &unread.popped.native;
    let properties = native.message_inner().properties().as_map();
    let property = |name: &str| properties.get(name).map(CheetahString::as_str);
    let topic = property("TAGS").and_then(|tag| Topic::new(tag).ok());
    if topic
        .as_ref()
        .is_some_and(|it| !group.spec.pattern.matches(it))
    {
        return Ok(());
    }
    let topic = topic.map_or_else(|| Topic::new(FOREIGN), Ok)?;
    let mut message = Message::new(topic, Payload::bytes(native.body().unwrap_or_default()));
    if let Some(id) = property("UNIQ_KEY").and_then(|id| id.parse().ok()) {
        message.id = id;
    }
    let mut copy = Copy::sent(encode(&message)?, native.born_timestamp());
    let reason = format!("cannot be read: {}", unread.error.message());
    copy.set(property::REASON, escaped(shortened(&reason)));
    copy.set(property::AT, now());
    let topic = Naming::dead_letters(&group.native);
    copy.write(client, broker, &topic, LETTERS as u32).await
}

/// Control characters end names and values on the broker.
fn escaped(reason: &str) -> String {
    reason.replace(['\u{1}', '\u{2}'], " ")
}

/// A letter and where it lies.
struct Found {
    letter: DeadLetter,
    content: Content,
    broker: Broker,
    offset: i64,
}

impl Found {
    fn order(&self) -> (Timestamp, &str, i64) {
        (self.letter.at, self.broker.name.as_str(), self.offset)
    }

    fn cursor(&self) -> String {
        let (at, broker, offset) = self.order();
        format!("{}.{offset}.{broker}", at.as_millisecond())
    }
}

/// A page of the group's dead letters, oldest first.
pub(crate) async fn list(
    groups: &Groups,
    group: &Group,
    limit: usize,
    after: Option<&PageCursor>,
) -> Result<Page<DeadLetter>> {
    let after = after.map(read_cursor).transpose()?;
    let limit = match limit {
        0 => MAX_PAGE,
        limit => limit.min(MAX_PAGE),
    };
    let mut found = all(groups, group).await?;
    if let Some((at, offset, broker)) = &after {
        found.retain(|found| found.order() > (*at, broker.as_str(), *offset));
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let next = match found.last() {
        Some(last) if more => Some(PageCursor(last.cursor())),
        _ => None,
    };
    Ok(Page {
        items: found.into_iter().map(|found| found.letter).collect(),
        next,
    })
}

fn read_cursor(cursor: &PageCursor) -> Result<(Timestamp, i64, String)> {
    let read = || {
        let (at, rest) = cursor.0.split_once('.')?;
        let (offset, broker) = rest.split_once('.')?;
        let at = time(at.parse().ok()?).ok()?;
        Some((at, offset.parse().ok()?, broker.to_owned()))
    };
    read().ok_or_else(|| Error::invalid(format!("{:?} is no page of dead letters", cursor.0)))
}

/// How many there are.
pub(crate) async fn count(groups: &Groups, group: &Group) -> Result<u64> {
    Ok(all(groups, group).await?.len() as u64)
}

/// All letters, oldest first.
async fn all(groups: &Groups, group: &Group) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for broker in groups.client.brokers()?.iter() {
        let mut gone = HashSet::new();
        for message in entries(groups, group, broker, GONE).await? {
            gone.extend(number(
                message.message_inner().properties().as_map(),
                property::GONE,
            )?);
        }
        for message in entries(groups, group, broker, LETTERS).await? {
            let offset = message.queue_offset();
            if gone.contains(&(offset as u64)) {
                continue;
            }
            match letter(message) {
                Ok((letter, content)) => found.push(Found {
                    letter,
                    content,
                    broker: broker.clone(),
                    offset,
                }),
                Err(error) => {
                    tracing::warn!(%error, group = %group.name, "a dead letter cannot be read");
                }
            }
        }
    }
    found.sort_by(|a, b| a.order().cmp(&b.order()));
    Ok(found)
}

/// What a queue of the topic holds.
async fn entries(
    groups: &Groups,
    group: &Group,
    broker: &Broker,
    id: i32,
) -> Result<Vec<MessageExt>> {
    let topic = Naming::dead_letters(&group.native);
    let queue = Queue {
        broker,
        topic: &topic,
        id,
    };
    let end = log::end(&groups.client, queue).await?;
    let mut at = committed(&groups.client, group, queue).await?;
    let mut entries = Vec::new();
    while at < end {
        let page = log::read(groups, queue, at, PAGE, Duration::ZERO).await?;
        if page.next <= at {
            break;
        }
        at = page.next;
        entries.extend(page.messages);
    }
    Ok(entries)
}

fn letter(native: MessageExt) -> Result<(DeadLetter, Content)> {
    let properties = native.message_inner().properties().as_map();
    let at = number(properties, property::AT)?.unwrap_or_default();
    let reason = properties
        .get(property::REASON)
        .map(ToString::to_string)
        .unwrap_or_default();
    let held = Held::seen(native)?;
    let letter = DeadLetter {
        received: held.received,
        reason,
        at: time(at as i64)?,
        // Reading it is no delivery.
        attempts: held.content.attempt - 1,
        errors: held.content.history.clone().errors(),
    };
    Ok((letter, held.content))
}

/// Puts letters back into the group, with attempts from 0: the one with this id, or all.
///
/// # Errors
/// [`NotFound`](statehouse_contracts::ErrorKind::NotFound) for an unknown id.
pub(crate) async fn redrive(groups: &Groups, group: &Group, id: Option<MessageId>) -> Result<u64> {
    let mut found = all(groups, group).await?;
    if let Some(id) = id {
        found.retain(|found| found.letter.received.message.id == id);
        if found.is_empty() {
            return Err(Error::not_found(format!(
                "the group {} has no dead letter {id}",
                group.name
            )));
        }
    }
    for found in &found {
        let queue = u32::from(found.content.priority.level());
        Copy::afresh(&found.content)
            .write(&groups.client, &found.broker, &group.again, queue)
            .await?;
        Copy::mark(property::GONE, found.offset)
            .write(
                &groups.client,
                &found.broker,
                &Naming::dead_letters(&group.native),
                GONE as u32,
            )
            .await?;
    }
    Ok(found.len() as u64)
}

/// Up to where the group is done with a queue.
async fn committed(client: &Arc<Client>, group: &Group, queue: Queue<'_>) -> Result<i64> {
    let request = Request::new(RequestCode::QueryConsumerOffset)
        .text("consumerGroup", group.native.clone())
        .text("topic", queue.topic.clone())
        .field("queueId", queue.id);
    let answer = client
        .call("look for dead letters", &queue.broker.address, request)
        .await?;
    match answer.code() {
        code::TOPIC_NOT_EXIST | code::NOT_FOUND => Ok(0),
        _ => answer.success("look for dead letters")?.number("offset"),
    }
}

impl Copy {
    /// An entry without a message.
    fn mark(name: &str, value: i64) -> Self {
        let mut copy = Self::empty(Bytes::from_static(b"-"));
        copy.set(name, value);
        copy
    }
}
