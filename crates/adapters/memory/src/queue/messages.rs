//! The messages of a namespace: sending, handing out, settling.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;
use statehouse_contracts::{
    Declared, Detail, Error, ErrorKind, GroupName, GroupSpec, LeaseToken, Message, MessageId,
    Pattern, Received, Result, Sent, SettleAction, Start, Topic,
};
use tokio::sync::Notify;

use crate::config::Config;
use crate::queue::accepted::{Accepted, Digest};
use crate::queue::broadcast::Listener;
use crate::queue::group::{Group, Timers};
use crate::queue::leases::{End, LeaseId, Leases};
use crate::queue::memory::{DedupKey, Known, Retained, Schedule};
use crate::queue::routes::Routes;
use crate::time::Time;
use crate::window::Window;

/// The longest error or reason that is kept, in bytes.
const MAX_TEXT: usize = 4096;

/// The messages of a namespace.
///
/// Every operation begins with [`advance`](Queue::advance), so that it finds leases that have run
/// out, delays that have passed and messages that have expired dealt with.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(super) groups: Slab<Group>,
    pub(super) names: BTreeMap<GroupName, usize>,
    routes: Routes,
    listeners: Slab<Arc<Listener>>,
    listener_routes: Routes,
    pub(super) timers: Timers,
    leases: Leases,
    known: Window<DedupKey, Known>,
    schedule: Schedule,
    retained: Retained,
    pub(super) seq: u64,
    room: Arc<Notify>,
    /// For the groups of a message that is being sent.
    found: Vec<usize>,
}

/// What became of an offered message.
pub(crate) enum Offer {
    Done(Result<Sent>),
    /// A group is full: the message, and what rings when there may be room.
    Full(Box<Message>, Arc<Notify>),
}

/// One message that is handed out.
pub(crate) struct HandedOut {
    pub(crate) received: Received,
    pub(crate) attempt: u32,
    pub(crate) token: LeaseToken,
}

impl Queue {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            groups: Slab::new(),
            names: BTreeMap::new(),
            routes: Routes::default(),
            listeners: Slab::new(),
            listener_routes: Routes::default(),
            timers: Timers::new(),
            leases: Leases::new(),
            known: Window::new(config.message_window, config.window_entries),
            schedule: Schedule::default(),
            retained: Retained::new(config.message_retention),
            seq: 0,
            room: Arc::default(),
            found: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// When something next happens by itself.
    pub(crate) fn next_due(&self) -> Option<Time> {
        self.timers.first().map(|(due, _, _)| *due)
    }

    /// Lets happen what is due.
    pub(crate) fn advance(&mut self, now: Time) {
        while let Some((due, _, _)) = self.timers.first()
            && *due <= now
            && let Some((_, group, item)) = self.timers.pop_first()
        {
            if let Some(group) = self.groups.get_mut(group)
                && let Some(lease) = group.ring(item, &mut self.timers, now)
            {
                self.leases.end(lease, End::None);
            }
        }
        self.schedule.advance(now);
        self.known.advance(now);
    }

    pub(crate) fn declare(
        &mut self,
        name: &GroupName,
        spec: &GroupSpec,
        now: Time,
    ) -> Result<Declared> {
        if let Some(known) = self.names.get(name).and_then(|at| self.groups.get(*at)) {
            let Some(field) = known.spec.difference(spec) else {
                return Ok(Declared { created: false });
            };
            let message = format!("the group {name} is declared with another {field}");
            let error = Error::new(ErrorKind::Conflict, message);
            return Err(error.with_detail(Detail::SpecField(field)));
        }
        let slot = self.groups.vacant_entry();
        let number = slot.key();
        slot.insert(Group::new(
            name.clone(),
            spec.clone(),
            number,
            self.room.clone(),
        ));
        self.names.insert(name.clone(), number);
        self.routes.insert(&spec.pattern, number);
        if spec.start == Start::Earliest {
            self.replay(number, now);
        }
        Ok(Declared { created: true })
    }

    /// Gives a new group what was sent before it.
    fn replay(&mut self, number: usize, now: Time) {
        let Some(group) = self.groups.get_mut(number) else {
            return;
        };
        for accepted in self.retained.open(now) {
            if group.spec.pattern.matches(&accepted.message().topic) {
                let id = accepted.message().id;
                let item = group.insert(accepted, &mut self.timers, now);
                self.schedule.place(id, number, item);
            }
        }
    }

    /// The group of this name; a mailbox is made when it is not there.
    pub(crate) fn find(&mut self, name: &GroupName, now: Time) -> Result<usize> {
        if let Some(number) = self.names.get(name) {
            return Ok(*number);
        }
        if !name.is_mailbox() {
            return Err(unknown(name));
        }
        self.ensure_mailbox(&Topic::new(name.as_str())?, now)?;
        self.names.get(name).copied().ok_or_else(|| unknown(name))
    }

