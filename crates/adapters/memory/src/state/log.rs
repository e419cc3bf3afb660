//! The change log and its followers.

use std::collections::{BTreeMap, VecDeque};

use statehouse_contracts::{
    ChangeOperation, Cursor, Error, Follower, FollowerName, FollowerSpec, FollowerStart, OpId,
    Principal, Result, StateKey, Trim, Version,
};
use uuid::Uuid;

use crate::time::Time;

/// What is kept of one change; its content is that of the version.
#[derive(Clone, Debug)]
pub(crate) struct LogEntry {
    pub(crate) commit: u64,
    pub(crate) key: StateKey,
    pub(crate) version: Version,
    pub(crate) operation: ChangeOperation,
    pub(crate) at: Time,
    pub(crate) by: Principal,
    pub(crate) op_id: Option<OpId>,
}

#[derive(Debug)]
struct Following {
    position: u64,
    max_lag: Option<u64>,
    lost: bool,
    advanced_at: Time,
}

/// The changes of a namespace. A position counts the changes before it.
#[derive(Debug)]
pub(crate) struct Log {
    incarnation: String,
    oldest: u64,
    entries: VecDeque<LogEntry>,
    followers: BTreeMap<FollowerName, Following>,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self {
            incarnation: Uuid::now_v7().simple().to_string(),
            oldest: 0,
            entries: VecDeque::new(),
            followers: BTreeMap::new(),
        }
    }

    pub(crate) fn push(&mut self, entry: LogEntry) {
        self.entries.push_back(entry);
    }

    fn head_position(&self) -> u64 {
        self.oldest + self.entries.len() as u64
    }

    pub(crate) fn cursor(&self, position: u64) -> Cursor {
        Cursor(format!("{}-{position}", self.incarnation))
    }

    pub(crate) fn head(&self) -> Cursor {
        self.cursor(self.head_position())
    }

    pub(crate) fn oldest(&self) -> Cursor {
        self.cursor(self.oldest)
    }

    fn lost(&self, why: &str) -> Error {
        Error::cursor_lost(why, self.oldest(), self.head())
    }

    /// The position of a cursor of this log, trimmed or not.
    fn position(&self, cursor: &Cursor) -> Result<u64> {
        let Some((incarnation, position)) = parse(cursor) else {
            return Err(Error::invalid(format!(
                "{:?} is no cursor of a change log; pass one that a log gave",
                cursor.0
            )));
        };
        if incarnation != self.incarnation {
            return Err(self.lost("it is of another log"));
        }
        if position > self.head_position() {
            return Err(self.lost("it is ahead of the log"));
        }
        Ok(position)
    }

    /// The position of a cursor that can be resumed from.
    fn resume(&self, cursor: &Cursor) -> Result<u64> {
        let position = self.position(cursor)?;
        if position < self.oldest {
            return Err(self.lost("it was trimmed"));
        }
        Ok(position)
    }

    /// The changes after `cursor`, each with the position right after it.
    pub(crate) fn after(
        &self,
        cursor: &Cursor,
        limit: usize,
    ) -> Result<impl Iterator<Item = (u64, &LogEntry)>> {
        let position = self.resume(cursor)?;
        // What is kept fits into memory, so the difference does.
        let from = (position - self.oldest) as usize;
        let found = self.entries.range(from..).take(limit);
        Ok((position + 1..).zip(found))
    }

    pub(crate) fn follow(
        &mut self,
        name: &FollowerName,
        spec: FollowerSpec,
        now: Time,
    ) -> Result<Follower> {
        let known = self
            .followers
            .get(name)
            .is_some_and(|follower| !follower.lost);
        if !known {
            let position = match &spec.start {
                FollowerStart::Oldest => self.oldest,
                FollowerStart::Head => self.head_position(),
                FollowerStart::At(cursor) => self.resume(cursor)?,
            };
            let following = Following {
                position,
                max_lag: spec.max_lag,
                lost: false,
                advanced_at: now,
            };
            self.followers.insert(name.clone(), following);
        }
        self.follower(name)
    }

    fn follower(&self, name: &FollowerName) -> Result<Follower> {
        let following = self.followers.get(name).ok_or_else(|| unknown(name))?;
        Ok(self.show(name, following))
    }

    fn show(&self, name: &FollowerName, following: &Following) -> Follower {
        Follower {
            name: name.clone(),
            cursor: self.cursor(following.position),
            lag: self.head_position() - following.position,
            lost: following.lost,
            advanced_at: following.advanced_at.timestamp(),
        }
    }

    pub(crate) fn advance(
        &mut self,
        name: &FollowerName,
        cursor: &Cursor,
        now: Time,
    ) -> Result<()> {
        let following = self.followers.get(name).ok_or_else(|| unknown(name))?;
        if following.lost {
            return Err(self.lost("trimming has passed the follower"));
        }
        let position = self.position(cursor)?;
        if let Some(following) = self.followers.get_mut(name)
            && position > following.position
        {
            following.position = position;
            following.advanced_at = now;
        }
        Ok(())
    }

    pub(crate) fn followers(&self) -> Vec<Follower> {
        self.followers
            .iter()
            .map(|(name, following)| self.show(name, following))
            .collect()
    }

    pub(crate) fn unfollow(&mut self, name: &FollowerName) -> bool {
        self.followers.remove(name).is_some()
    }

    /// Trims what lies beyond either bound, as far as followers let it; answers how many changes
    /// went.
    pub(crate) fn trim(&mut self, trim: Trim, now: Time) -> u64 {
        let head = self.head_position();
        let by_number = trim.keep_last.map_or(0, |keep| head.saturating_sub(keep));
        let by_age = trim.max_age.map_or(0, |age| {
            let before = now.before(age);
            self.oldest + self.entries.partition_point(|entry| entry.at <= before) as u64
        });
        let wanted = by_number.max(by_age).max(self.oldest);
        let holds = |follower: &&Following| {
            let lag = head - follower.position;
            !follower.lost && follower.max_lag.is_none_or(|max| lag <= max)
        };
        let held = self
            .followers
            .values()
            .filter(holds)
            .map(|f| f.position)
            .min();
        let target = wanted.min(held.unwrap_or(wanted)).max(self.oldest);
        for follower in self.followers.values_mut() {
            follower.lost |= follower.position < target;
        }
        let trimmed = target - self.oldest;
        self.entries.drain(..trimmed as usize);
        self.oldest = target;
        trimmed
    }
}

fn unknown(name: &FollowerName) -> Error {
    Error::not_found(format!("there is no follower {name}; make it with follow"))
}

/// Incarnation and position of a cursor, in the one way they are written.
fn parse(cursor: &Cursor) -> Option<(&str, u64)> {
    let (incarnation, position) = cursor.0.split_once('-')?;
    let hex = incarnation
        .bytes()
        .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let digits = position.bytes().all(|b| b.is_ascii_digit());
    if incarnation.len() != 32 || !hex || !digits {
        return None;
    }
    Some((incarnation, position.parse().ok()?))
}
