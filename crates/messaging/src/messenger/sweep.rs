//! Finding what crashes left behind.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use statehouse_contracts::{
    Counts, Expired, GroupName, GroupSpec, Holder, MessageId, ReferenceId, ReferenceQuery, Result,
    Timestamp,
};

use super::Messenger;
use super::book::{self, Entry};
use super::hold::{group_holder, later, sending_holder};

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Promoted messages whose content is still needed, or may be.
    pub kept: u64,
    /// Promoted messages that are done with.
    pub forgotten: u64,
    /// Holders that a crash had left behind.
    pub released: u64,
}

/// What is known of one group in one sweep.
struct Seen {
    spec: GroupSpec,
    dead: HashSet<MessageId>,
    /// Whether it held nothing but dead letters, before and after those were listed.
    empty: bool,
    oldest_ready: Option<Duration>,
}

/// What a group says about a message.
enum Verdict {
    /// It does not have it, and never will again.
    Gone,
    /// It has it as a dead letter.
    Dead,
    /// It may have it.
    Unknown,
}

impl Messenger {
    /// Releases what crashes left behind: content that no message needs any more. Run it from time
    /// to time, in one process or in many; it works in steps that may be repeated.
    ///
    /// A message needs its content no more in a group that is gone, that held nothing at all when
    /// the sweep looked, or that would not hand it out any more because it has expired, unless it
    /// is a dead letter there.
    ///
    /// # Errors
    /// Those of the reference store and of the consumer.
    pub async fn sweep(&self) -> Result<Swept> {
        let now = Timestamp::now();
        let mut groups = HashMap::new();
        let mut swept = Swept::default();
        let entries = book::entries(&*self.0.references).await?;
        let lives = lives(&entries);
        for entry in entries {
            let life = lives[&(entry.message, entry.content)];
            if later(life.since, self.0.options.grace) > now {
                swept.kept += 1;
                continue;
            }
            self.sweep_entry(entry, life, now, &mut groups, &mut swept)
                .await?;
        }
        Ok(swept)
    }

    async fn sweep_entry(
        &self,
        mut entry: Entry,
        life: Life,
        now: Timestamp,
        groups: &mut HashMap<GroupName, Option<Seen>>,
        swept: &mut Swept,
    ) -> Result<()> {
        let store = &self.0.references;
        if self
            .holds(&entry.content, sending_holder(entry.message))
            .await?
        {
            entry = self.try_hand_over(&entry).await?;
        }
        let (mut needed, mut dead) = (false, false);
        for group in &entry.groups {
            let holder = group_holder(entry.message, group);
            if !self.holds(&entry.content, holder.clone()).await? {
                continue;
            }
            if !groups.contains_key(group) {
                groups.insert(group.clone(), self.look_at(group).await?);
            }
            let seen = groups.get(group).and_then(Option::as_ref);
            match self.verdict(entry.message, life.until, seen, now) {
                Verdict::Gone => {
                    store.release(&entry.content, &holder).await?;
                    swept.released += 1;
                }
                Verdict::Dead => (needed, dead) = (true, true),
                Verdict::Unknown => needed = true,
            }
        }
        if !needed {
            swept.forgotten += 1;
            return entry.remove(&**store).await;
        }
        swept.kept += 1;
        if dead {
            entry.replace(&renewed(&entry, now), &**store).await?;
        }
        Ok(())
    }

    fn verdict(
        &self,
        message: MessageId,
        until: Option<Timestamp>,
        group: Option<&Seen>,
        now: Timestamp,
    ) -> Verdict {
        let Some(group) = group else {
            return Verdict::Gone;
        };
        if group.dead.contains(&message) {
            return Verdict::Dead;
        }
        let over = |until: Timestamp| later(until, self.0.options.margin) <= now;
        let expired = until.is_some_and(|until| over(until) && group.has_noticed(until, now));
        if expired || group.empty {
            return Verdict::Gone;
        }
        Verdict::Unknown
    }

    /// What `group` holds; `None` when it is gone.
    async fn look_at(&self, group: &GroupName) -> Result<Option<Seen>> {
        let consumer = &self.0.consumer;
        let all = consumer.groups().await?;
        let Some(status) = all.into_iter().find(|status| status.group == *group) else {
            return Ok(None);
        };
        let admin = consumer.capability().admin;
        let before = self.is_empty(group, admin.counts_exact).await?;
        let letters = self.dead_letters(group).await?;
        let dead = letters.iter().map(|letter| letter.received.message.id);
        let dead = dead.collect();
        let after = self.is_empty(group, admin.counts_exact).await?;
        let oldest_ready = match admin.oldest_age {
            true => consumer.oldest_ready_age(group).await?,
            false => None,
        };
        Ok(Some(Seen {
            spec: status.spec,
            dead,
            empty: before && after,
            oldest_ready,
        }))
    }

    async fn is_empty(&self, group: &GroupName, exact: bool) -> Result<bool> {
        if !exact || !self.0.consumer.capability().ack_confirmed {
            return Ok(false);
        }
        let Counts {
            ready,
            delayed,
            in_flight,
            exact,
            ..
        } = self.0.consumer.counts(group).await?;
        Ok(exact && ready + delayed + in_flight == 0)
    }

    async fn holds(&self, content: &ReferenceId, holder: Holder) -> Result<bool> {
        let mut after = None;
        loop {
            let query = ReferenceQuery {
                holder: Some(holder.clone()),
                after,
                ..ReferenceQuery::default()
            };
            let page = self.0.references.list(query).await?;
            if page.items.iter().any(|info| info.reference.id == *content) {
                return Ok(true);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(false),
            }
        }
    }
}

impl Seen {
    /// Whether a message that has expired would be a dead letter by now, if it was to become one.
    fn has_noticed(&self, until: Timestamp, now: Timestamp) -> bool {
        let over = now.duration_since(until).unsigned_abs();
        let older = |age: Duration| over <= age;
        self.spec.expired == Expired::Drop || !self.oldest_ready.is_some_and(older)
    }
}

/// How long a message lives at the most, whichever of its entries tells: one that was sent again or
/// put back has several, and all stand for the same holders.
#[derive(Clone, Copy)]
struct Life {
    since: Timestamp,
    until: Option<Timestamp>,
}

fn lives(entries: &[Entry]) -> HashMap<(MessageId, ReferenceId), Life> {
    let mut lives: HashMap<_, Life> = HashMap::new();
    for Entry {
        message,
        content,
        since,
        until,
        ..
    } in entries
    {
        let (since, until) = (*since, *until);
        lives
            .entry((*message, *content))
            .and_modify(|life| {
                life.since = life.since.max(since);
                // Without an end there is none.
                life.until = life.until.zip(until).map(|(one, other)| one.max(other));
            })
            .or_insert(Life { since, until });
    }
    lives
}

/// The entry of a dead letter: should somebody put it back, it lives for its ttl again.
fn renewed(entry: &Entry, now: Timestamp) -> Entry {
    let fresh = entry.ttl.map(|ttl| later(now, ttl));
    match (entry.until, fresh) {
        (Some(until), Some(fresh)) if until < fresh => Entry {
            until: Some(fresh),
            ..entry.clone()
        },
        _ => entry.clone(),
    }
}