    fn ensure_mailbox(&mut self, topic: &Topic, now: Time) -> Result<()> {
        if self.names.contains_key(topic.as_str()) {
            return Ok(());
        }
        let name = GroupName::new(topic.as_str())?;
        let spec = GroupSpec::new(Pattern::from(topic.clone()));
        self.declare(&name, &spec, now).map(|_| ())
    }

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

    pub(crate) fn listen(&mut self, pattern: &Pattern, listener: Arc<Listener>) -> usize {
        let number = self.listeners.insert(listener);
        self.listener_routes.insert(pattern, number);
        number
    }

    pub(crate) fn unlisten(&mut self, pattern: &Pattern, number: usize) {
        self.listener_routes.remove(pattern, number);
        self.listeners.try_remove(number);
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

    pub(crate) fn cancel(&mut self, id: MessageId, now: Time) -> bool {
        let Some(scheduled) = self.schedule.remove(id) else {
            return false;
        };
        scheduled.accepted.cancel();
        for (number, item) in scheduled.places {
            let Some(group) = self.groups.get_mut(number) else {
                continue;
            };
            // The place may have been given to another message since.
            let same = |known: &Arc<Accepted>| Arc::ptr_eq(known, &scheduled.accepted);
            if group.item(item).is_some_and(|known| same(&known.accepted)) {
                group.take_out(item, &mut self.timers, now);
            }
        }
        true
    }

    /// Hands out up to `max` messages of a group; or gives what rings when there is one.
    pub(crate) fn receive(
        &mut self,
        name: &GroupName,
        max: usize,
        lease: Option<Duration>,
        now: Time,
    ) -> Result<std::result::Result<Vec<HandedOut>, Arc<Notify>>> {
        let number = self.find(name, now)?;
        let group = self.groups.get_mut(number).ok_or_else(|| unknown(name))?;
        let until = now.after(lease.unwrap_or(group.spec.lease));
        let mut handed_out = Vec::new();
        while handed_out.len() < max && group.has_ready() {
            let lease = self.leases.issue();
            let Some((item, known)) = group.hand_out(lease, until, &mut self.timers) else {
                break;
            };
            let id = LeaseId {
                group: number,
                item,
                number: lease,
            };
            handed_out.push(HandedOut {
                received: known.accepted.received.clone(),
                attempt: known.attempts,
                token: self.leases.token(id)?,
            });
        }
        if group.has_ready() {
            // Each ring wakes one consumer: what it leaves is for the next.
            group.ready_bell.notify_one();
        }
        if handed_out.is_empty() {
            return Ok(Err(group.ready_bell.clone()));
        }
        Ok(Ok(handed_out))
    }

    /// The lease of the group of this name, for those who name none.
    pub(crate) fn lease_of(&self, name: &GroupName) -> Option<Duration> {
        let number = self.names.get(name)?;
        Some(self.groups.get(*number)?.spec.lease)
    }

    /// Settles one delivery; answers the new token of an extended lease.
    pub(crate) fn settle(
        &mut self,
        token: &LeaseToken,
        action: SettleAction,
        now: Time,
    ) -> Result<Option<LeaseToken>> {
        let lease = self.leases.parse(token)?;
        let end = match action {
            SettleAction::Ack => End::Ack,
            SettleAction::Nack { .. } => End::Nack,
            SettleAction::DeadLetter { .. } => End::DeadLetter,
            SettleAction::Extend { .. } => End::None,
        };
        let group = self.groups.get_mut(lease.group);
        let Some(group) = group.filter(|group| group.is_leased(lease.item, lease.number)) else {
            return self.leases.repeat(lease.number, end).map(|()| None);
        };
        match action {
            SettleAction::Ack => {
                group.take_out(lease.item, &mut self.timers, now);
            }
            SettleAction::Nack { delay, error } => {
                let attempt = group.item(lease.item).map_or(1, |item| item.attempts);
                let backoff = || group.spec.backoff.wait(attempt, fastrand::f64());
                let delay = delay.unwrap_or_else(backoff);
                let error = error.map_or_else(|| "no error was given".to_owned(), shorten);
                group.fail(lease.item, error, delay, &mut self.timers, now);
            }
            SettleAction::DeadLetter { reason } => {
                group.bury(lease.item, &shorten(reason), &mut self.timers, now);
            }
            SettleAction::Extend { lease: length } => {
                let number = self.leases.issue();
                group.extend(lease.item, number, now.after(length), &mut self.timers);
                return self.leases.token(LeaseId { number, ..lease }).map(Some);
            }
        }
        self.leases.end(lease.number, end);
        Ok(None)
    }

    /// Deletes a group with all that it holds.
    pub(crate) fn delete(&mut self, name: &GroupName) -> bool {
        let Some(number) = self.names.remove(name) else {
            return false;
        };
        let mut group = self.groups.remove(number);
        group.dissolve(&mut self.timers);
        self.routes.remove(&group.spec.pattern, number);
        true
    }
}

/// `text`, cut to what is kept.
pub(crate) fn shorten(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}

pub(super) fn unknown(name: &GroupName) -> Error {
    Error::not_found(format!("there is no group {name}; declare it first"))
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
