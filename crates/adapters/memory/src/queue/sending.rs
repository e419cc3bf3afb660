//! Sending: which groups a message reaches, and why it is refused.

use std::collections::HashMap;
use std::sync::Arc;

use statehouse_contracts::{Error, ErrorKind, GroupName, Message, MessageId, Result, Sent, Topic};
use tokio::sync::Notify;

use crate::queue::accepted::{Accepted, Digest};
use crate::queue::memory::{DedupKey, Known};
use crate::queue::messages::Queue;
use crate::time::Time;

/// What became of an offered message.
pub(crate) enum Offer {
    Done(Result<Sent>),
    /// A group is full: the message, and what rings when there may be room.
    Full(Box<Message>, Arc<Notify>),
}

impl Queue {
    /// Sends a message, unless a group is full.
    pub(crate) fn offer(&mut self, message: Message, require_route: bool, now: Time) -> Offer {
        let key = DedupKey::of(&message);
        let digest = Digest::of(&message);
        if let Some(known) = self.known.get(&key) {
            return Offer::Done(repeat(known, digest, &message));
        }
        if message.topic.is_mailbox()
            && let Err(error) = self.ensure_mailbox(&message.topic, now)
        {
            return Offer::Done(Err(error));
        }
        let mut found = std::mem::take(&mut self.found);
        self.routes.find(&message.topic, &mut found);
        let refuses = |group: &usize| self.groups.get(*group).is_some_and(|g| g.refuses(0));
        let offer = if require_route && found.is_empty() {
            Offer::Done(Err(Error::not_found(format!(
                "no group matches the topic {}, and a route is required",
                message.topic
            ))))
        } else if found.iter().any(refuses) {
            Offer::Full(Box::new(message), self.room.clone())
        } else {
            let sent = self.accept(message, &found, now);
            let routed = found.len() as u64;
            let id = sent.id;
            self.known.insert(key, Known { id, digest, routed }, now);
            Offer::Done(Ok(sent))
        };
        self.found = found;
        offer
    }

    fn accept(&mut self, message: Message, groups: &[usize], now: Time) -> Sent {
        let id = message.id;
        let accepted = Arc::new(Accepted::new(message, self.seq, now));
        self.seq += 1;
        let scheduled = accepted.due > now;
        if scheduled {
            self.schedule.insert(&accepted);
        }
        for number in groups {
            let Some(group) = self.groups.get_mut(*number) else {
                continue;
            };
            let item = group.add(accepted.clone(), &mut self.timers, now);
            if let Some(item) = item.filter(|_| scheduled) {
                self.schedule.place(id, *number, item);
            }
        }
        if !self.listener_routes.is_empty() {
            self.broadcast(&accepted);
        }
        self.retained.push(&accepted);
        Sent {
            id,
            routed: Some(groups.len() as u64),
            duplicate_of: None,
        }
    }

    fn broadcast(&mut self, accepted: &Arc<Accepted>) {
        let mut hearing = Vec::new();
        self.listener_routes
            .find(&accepted.message().topic, &mut hearing);
        for listener in hearing {
            if let Some(listener) = self.listeners.get(listener) {
                listener.push(accepted);
            }
        }
    }

    /// Sends all messages, or refuses them all.
    pub(crate) fn admit_all(&mut self, messages: Vec<Message>, now: Time) -> Result<()> {
        self.check_all(&messages)?;
        for message in messages {
            if let Offer::Done(sent) = self.offer(message, false, now) {
                sent?;
            }
        }
        Ok(())
    }

    fn check_all(&self, messages: &[Message]) -> Result<()> {
        let mut new: HashMap<DedupKey, (MessageId, Digest)> = HashMap::new();
        let mut more: HashMap<usize, u64> = HashMap::new();
        let mut found = Vec::new();
        for message in messages {
            let (key, digest) = (DedupKey::of(message), Digest::of(message));
            let known = self.known.get(&key).map(|known| (known.id, known.digest));
            match known.or_else(|| new.get(&key).copied()) {
                Some((_, same)) if same == digest => continue,
                Some((id, _)) => return Err(other_content(message, id)),
                None => new.insert(key, (message.id, digest)),
            };
            self.routes.find(&message.topic, &mut found);
            for number in &found {
                let waiting = more.entry(*number).or_default();
                if let Some(group) = self.groups.get(*number).filter(|g| g.refuses(*waiting)) {
                    return Err(full(&group.name));
                }
                *waiting += 1;
            }
        }
        Ok(())
    }

    /// Why an offered message was refused in the end.
    pub(crate) fn why_full(&self, topic: &Topic) -> Error {
        let mut found = Vec::new();
        self.routes.find(topic, &mut found);
        let groups = found.iter().filter_map(|number| self.groups.get(*number));
        match groups.into_iter().find(|group| group.refuses(0)) {
            Some(group) => full(&group.name),
            None => Error::new(ErrorKind::Overloaded, "a group was full; send it again"),
        }
    }
}

fn full(name: &GroupName) -> Error {
    Error::new(ErrorKind::Overloaded, format!("the group {name} is full"))
}

fn repeat(known: &Known, digest: Digest, message: &Message) -> Result<Sent> {
    if known.digest != digest {
        return Err(other_content(message, known.id));
    }
    Ok(Sent {
        id: known.id,
        routed: Some(known.routed),
        duplicate_of: Some(known.id),
    })
}

fn other_content(message: &Message, first: MessageId) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!(
            "the idempotency key of message {} was used by message {first} with other content",
            message.id
        ),
    )
}
