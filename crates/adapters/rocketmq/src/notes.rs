//! What went wrong with messages that come again in their place.
//!
//! A message with an ordering key cannot be written anew with its history, so that lies beside: in
//! queue 2 of the group's dead letters, under the message's id as the key of the broker's index.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rocketmq_protocol::code::request_code::RequestCode;
use rocketmq_protocol::common::message::message_decoder;
use statehouse_contracts::Result;

use crate::client::Client;
use crate::error::code;
use crate::groups::Group;
use crate::naming::Naming;
use crate::pop::copy::Copy;
use crate::pop::held::{Content, number, property};
use crate::pop::history::History;
use crate::pop::source::now;
use crate::request::Request;
use crate::session::Broker;

/// Where the notes lie in the topic of the group's dead letters.
const NOTES: u32 = 2;

/// How far back notes are looked for.
const BACK: Duration = Duration::from_secs(7 * 24 * 3600);

/// How many notes of one message are looked at.
const MOST: u32 = 32;

/// Writes down what went wrong so far.
pub(crate) async fn write(
    client: &Arc<Client>,
    broker: &Broker,
    group: &Group,
    content: &Content,
) -> Result<()> {
    let (body, length) = content.history.behind(&Bytes::new())?;
    if length == 0 {
        return Ok(());
    }
    let mut copy = Copy::empty(body);
    copy.set("KEYS", content.id);
    copy.set(property::HISTORY, length);
    let topic = Naming::dead_letters(&group.native);
    copy.write(client, broker, &topic, NOTES).await
}

/// The longest history that was written down of a message, by whatever process.
pub(crate) async fn read(
    client: &Arc<Client>,
    broker: &Broker,
    group: &Group,
    content: &Content,
) -> Result<History> {
    let now = now();
    let request = Request::new(RequestCode::QueryMessage)
        .text("topic", Naming::dead_letters(&group.native))
        .field("key", content.id)
        .field("maxNum", MOST)
        .field("beginTimestamp", now - BACK.as_millis() as i64)
        .field("endTimestamp", now + BACK.as_millis() as i64);
    let answer = client
        .call("look for errors", &broker.address, request)
        .await?;
    if matches!(answer.code(), code::NOT_FOUND | code::TOPIC_NOT_EXIST) {
        return Ok(History::default());
    }
    let mut body = answer.success("look for errors")?.body();
    let mut longest = History::default();
    for message in message_decoder::decodes_batch(&mut body, true, true) {
        let properties = message.message_inner().properties().as_map();
        let length = number(properties, property::HISTORY)?.unwrap_or_default();
        let body = message.body().unwrap_or_default();
        if message.queue_id() == NOTES as i32 {
            let (_, history) = History::split(body, length as usize)?;
            longest = longest.longer(history);
        }
    }
    Ok(longest)
}
