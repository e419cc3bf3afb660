//! What this process wrote and the replica may not have yet.

use std::collections::HashMap;

use statehouse_contracts::{Applied, Result, StateKey, Version};

/// Where the feed tells the replica how far it is: `<commit> <cursor>`.
pub(super) fn mark_key() -> Result<StateKey> {
    StateKey::parse("statehouse.feed", "main")
}

/// This process's writes, key by key up to a bound, and the newest that was forgotten.
#[derive(Debug)]
pub(super) struct Written {
    limit: usize,
    by_key: HashMap<StateKey, (Version, u64)>,
    last_commit: u64,
    forgotten: u64,
    doubtful: bool,
}

impl Written {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            by_key: HashMap::new(),
            last_commit: 0,
            forgotten: 0,
            doubtful: false,
        }
    }

    /// Remembers what `applied` wrote to `keys`. Beyond the bound everything is forgotten at once,
    /// and reads go to main until the replica has caught up with that.
    pub(super) fn remember(&mut self, keys: Vec<StateKey>, applied: &Applied) {
        if self.doubtful || self.by_key.len() + keys.len() > self.limit {
            self.doubtful = false;
            self.by_key.clear();
            self.forgotten = self.last_commit.max(applied.commit);
        }
        self.last_commit = self.last_commit.max(applied.commit);
        for (key, version) in keys.into_iter().zip(&applied.versions) {
            // The answers of racing and of repeated writes come in any order.
            let newest = self.by_key.entry(key).or_default();
            if newest.1 <= applied.commit {
                *newest = (*version, applied.commit);
            }
        }
    }

    /// A write may have been applied, nobody knows as what: reads go to main until the replica has
    /// a later write of this process, or is seen to have everything.
    pub(super) fn lose_track(&mut self) {
        self.doubtful = true;
    }

    /// The replica has everything that main had when this was found out.
    pub(super) fn all_replicated(&mut self) {
        let limit = self.limit;
        *self = Self {
            last_commit: self.last_commit,
            ..Self::new(limit)
        };
    }

    /// Drops what the replica has, being at `commit`.
    pub(super) fn replicated(&mut self, commit: u64) {
        self.by_key.retain(|_, (_, written)| *written > commit);
        if self.forgotten <= commit {
            self.forgotten = 0;
        }
    }

    /// The version of `key` that this process wrote last and the replica may not have.
    pub(super) fn version(&self, key: &StateKey) -> Option<Version> {
        self.by_key.get(key).map(|(version, _)| *version)
    }

    /// Whether there are writes that are not remembered key by key.
    pub(super) fn lost_track(&self) -> bool {
        self.doubtful || self.forgotten > 0
    }

    /// Whether the replica may lack any write of this process.
    pub(super) fn any(&self) -> bool {
        self.lost_track() || !self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use statehouse_contracts::Timestamp;

    use super::*;

    fn applied(commit: u64, version: Version) -> Applied {
        Applied {
            commit,
            at: Timestamp::UNIX_EPOCH,
            versions: vec![version],
            replayed: false,
        }
    }

    fn key(id: &str) -> StateKey {
        StateKey::parse("task", id).unwrap()
    }

    #[test]
    fn a_key_is_unsafe_until_the_replica_has_it() {
        let mut written = Written::new(10);
        written.remember(vec![key("a")], &applied(5, 2));
        assert_eq!(written.version(&key("a")), Some(2));
        written.replicated(4);
        assert!(written.any());
        written.replicated(5);
        assert!(!written.any() && written.version(&key("a")).is_none());
    }

    #[test]
    fn an_answer_that_comes_late_or_again_takes_nothing_back() {
        let mut written = Written::new(10);
        written.remember(vec![key("a")], &applied(9, 3));
        written.remember(vec![key("a")], &applied(8, 2));
        written.replicated(8);
        assert_eq!(written.version(&key("a")), Some(3));
    }

    #[test]
    fn what_is_forgotten_or_doubtful_is_unsafe_as_a_whole() {
        let mut written = Written::new(1);
        written.remember(vec![key("a")], &applied(1, 1));
        written.remember(vec![key("b")], &applied(2, 1));
        assert!(written.lost_track());
        written.replicated(2);
        assert!(!written.lost_track());
        written.lose_track();
        written.replicated(100);
        assert!(written.lost_track());
        written.remember(vec![key("c")], &applied(101, 1));
        written.replicated(101);
        assert!(!written.any());
    }
}
