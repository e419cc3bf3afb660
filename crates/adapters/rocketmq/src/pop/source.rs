//! Where a group's messages come from, and how the broker is asked for them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cheetah_string::CheetahString;
use rocketmq_model::common::message::message_ext::MessageExt;
use rocketmq_protocol::code::request_code::RequestCode;
use rocketmq_protocol::protocol::header::extra_info_util::ExtraInfoUtil;
use rocketmq_protocol::protocol::header::pop_message_request_header::PopMessageRequestHeader;
use statehouse_contracts::{Error, ErrorKind, Result};

use crate::client::Client;
use crate::error::code;
use crate::groups::Group;
use crate::request::Request;
use crate::session::Broker;

use std::sync::Arc;

/// The most messages that the broker hands out to one request.
pub(crate) const MOST: usize = 32;

/// The property in which the broker's answer says under which handle a message is leased.
const HANDLE: &str = "POP_CK";

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
    let header = PopMessageRequestHeader {
        consumer_group: group.native.clone(),
        topic: topic.clone(),
        queue_id: -1,
        max_msg_nums: if ordered { 1 } else { ask.max.min(MOST) as u32 },
        invisible_time: ask.invisible.as_millis() as u64,
        poll_time: ask.wait.as_millis() as u64,
        born_time: now() as u64,
        init_mode: 0,
        exp_type: Some(CheetahString::from_static_str("TAG")),
        exp: Some(source.filter(group)),
        order: Some(ordered),
        attempt_id: None,
        topic_request_header: None,
    };
    let timeout = (client.config.timeout + ask.wait).as_millis() as u64;
    let asked = Instant::now();
    let answer = client
        .with_handle("receive", async |handle| {
            handle
                .pop_message(&broker.name, &broker.address, header, timeout)
                .await
        })
        .await?;
    let until = asked + ask.invisible;
    let found = answer.msg_found_list.unwrap_or_default();
    found
        .into_iter()
        .map(|native| {
            let place = place(broker, group, &topic, ordered, &native)?;
            Ok(Popped {
                native,
                place,
                until,
            })
        })
        .collect()
}

fn place(
    broker: &Broker,
    group: &Group,
    topic: &CheetahString,
    ordered: bool,
    native: &MessageExt,
) -> Result<Place> {
    let odd = |what: &dyn std::fmt::Display| {
        Error::internal(format!(
            "RocketMQ leased a message under a handle that cannot be read: {what}"
        ))
    };
    let handle = native
        .property(&CheetahString::from_static_str(HANDLE))
        .ok_or_else(|| odd(&"there is none"))?;
    let (real, queue, offset) = {
        let parts = ExtraInfoUtil::parse_ack_extra_info(handle).map_err(|error| odd(&error))?;
        // What comes again by the broker's own doing lies in a topic beside.
        let real = ExtraInfoUtil::get_real_topic_with_retry(topic, &group.native, parts.retry)
            .map_err(|error| odd(&error))?;
        (real.into(), parts.queue_id, parts.queue_offset)
    };
    Ok(Place {
        broker: broker.name.clone(),
        topic: real,
        queue,
        offset,
        handle: handle.into(),
        ordered,
    })
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
        .text("exp", source.filter(group));
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
