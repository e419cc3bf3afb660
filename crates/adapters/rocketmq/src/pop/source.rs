//! Where a group's messages come from, and how the broker is asked for them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cheetah_string::CheetahString;
use rocketmq_model::common::message::message_ext::MessageExt;
use rocketmq_protocol::code::request_code::RequestCode;
use rocketmq_protocol::common::message::message_decoder;
use rocketmq_protocol::protocol::header::extra_info_util::ExtraInfoUtil;
use statehouse_contracts::{Error, ErrorKind, Result};

use crate::client::Client;
use crate::error::code;
use crate::groups::Group;
use crate::naming::Naming;
use crate::request::{Answer, Request};
use crate::session::Broker;

/// The most messages that the broker hands out to one request.
pub(crate) const MOST: usize = 32;

/// Answers that carry no message: nothing is there, or too many already wait for something.
const NOTHING: i32 = 19;
const WAITING_FULL: i32 = 209;
const WAITED: i32 = 210;

/// The property in which a message may carry its handle.
const HANDLE: &str = "POP_CK";

/// Where the handle tells when it was leased, which of the topics beside it lies in, and where.
const POP_TIME: usize = 1;
const AGAIN: usize = 4;
const QUEUE: usize = 6;
const OFFSET: usize = 7;

/// Where messages come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// The group's own topic: what failed and comes again.
    Again,
    /// The namespace's messages without an ordering key.
    Priority,
    /// The namespace's messages with one.
    Keyed,
}

impl Source {
    pub(crate) const ALL: [Self; 3] = [Self::Again, Self::Priority, Self::Keyed];

    pub(crate) fn topic(self, group: &Group) -> &CheetahString {
        match self {
            Self::Again => &group.again,
            Self::Priority => &group.topics.priority,
            Self::Keyed => &group.topics.keyed,
        }
    }

    /// Whether the broker hands out one message of a queue at a time.
    pub(crate) fn ordered(self, group: &Group) -> bool {
        self == Self::Keyed && group.spec.ordering
    }

    /// What the broker lets through.
    fn filter(self, group: &Group) -> CheetahString {
        match self {
            Self::Again => CheetahString::from_static_str("*"),
            Self::Priority | Self::Keyed => group.filter.clone(),
        }
    }
}

/// One question for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) max: usize,
    /// For how long nobody else gets them.
    pub(crate) invisible: Duration,
    /// How long the broker waits for the first.
    pub(crate) wait: Duration,
}

/// Where a leased message lies, and the handle to settle it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) broker: CheetahString,
    pub(crate) topic: CheetahString,
    pub(crate) queue: i32,
    pub(crate) offset: i64,
    pub(crate) handle: CheetahString,
    /// Whether its queue waits for it.
    pub(crate) ordered: bool,
}

/// A message that the broker handed out.
#[derive(Debug)]
pub(crate) struct Popped {
    pub(crate) native: MessageExt,
    pub(crate) place: Place,
    /// Until when nobody else gets it, counted from before the question.
    pub(crate) until: Instant,
}

/// Takes messages. The answer is never thrown away by dropping this call: run it in a task.
pub(crate) async fn pop(
    client: &Arc<Client>,
    broker: &Broker,
    group: &Group,
    source: Source,
    ask: Ask,
) -> Result<Vec<Popped>> {
    let (topic, ordered) = (source.topic(group).clone(), source.ordered(group));
    let request = Request::new(RequestCode::PopMessage)
        .text("consumerGroup", group.native.clone())
        .text("topic", topic.clone())
        .field("queueId", -1)
        .field("maxMsgNums", if ordered { 1 } else { ask.max.min(MOST) })
        .field("invisibleTime", ask.invisible.as_millis())
        .field("pollTime", ask.wait.as_millis())
        .field("bornTime", now())
        .field("initMode", 0)
        .field("expType", "TAG")
        .text("exp", source.filter(group))
        .field("order", ordered);
    let timeout = client.config.timeout + ask.wait;
    let asked = Instant::now();
    let answer = client
        .call_within("receive", &broker.address, request, timeout)
        .await?;
    if matches!(answer.code(), NOTHING | WAITING_FULL | WAITED) {
        return Ok(Vec::new());
    }
    let answer = answer.success("receive")?;
    let leased = Leased::of(&answer, broker, ordered)?;
    let mut body = answer.body();
    let until = asked + ask.invisible;
    message_decoder::decodes_batch(&mut body, true, true)
        .into_iter()
        .map(|native| leased.popped(native, group, until))
        .collect()
}

/// What an answer says of all its messages together.
struct Leased<'a> {
    broker: &'a Broker,
    ordered: bool,
    at: i64,
    invisible: i64,
    revive_queue: i32,
    /// Where the lease of each queue begins.
    starts: HashMap<String, i64>,
    /// How often what comes in order was delivered before.
    counts: HashMap<String, i32>,
}

impl<'a> Leased<'a> {
    fn of(answer: &Answer, broker: &'a Broker, ordered: bool) -> Result<Self> {
        let text = |name| answer.field(name).unwrap_or_default();
        Ok(Self {
            broker,
            ordered,
            at: answer.number("popTime")?,
            invisible: answer.number("invisibleTime")?,
            revive_queue: answer.number("reviveQid")? as i32,
            starts: ExtraInfoUtil::parse_start_offset_info(text("startOffsetInfo"))
                .map_err(|error| unreadable(&error))?,
            counts: ExtraInfoUtil::parse_order_count_info(text("orderCountInfo"))
                .map_err(|error| unreadable(&error))?,
        })
    }

