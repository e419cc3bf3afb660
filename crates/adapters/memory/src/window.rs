//! What is remembered for a while, so that repeats are recognised.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use crate::time::Time;

/// Keys with what they stood for, for a length of time, and at most so many of them.
#[derive(Debug)]
pub(crate) struct Window<K, V> {
    length: Duration,
    capacity: usize,
    known: HashMap<K, V>,
    order: VecDeque<(Time, K)>,
}

impl<K: Eq + Hash + Clone, V> Window<K, V> {
    pub(crate) fn new(length: Duration, capacity: usize) -> Self {
        Self {
            length,
            capacity,
            known: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Forgets what is too old.
    pub(crate) fn advance(&mut self, now: Time) {
        while let Some((end, _)) = self.order.front()
            && *end <= now
        {
            self.forget_oldest();
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.known.get(key)
    }

    /// Remembers a key that is not known.
    pub(crate) fn insert(&mut self, key: K, value: V, now: Time) {
        if self.order.len() >= self.capacity {
            self.forget_oldest();
        }
        self.order.push_back((now.after(self.length), key.clone()));
        self.known.insert(key, value);
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.known.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forgets_by_time_and_by_number() {
        let mut window = Window::new(Duration::from_nanos(10), 2);
        let at = Time::from_nanos;
        for (key, now) in [("a", 0), ("b", 1), ("c", 2)] {
            window.insert(key, now, at(now));
        }
        assert_eq!([window.get(&"a"), window.get(&"c")], [None, Some(&2)]);
        window.advance(at(11));
        assert_eq!([window.get(&"b"), window.get(&"c")], [None, Some(&2)]);
    }
}
