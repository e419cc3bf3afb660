//! Looking at a group, and emptying it.

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

    /// What a receive would hand out now.
    pub(crate) fn peek(&self, max: usize) -> Vec<&Item> {
        let heads = self.ready.values().take(max);
        heads.map(|item| &self.items[*item]).collect()
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
