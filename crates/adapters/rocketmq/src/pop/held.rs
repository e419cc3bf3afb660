//! A message that is leased to this process.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use cheetah_string::CheetahString;
use jiff::Timestamp;
use rocketmq_model::common::message::message_ext::MessageExt;
use statehouse_contracts::{Error, ErrorKind, Expired, MessageId, Priority, Received, Result};

use crate::groups::Group;
use crate::message::{decode_parts, later};
use crate::pop::history::{History, time};
use crate::pop::source::{Place, Popped};

/// The properties that only copies carry: of what comes again, and of dead letters.
pub(crate) mod property {
    /// How many deliveries the message had before this copy was made.
    pub(crate) const ATTEMPTS: &str = "statehouse-attempts";
    /// How many bytes of the body are its history, and no payload.
    pub(crate) const HISTORY: &str = "statehouse-history";
    /// When it is due, in milliseconds since 1970, where that is not its sender's doing.
    pub(crate) const DUE: &str = "statehouse-due-at-ms";
    /// Until when it waits: longer than the broker can delay.
    pub(crate) const UNTIL: &str = "statehouse-until-ms";
}

/// A message in the broker's form, as far as a copy needs it.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) id: MessageId,
    pub(crate) priority: Priority,
    pub(crate) properties: HashMap<CheetahString, CheetahString>,
    pub(crate) payload: Bytes,
    /// When it was sent, in milliseconds since 1970.
    pub(crate) born: i64,
    /// The deliveries that it had, this one included.
    pub(crate) attempt: u32,
    pub(crate) history: History,
}

/// A message that is leased to this process.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) received: Received,
    pub(crate) content: Content,
    pub(crate) place: Place,
    /// Until when nobody else gets it.
    pub(crate) until: Instant,
    /// Since when this process has it.
    pub(crate) since: Instant,
    /// Until when it is not to be handed out at all.
    waits_until: Option<Timestamp>,
}

/// What is to be done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Deliver,
    /// Its topic does not match the group's pattern.
    Skip,
    /// It waits for longer than the broker can delay.
    Wait,
    /// It expired, and is dropped.
    Drop,
    /// It is given up, for this reason.
    Bury(&'static str),
}

/// A message that is leased to this process and cannot be read, and why.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(crate) popped: Popped,
    pub(crate) error: Error,
}

impl Held {
    /// # Errors
    /// [`Corrupted`](ErrorKind::Corrupted) for a message that is none of ours.
    pub(crate) fn read(popped: Popped) -> std::result::Result<Self, Box<Unread>> {
        let (received, mut content, waits_until) = match read(&popped.native) {
            Ok(read) => read,
            Err(error) => return Err(Box::new(Unread { popped, error })),
        };
        let Popped {
            native,
            place,
            until,
        } = popped;
        let repeats = native.reconsume_times().max(0) as u32;
        content.attempt = content.attempt.saturating_add(repeats + 1);
        Ok(Self {
            received,
            content,
            place,
            until,
            since: Instant::now(),
            waits_until,
        })
    }

    /// A message that was read without taking it: its attempt is the one that it would be.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn seen(native: MessageExt) -> Result<Self> {
        let place = Place {
            broker: CheetahString::new(),
            topic: native.topic().as_str().into(),
            queue: native.queue_id(),
            offset: native.queue_offset(),
            handle: CheetahString::new(),
            ordered: false,
        };
        let popped = Popped {
            native,
            place,
            until: Instant::now(),
        };
        Self::read(popped).map_err(|unread| unread.error)
    }

    pub(crate) fn verdict(&self, group: &Group) -> Verdict {
        let now = Timestamp::now();
        if !group.spec.pattern.matches(&self.received.message.topic) {
            return Verdict::Skip;
        }
        if self.received.expires_at.is_some_and(|end| end <= now) {
            return match group.spec.expired {
                Expired::Drop => Verdict::Drop,
                Expired::DeadLetter => Verdict::Bury("expired"),
            };
        }
        if self.waits_until.is_some_and(|until| until > now) {
            return Verdict::Wait;
        }
        if self.content.attempt > group.spec.max_deliveries {
            return Verdict::Bury("max_deliveries");
        }
        Verdict::Deliver
    }

    /// How long it still waits.
    pub(crate) fn wait(&self) -> std::time::Duration {
        let until = self.waits_until.unwrap_or_default();
        until
            .duration_since(Timestamp::now())
            .try_into()
            .unwrap_or_default()
    }
}

impl Content {
    /// The message at a place of the log, in whose delivery number `attempt` it was leased.
    pub(crate) fn at(native: MessageExt, attempt: u32) -> Result<Self> {
        let (_, mut content, _) = read(&native)?;
        content.attempt = attempt;
        Ok(content)
    }
}

fn read(native: &MessageExt) -> Result<(Received, Content, Option<Timestamp>)> {
    let body = native.body().unwrap_or_default();
    let properties = native.message_inner().properties().as_map().clone();
    let length = number(&properties, property::HISTORY)?.unwrap_or_default();
    let (payload, history) = History::split(body, length as usize)?;
    let born = native.born_timestamp();
    let mut received = decode_parts(&properties, payload.clone(), born)?;
    if let Some(due) = number(&properties, property::DUE)? {
        received.due_at = time(due as i64)?;
        let ttl = received.message.ttl;
        received.expires_at = ttl.map(|ttl| later(received.due_at, ttl));
    }
    let attempts = number(&properties, property::ATTEMPTS)?.unwrap_or_default();
    let until = number(&properties, property::UNTIL)?;
    let waits_until = until.map(|until| time(until as i64)).transpose()?;
    let content = Content {
        id: received.message.id,
        priority: received.message.priority,
        properties,
        payload,
        born,
        attempt: u32::try_from(attempts).unwrap_or(u32::MAX),
        history,
    };
    Ok((received, content, waits_until))
}

/// A property that is a number.
pub(crate) fn number(
    properties: &HashMap<CheetahString, CheetahString>,
    name: &str,
) -> Result<Option<u64>> {
    let Some(text) = properties.get(name) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        Error::new(
            ErrorKind::Corrupted,
            format!("the property {name} is {text:?}; it is a number"),
        )
    })
}
