//! Reading a queue's log without taking anything from it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cheetah_string::CheetahString;
use rocketmq_model::common::message::message_ext::MessageExt;
use rocketmq_protocol::code::request_code::RequestCode;
use rocketmq_protocol::common::message::message_decoder;
use statehouse_contracts::{Error, ErrorKind, Result};

use crate::client::Client;
use crate::error::code;
use crate::groups::Groups;
use crate::request::Request;
use crate::session::Broker;
use crate::settings::figures;

/// The most messages of one answer.
pub(crate) const PAGE: u32 = 32;

/// The request may wait at the broker, and carries its own filter.
const MAY_WAIT: u32 = 1 << 1;
const WITH_FILTER: u32 = 1 << 2;

/// How much later than asked a waiting request is answered: the broker looks every five seconds.
const LATE: Duration = Duration::from_secs(6);

/// The pause before asking again how far the broker is.
const SOON: Duration = Duration::from_millis(2);

/// Answers that carry no message.
const NOTHING_YET: i32 = 19;
const AGAIN: i32 = 20;
const ELSEWHERE: i32 = 21;

/// One page of a queue.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) messages: Vec<MessageExt>,
    /// Where the next page begins.
    pub(crate) next: i64,
    /// The first offset that is still kept.
    pub(crate) min: i64,
}

/// A queue of a topic on one broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue<'a> {
    pub(crate) broker: &'a Broker,
    pub(crate) topic: &'a CheetahString,
    pub(crate) id: i32,
}

/// Reads from `offset` on; where there is nothing yet, waits for up to `wait`.
pub(crate) async fn read(
    groups: &Groups,
    queue: Queue<'_>,
    offset: i64,
    max: u32,
    wait: Duration,
) -> Result<Page> {
    let client = &groups.client;
    let flags = if wait.is_zero() { 0 } else { MAY_WAIT };
    let request = Request::new(RequestCode::PullMessage)
        .text("consumerGroup", groups.reader(queue.broker).await?)
        .text("topic", queue.topic.clone())
        .field("queueId", queue.id)
        .field("queueOffset", offset)
        .field("maxMsgNums", max)
        .field("sysFlag", WITH_FILTER | flags)
        .field("commitOffset", 0)
        .field("suspendTimeoutMillis", wait.as_millis())
        .field("subscription", "*")
        .field("subVersion", 0)
        .field("expressionType", "TAG")
        .waiting(!wait.is_zero());
    let late = if wait.is_zero() { wait } else { LATE };
    let timeout = client.config.timeout + wait + late;
    let answer = client
        .call_within("read", &queue.broker.address, request, timeout)
        .await?;
    match answer.code() {
        code::TOPIC_NOT_EXIST => return Ok(Page::default()),
        NOTHING_YET | AGAIN | ELSEWHERE => {
            return Ok(Page {
                messages: Vec::new(),
                next: answer.number("nextBeginOffset")?,
                min: answer.number("minOffset")?,
            });
        }
        _ => {}
    }
    let answer = answer.success("read")?;
    let mut body: Bytes = answer.body();
    Ok(Page {
        messages: message_decoder::decodes_batch(&mut body, true, true),
        next: answer.number("nextBeginOffset")?,
        min: answer.number("minOffset")?,
    })
}

/// The message at a place, if it is still kept.
pub(crate) async fn read_one(
    groups: &Groups,
    broker: &Broker,
    topic: &CheetahString,
    queue: i32,
    offset: i64,
) -> Result<Option<MessageExt>> {
    let queue = Queue {
        broker,
        topic,
        id: queue,
    };
    let mut page = read(groups, queue, offset, 1, Duration::ZERO).await?;
    Ok(page
        .messages
        .pop()
        .filter(|message| message.queue_offset() == offset))
}

/// Where the next message of a queue will lie. What the broker has accepted counts once it is
/// [`queued`].
pub(crate) async fn end(client: &Arc<Client>, queue: Queue<'_>) -> Result<i64> {
    let request = Request::new(RequestCode::GetMaxOffset)
        .text("topic", queue.topic.clone())
        .field("queueId", queue.id);
    let answer = client
        .call("look for the end", &queue.broker.address, request)
        .await?;
    if answer.code() == code::TOPIC_NOT_EXIST {
        return Ok(0);
    }
    answer.success("look for the end")?.number("offset")
}

/// Waits until what the broker has accepted by now is in its queues, where it comes a moment later.
/// A broker that does not let us see how far it is counts as done.
pub(crate) async fn queued(client: &Arc<Client>, broker: &Broker) -> Result<()> {
    let until = Instant::now() + client.config.timeout;
    let mut accepted = None;
    loop {
        let figures = figures(client, broker).await?;
        let figure = |name: &str| figures.get(name)?.parse::<i64>().ok();
        let (Some(end), Some(behind)) =
            (figure("commitLogMaxOffset"), figure("dispatchBehindBytes"))
        else {
            return Ok(());
        };
        if end - behind >= *accepted.get_or_insert(end) {
            return Ok(());
        }
        if Instant::now() >= until {
            let text = format!("the broker {} is behind by {behind} bytes", broker.name);
            return Err(Error::new(ErrorKind::Unavailable, text));
        }
        // sleep: the broker tells how far it is, and not when it will be there
        tokio::time::sleep(SOON).await;
    }
}