    fn popped(&self, mut native: MessageExt, group: &Group, until: Instant) -> Result<Popped> {
        let (queue, offset) = (native.queue_id(), native.queue_offset());
        let (topic, handle) = match self.carried(&native, &group.native) {
            Some(carried) => carried,
            None => {
                // What comes again by the broker's own doing lies in a topic beside.
                let topic: CheetahString = native.topic().as_str().into();
                if self.ordered {
                    self.count(&topic, &mut native);
                }
                let handle = self.handle(&topic, queue, offset)?;
                (topic, handle)
            }
        };
        Ok(Popped {
            native,
            place: Place {
                broker: self.broker.name.clone(),
                topic,
                queue,
                offset,
                handle,
                ordered: self.ordered,
            },
            until,
        })
    }

    /// Topic and handle of a message that carries its handle: without its store of leases, the
    /// broker shows what comes again under the topic that was asked, and writes into it where it
    /// lies. A handle of another delivery, which somebody sent along, counts for nothing.
    fn carried(&self, native: &MessageExt, group: &str) -> Option<(CheetahString, CheetahString)> {
        let handle = native.message_inner().properties().as_map().get(HANDLE)?;
        let fields: Vec<&str> = handle.as_str().split(' ').collect();
        let is =
            |at: usize, wanted: i64| fields.get(at).is_some_and(|it| *it == wanted.to_string());
        let (queue, offset) = (native.queue_id().into(), native.queue_offset());
        if !(is(POP_TIME, self.at) && is(QUEUE, queue) && is(OFFSET, offset)) {
            return None;
        }
        let [first, second] = Naming::retry_topics(native.topic(), group);
        let topic = match *fields.get(AGAIN)? {
            "1" => first,
            "2" => second,
            _ => return None,
        };
        Some((topic, handle.clone()))
    }

    fn handle(&self, topic: &CheetahString, queue: i32, offset: i64) -> Result<CheetahString> {
        let of_queue = ExtraInfoUtil::get_start_offset_info_map_key(topic, i64::from(queue));
        let start = match self.starts.get(&of_queue) {
            Some(start) => *start,
            None if self.starts.is_empty() => offset,
            None => return Err(unreadable(&"it does not say where its lease begins")),
        };
        let (at, invisible, broker) = (self.at, self.invisible, &self.broker.name);
        let handle = ExtraInfoUtil::build_extra_info_with_offset(
            start,
            at,
            invisible,
            self.revive_queue,
            topic,
            broker,
            queue,
            offset,
        );
        Ok(handle.into())
    }

    /// Notes how often a message that comes in order was delivered before.
    fn count(&self, topic: &CheetahString, native: &mut MessageExt) {
        let (queue, offset) = (i64::from(native.queue_id()), native.queue_offset());
        let of_message = ExtraInfoUtil::get_queue_offset_map_key(topic, queue, offset);
        let of_queue = ExtraInfoUtil::get_start_offset_info_map_key(topic, queue);
        let count = self.counts.get(&of_message);
        if let Some(count) = count.or_else(|| self.counts.get(&of_queue)) {
            native.set_reconsume_times(*count);
        }
    }
}

fn unreadable(what: &dyn std::fmt::Display) -> Error {
    Error::internal(format!(
        "RocketMQ leased messages, and its answer cannot be read: {what}"
    ))
}

/// Whether the group can take something from this source, at the latest after `wait`; takes
/// nothing.
pub(crate) async fn has_news(
    client: &Arc<Client>,
    broker: &Broker,
    group: &Group,
    source: Source,
    wait: Duration,
) -> Result<bool> {
    let request = Request::new(RequestCode::Notification)
        .text("consumerGroup", group.native.clone())
        .text("topic", source.topic(group).clone())
        .field("queueId", -1)
        .field("pollTime", wait.as_millis())
        .field("bornTime", now())
        .field("order", source.ordered(group))
        .field("expType", "TAG")
        .text("exp", source.filter(group))
        .waiting(true);
    let timeout = client.config.timeout + wait;
    let answer = client
        .call_within("wait for messages", &broker.address, request, timeout)
        .await?;
    match answer.code() {
        // Nobody has given anything back yet, so the group's own topic was not made.
        code::TOPIC_NOT_EXIST if source == Source::Again => Ok(false),
        _ => Ok(answer.success("wait for messages")?.field("hasMsg") == Some("true")),
    }
}

/// Whether a pop was refused because there is no such topic, or no such group.
pub(crate) fn is_missing(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

/// Milliseconds since 1970, as the broker counts.
pub(crate) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis() as i64
}

#[cfg(test)]
mod tests {
    use rocketmq_model::common::message::MessageTrait;

    use super::*;

    #[test]
    fn only_a_handle_of_this_delivery_counts() {
        let broker = Broker {
            name: "b".into(),
            address: "127.0.0.1:1".into(),
        };
        let leased = Leased {
            broker: &broker,
            ordered: false,
            at: 77,
            invisible: 1_000,
            revive_queue: 0,
            starts: HashMap::new(),
            counts: HashMap::new(),
        };
        let carried = |handle: &str| {
            let mut native = MessageExt::default();
            native.set_topic("t".into());
            native.set_queue_id(3);
            native.set_queue_offset(9);
            native.put_property(CheetahString::from_static_str(HANDLE), handle.into());
            leased.carried(&native, "g").map(|(topic, _)| topic)
        };
        let [first, second] = Naming::retry_topics("t", "g");
        let table = [
            ("9 77 1000 0 1 b 3 9", Some(first)),
            ("9 77 1000 0 2 b 3 9", Some(second)),
            ("9 77 1000 0 0 b 3 9", None),
            ("9 76 1000 0 1 b 3 9", None),
            ("9 77 1000 0 1 b 4 9", None),
            ("9 77 1000 0 1 b 3 8", None),
            ("made up", None),
            ("", None),
        ];
        for (handle, topic) in table {
            assert_eq!(carried(handle), topic, "{handle}");
        }
    }
}
