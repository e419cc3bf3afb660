//! The messages of a namespace: groups, subscriptions, and what is due.

use std::collections::BTreeMap;
use std::sync::Arc;

use slab::Slab;
use statehouse_contracts::{
    Declared, Detail, Error, ErrorKind, GroupName, GroupSpec, MessageId, Pattern, Result, Start,
    Topic,
};
use tokio::sync::Notify;

use crate::config::Config;
use crate::queue::accepted::Accepted;
use crate::queue::broadcast::Listener;
use crate::queue::group::{Group, Timers};
use crate::queue::leases::{End, Leases};
use crate::queue::memory::{DedupKey, Known, Retained, Schedule};
use crate::queue::routes::Routes;
use crate::time::Time;
use crate::window::Window;

/// The messages of a namespace.
///
/// Every operation begins with [`advance`](Queue::advance), so that it finds leases that have run
/// out, delays that have passed and messages that have expired dealt with.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(super) groups: Slab<Group>,
    pub(super) names: BTreeMap<GroupName, usize>,
    pub(super) routes: Routes,
    pub(super) listeners: Slab<Arc<Listener>>,
    pub(super) listener_routes: Routes,
    pub(super) timers: Timers,
    pub(super) leases: Leases,
    pub(super) known: Window<DedupKey, Known>,
    pub(super) schedule: Schedule,
    pub(super) retained: Retained,
    pub(super) seq: u64,
    pub(super) room: Arc<Notify>,
    /// For the groups of a message that is being sent.
    pub(super) found: Vec<usize>,
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
        self.timers.first().map(|(due, ..)| *due)
    }

    /// Lets happen what is due.
    pub(crate) fn advance(&mut self, now: Time) {
        while let Some((due, ..)) = self.timers.first()
            && *due <= now
            && let Some((_, _, group, item)) = self.timers.pop_first()
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

    pub(super) fn ensure_mailbox(&mut self, topic: &Topic, now: Time) -> Result<()> {
        if self.names.contains_key(topic.as_str()) {
            return Ok(());
        }
        let name = GroupName::new(topic.as_str())?;
        let spec = GroupSpec::new(Pattern::from(topic.clone()));
        self.declare(&name, &spec, now).map(|_| ())
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

pub(super) fn unknown(name: &GroupName) -> Error {
    Error::not_found(format!("there is no group {name}; declare it first"))
}
