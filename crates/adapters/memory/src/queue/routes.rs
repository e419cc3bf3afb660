//! Which subscriptions a topic reaches, found by its words.

use std::collections::HashMap;

use statehouse_contracts::{Pattern, Topic};

/// Subscriptions by pattern, as a tree of words.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    root: Node,
    wildcards: usize,
}

#[derive(Debug, Default)]
struct Node {
    words: HashMap<Box<str>, Node>,
    ends: Vec<usize>,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.words.is_empty() && self.ends.is_empty()
    }

    fn remove(&mut self, mut pattern: std::str::Split<'_, char>, subscription: usize) {
        let Some(word) = pattern.next() else {
            self.ends.retain(|end| *end != subscription);
            return;
        };
        if let Some(next) = self.words.get_mut(word) {
            next.remove(pattern, subscription);
            if next.is_empty() {
                self.words.remove(word);
            }
        }
    }

    fn find(&self, words: &[&str], found: &mut Vec<usize>) {
        if let Some(any) = self.words.get("#") {
            for skipped in 0..=words.len() {
                any.find(&words[skipped..], found);
            }
        }
        let Some((first, rest)) = words.split_first() else {
            found.extend_from_slice(&self.ends);
            return;
        };
        for word in [*first, "*"] {
            if let Some(next) = self.words.get(word) {
                next.find(rest, found);
            }
        }
    }

    fn find_exact(&self, topic: &Topic, found: &mut Vec<usize>) {
        let mut node = self;
        for word in topic.words() {
            match node.words.get(word) {
                Some(next) => node = next,
                None => return,
            }
        }
        found.extend_from_slice(&node.ends);
    }
}

impl Routes {
    pub(crate) fn insert(&mut self, pattern: &Pattern, subscription: usize) {
        let mut node = &mut self.root;
        for word in pattern.as_str().split('.') {
            node = node.words.entry(word.into()).or_default();
        }
        node.ends.push(subscription);
        self.wildcards += usize::from(!pattern.is_exact());
    }

    pub(crate) fn remove(&mut self, pattern: &Pattern, subscription: usize) {
        self.root.remove(pattern.as_str().split('.'), subscription);
        self.wildcards -= usize::from(!pattern.is_exact());
    }

    /// Puts the subscriptions that hear `topic` into `found`, each once, in their order.
    pub(crate) fn find(&self, topic: &Topic, found: &mut Vec<usize>) {
        found.clear();
        if self.wildcards == 0 {
            self.root.find_exact(topic, found);
            return;
        }
        let words: Vec<&str> = topic.words().collect();
        self.root.find(&words, found);
        found.sort_unstable();
        found.dedup();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dotted(words: &[&'static str], most: usize) -> impl Strategy<Value = String> + use<> {
        let word = prop::sample::select(words.to_vec());
        prop::collection::vec(word, 1..most).prop_map(|words| words.join("."))
    }

    proptest! {
        #[test]
        fn it_finds_what_matches_and_nothing_else(
            patterns in prop::collection::vec(dotted(&["a", "b", "*", "#"], 5), 1..12),
            topics in prop::collection::vec(dotted(&["a", "b", "c"], 6), 1..6),
            gone in 0_usize..12,
        ) {
            let patterns: Vec<Pattern> = patterns.iter().map(|p| Pattern::new(p).unwrap()).collect();
            let mut routes = Routes::default();
            for (number, pattern) in patterns.iter().enumerate() {
                routes.insert(pattern, number);
            }
            if let Some(pattern) = patterns.get(gone) {
                routes.remove(pattern, gone);
            }
            for topic in topics {
                let topic = Topic::new(topic).unwrap();
                let mut found = Vec::new();
                routes.find(&topic, &mut found);
                let expected: Vec<usize> = (0..patterns.len())
                    .filter(|number| *number != gone && patterns[*number].matches(&topic))
                    .collect();
                prop_assert_eq!(found, expected);
            }
            for (number, pattern) in patterns.iter().enumerate() {
                if number != gone {
                    routes.remove(pattern, number);
                }
            }
            prop_assert!(routes.is_empty() && routes.wildcards == 0);
        }
    }
}
