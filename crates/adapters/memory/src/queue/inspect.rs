//! Looking at a group, and emptying it.

use std::collections::BTreeMap;
use std::time::Duration;

use statehouse_contracts::Counts;

use crate::queue::group::{Group, Item, Place, Rank, Timers};
use crate::time::Time;

impl Group {
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            ready: (self.ready.len() + self.behind.len()) as u64,
            delayed: self.delayed,
            in_flight: self.leased,
            dead: self.dead.len() as u64,
            expired: self.expired,
            dropped: self.dropped,
            exact: true,
        }
    }

    /// The ready message that became due first.
    pub(super) fn oldest_ready(&self) -> Option<usize> {
        let behind = self
            .behind
            .first_key_value()
            .map(|(age, item)| (*age, *item));
        let firsts = (0..=9).filter_map(|urgency| self.first_of(urgency));
        firsts.chain(behind).min().map(|(_, item)| item)
    }

    fn first_of(&self, urgency: u8) -> Option<((Time, u64), usize)> {
        let start = Rank {
            urgency,
            due: Time::from_nanos(i64::MIN),
            seq: 0,
        };
        let (rank, item) = self.ready.range(start..).next()?;
        (rank.urgency == urgency).then_some(((rank.due, rank.seq), *item))
    }

    pub(crate) fn oldest_ready_age(&self, now: Time) -> Option<Duration> {
        let oldest = self.oldest_ready()?;
        Some(now.since(self.items[oldest].accepted.due))
    }

    /// What would come next if each were settled before the next is taken.
    pub(crate) fn peek(&self, max: usize) -> Vec<&Item> {
        let mut heads = self.ready.iter().peekable();
        let mut freed: BTreeMap<Rank, (usize, usize)> = BTreeMap::new();
        let mut shown = Vec::new();
        while shown.len() < max {
            let by_freed = match (heads.peek(), freed.first_key_value()) {
                (Some((head, _)), Some((next, _))) => next < *head,
                (None, Some(_)) => true,
                (Some(_), None) => false,
                (None, None) => break,
            };
            let next = if by_freed {
                freed.pop_first().map(|(_, next)| next)
            } else {
                heads.next().map(|(_, item)| (*item, 0))
            };
            let Some((item, depth)) = next else { break };
            let known = &self.items[item];
            shown.push(known);
            let queue = self.key(&known.accepted).and_then(|key| self.keys.get(key));
            if let Some(behind) = queue.and_then(|queue| queue.get(depth + 1)) {
                let rank = self.rank(&self.items[*behind].accepted);
                freed.insert(rank, (*behind, depth + 1));
            }
        }
        shown
    }

    /// Removes what is neither leased nor dead; answers how many that were.
    pub(crate) fn purge(&mut self, timers: &mut Timers, now: Time) -> u64 {
        let leased = |item: &Item| matches!(item.place, Place::Leased { .. });
        let waiting = self.items.iter().filter(|(_, item)| !leased(item));
        let going: Vec<usize> = waiting.map(|(number, _)| number).collect();
        for item in &going {
            self.take_out(*item, timers, now);
        }
        going.len() as u64
    }
}
