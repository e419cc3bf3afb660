//! Looking after groups.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use statehouse_contracts::{
    Counts, DeadLetter, Error, GroupName, GroupStatus, MessageId, Page, PageCursor, QueueAdmin,
    Received, Result,
};

use crate::consumer::MemoryConsumer;
use crate::page;
use crate::queue::accepted::Accepted;
use crate::queue::group::Group;
use crate::queue::messages::{Queue, unknown};
use crate::time::Time;

impl Queue {
    fn group(&mut self, name: &GroupName) -> Result<&mut Group> {
        let number = self.names.get(name).ok_or_else(|| unknown(name))?;
        self.groups.get_mut(*number).ok_or_else(|| unknown(name))
    }

    pub(super) fn redrive(
        &mut self,
        name: &GroupName,
        id: Option<MessageId>,
        now: Time,
    ) -> Result<u64> {
        let number = *self.names.get(name).ok_or_else(|| unknown(name))?;
        let group = self.groups.get_mut(number).ok_or_else(|| unknown(name))?;
        let letters: Vec<DeadLetter> = match id {
            None => std::mem::take(&mut group.dead).into_values().collect(),
            Some(id) => {
                let place = group
                    .dead
                    .iter()
                    .find(|(_, dead)| dead.received.message.id == id);
                let place = place.map(|(place, _)| *place);
                let letter = place.and_then(|place| group.dead.remove(&place));
                vec![letter.ok_or_else(|| {
                    Error::not_found(format!("the group {name} has no dead letter {id}"))
                })?]
            }
        };
        let count = letters.len() as u64;
        for letter in letters {
            let accepted = Accepted::again(letter.received, self.seq, now);
            self.seq += 1;
            group.insert(Arc::new(accepted), &mut self.timers, now);
        }
        Ok(count)
    }

    pub(super) fn purge(&mut self, name: &GroupName, dead: bool, now: Time) -> Result<u64> {
        let number = *self.names.get(name).ok_or_else(|| unknown(name))?;
        let group = self.groups.get_mut(number).ok_or_else(|| unknown(name))?;
        if dead {
            return Ok(std::mem::take(&mut group.dead).len() as u64);
        }
        Ok(group.purge(&mut self.timers, now))
    }
}

fn dead_letters(
    group: &Group,
    limit: usize,
    after: Option<&PageCursor>,
) -> Result<Page<DeadLetter>> {
    let after = after
        .map(|cursor| page::last_number("dead", cursor))
        .transpose()?;
    let size = page::size(limit);
    let from = after.map_or(0, |after| after.saturating_add(1));
    let mut letters = group.dead.range(from..);
    let mut items = Vec::new();
    let mut last = None;
    for (place, letter) in letters.by_ref().take(size) {
        last = Some(*place);
        items.push(letter.clone());
    }
    let more = letters.next().is_some();
    let next = last
        .filter(|_| more)
        .map(|last| page::cursor("dead", &last.to_string()));
    Ok(Page { items, next })
}

#[async_trait]
impl QueueAdmin for MemoryConsumer {
    async fn groups(&self) -> Result<Vec<GroupStatus>> {
        self.handle.with_queue(|queue, _| {
            let groups = queue
                .names
                .values()
                .filter_map(|number| queue.groups.get(*number));
            let status = |group: &Group| GroupStatus {
                group: group.name.clone(),
                spec: group.spec.clone(),
                paused: group.paused,
            };
            Ok(groups.map(status).collect())
        })
    }

    async fn pause(&self, group: &GroupName) -> Result<()> {
        self.handle.with_queue(|queue, _| {
            queue.group(group)?.paused = true;
            Ok(())
        })
    }

    async fn resume(&self, group: &GroupName) -> Result<()> {
        self.handle.with_queue(|queue, _| {
            let group = queue.group(group)?;
            group.paused = false;
            group.ready_bell.notify_one();
            Ok(())
        })
    }

    async fn delete_group(&self, group: &GroupName) -> Result<bool> {
        self.handle.with_queue(|queue, _| Ok(queue.delete(group)))
    }

    async fn counts(&self, group: &GroupName) -> Result<Counts> {
        self.handle
            .with_queue(|queue, _| Ok(queue.group(group)?.counts()))
    }

    async fn oldest_ready_age(&self, group: &GroupName) -> Result<Option<Duration>> {
        self.handle
            .with_queue(|queue, now| Ok(queue.group(group)?.oldest_ready_age(now)))
    }

    async fn peek(&self, group: &GroupName, max: usize) -> Result<Vec<(Received, u32)>> {
        self.handle.with_queue(|queue, _| {
            let next = queue.group(group)?.peek(max);
            let show =
                |item: &crate::queue::group::Item| (item.accepted.received.clone(), item.attempts);
            Ok(next.into_iter().map(show).collect())
        })
    }

    async fn dead_letters(
        &self,
        group: &GroupName,
        limit: usize,
        after: Option<&PageCursor>,
    ) -> Result<Page<DeadLetter>> {
        self.handle
            .with_queue(|queue, _| dead_letters(queue.group(group)?, limit, after))
    }

    async fn redrive(&self, group: &GroupName, id: Option<MessageId>) -> Result<u64> {
        self.handle
            .with_queue(|queue, now| queue.redrive(group, id, now))
    }

    async fn purge(&self, group: &GroupName, dead: bool) -> Result<u64> {
        self.handle
            .with_queue(|queue, now| queue.purge(group, dead, now))
    }
}
