//! Which subscribers hear a topic: AMQP patterns in a trie of words, globs by their literal start.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;
use slab::Slab;
use smallvec::SmallVec;
use statehouse_contracts::{Glob, Pattern, Topic};

use super::BusPattern;

const ROOT: usize = 0;

/// Places in the trie that a topic has reached.
type Frontier = SmallVec<[usize; 16]>;

/// Values by pattern. A value has an id and stands under one pattern.
#[derive(Debug)]
pub(crate) struct Routes<T> {
    nodes: Slab<Node<T>>,
    /// By the length of what a match begins with, then by that.
    globs: BTreeMap<usize, HashMap<String, Vec<GlobRoute<T>>, FixedState>>,
}

#[derive(Debug)]
struct Node<T> {
    words: HashMap<Box<str>, usize, FixedState>,
    star: Option<usize>,
    hash: Option<usize>,
    /// Whether it was reached by `#`: then any word leads back to it.
    is_hash: bool,
    here: Vec<(u64, T)>,
}

#[derive(Debug)]
struct GlobRoute<T> {
    id: u64,
    glob: Glob,
    value: T,
}

impl<T> Node<T> {
    fn new(is_hash: bool) -> Self {
        Self {
            words: HashMap::default(),
            star: None,
            hash: None,
            is_hash,
            here: Vec::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.here.is_empty() && self.words.is_empty() && self.star.is_none() && self.hash.is_none()
    }

    fn child(&self, word: &str) -> Option<usize> {
        match word {
            "*" => self.star,
            "#" => self.hash,
            word => self.words.get(word).copied(),
        }
    }

    fn link(&mut self, word: &str, child: Option<usize>) {
        match (word, child) {
            ("*", child) => self.star = child,
            ("#", child) => self.hash = child,
            (word, Some(child)) => drop(self.words.insert(word.into(), child)),
            (word, None) => drop(self.words.remove(word)),
        }
    }
}

impl<T> Default for Routes<T> {
    fn default() -> Self {
        let mut nodes = Slab::new();
        nodes.insert(Node::new(false));
        Self {
            nodes,
            globs: BTreeMap::new(),
        }
    }
}

impl<T: Clone> Routes<T> {
    pub(crate) fn insert(&mut self, pattern: &BusPattern, id: u64, value: T) {
        match pattern {
            BusPattern::Words(pattern) => self.insert_words(pattern, id, value),
            BusPattern::Glob(glob) => {
                let start = glob.prefix();
                let same_start = self.globs.entry(start.len()).or_default();
                let glob = glob.clone();
                same_start
                    .entry(start)
                    .or_default()
                    .push(GlobRoute { id, glob, value });
            }
        }
    }

    /// Takes the value `id` away, and what only it needed.
    pub(crate) fn remove(&mut self, pattern: &BusPattern, id: u64) -> Option<T> {
        match pattern {
            BusPattern::Words(pattern) => self.remove_words(pattern, id),
            BusPattern::Glob(glob) => self.remove_glob(&glob.prefix(), id),
        }
    }

    /// The values whose pattern matches, each once.
    pub(crate) fn matching(&self, topic: &Topic) -> Vec<T> {
        let mut found = Vec::new();
        self.match_words(topic, &mut found);
        for (len, same_length) in &self.globs {
            let Some(start) = topic.as_str().get(..*len) else {
                break;
            };
            let routes = same_length.get(start).into_iter().flatten();
            let matching = routes.filter(|route| route.glob.matches(topic.as_str()));
            found.extend(matching.map(|route| route.value.clone()));
        }
        found
    }

    fn insert_words(&mut self, pattern: &Pattern, id: u64, value: T) {
        let mut at = ROOT;
        for word in words(pattern) {
            at = match self.nodes[at].child(word) {
                Some(child) => child,
                None => {
                    let child = self.nodes.insert(Node::new(word == "#"));
                    self.nodes[at].link(word, Some(child));
                    child
                }
            };
        }
        self.nodes[at].here.push((id, value));
    }

    fn remove_words(&mut self, pattern: &Pattern, id: u64) -> Option<T> {
        let mut path = vec![];
        let mut at = ROOT;
        for word in words(pattern) {
            path.push((at, word));
            at = self.nodes[at].child(word)?;
        }
        let place = self.nodes[at]
            .here
            .iter()
            .position(|(other, _)| *other == id)?;
        let (_, value) = self.nodes[at].here.remove(place);
        for (parent, word) in path.into_iter().rev() {
            if !self.nodes[at].is_empty() {
                break;
            }
            self.nodes.remove(at);
            self.nodes[parent].link(word, None);
            at = parent;
        }
        Some(value)
    }

    fn remove_glob(&mut self, start: &str, id: u64) -> Option<T> {
        let same_length = self.globs.get_mut(&start.len())?;
        let routes = same_length.get_mut(start)?;
        let place = routes.iter().position(|route| route.id == id)?;
        let removed = routes.remove(place);
        if routes.is_empty() {
            same_length.remove(start);
        }
        if same_length.is_empty() {
            self.globs.remove(&start.len());
        }
        Some(removed.value)
    }

    /// Goes through the trie with all places at once, so that no pattern makes it go back.
    fn match_words(&self, topic: &Topic, found: &mut Vec<T>) {
        let (mut now, mut next) = (Frontier::new(), Frontier::new());
        self.enter(ROOT, &mut now);
        for word in topic.words() {
            for &at in &now {
                let node = &self.nodes[at];
                if node.is_hash {
                    next.push(at);
                }
                let children = [node.words.get(word).copied(), node.star];
                for child in children.into_iter().flatten() {
                    self.enter(child, &mut next);
                }
            }
            if next.len() > 1 {
                next.sort_unstable();
                next.dedup();
            }
            std::mem::swap(&mut now, &mut next);
            next.clear();
        }
        for &at in &now {
            found.extend(self.nodes[at].here.iter().map(|(_, value)| value.clone()));
        }
    }

    /// A `#` stands for no word as well.
    fn enter(&self, at: usize, frontier: &mut Frontier) {
        frontier.push(at);
        frontier.extend(self.nodes[at].hash);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.len() == 1 && self.globs.is_empty()
    }
}

/// The words of a pattern; `#.#` says no more than `#`.
fn words(pattern: &Pattern) -> impl Iterator<Item = &str> {
    let mut after_hash = false;
    pattern.as_str().split('.').filter(move |word| {
        let is_hash = *word == "#";
        let repeats = is_hash && after_hash;
        after_hash = is_hash;
        !repeats
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern() -> impl Strategy<Value = BusPattern> {
        let word = prop::sample::select(vec!["a", "b", "*", "#"]);
        let words = prop::collection::vec(word, 1..6)
            .prop_map(|words| BusPattern::Words(Pattern::new(words.join(".")).unwrap()));
        let part = prop::sample::select(vec!["a", "b", ".", "*", "?", "[a-b]", "[^a]"]);
        let glob = prop::collection::vec(part, 0..6)
            .prop_map(|parts| BusPattern::Glob(Glob::new(&parts.concat()).unwrap()));
        prop_oneof![3 => words, 1 => glob]
    }

    fn topic() -> impl Strategy<Value = Topic> {
        let word = prop::sample::select(vec!["a", "b"]);
        prop::collection::vec(word, 1..6).prop_map(|words| Topic::new(words.join(".")).unwrap())
    }

    proptest! {
        #[test]
        fn agrees_with_asking_each_pattern(
            patterns in prop::collection::vec((pattern(), any::<bool>()), 0..40),
            topics in prop::collection::vec(topic(), 1..8),
        ) {
            let mut routes = Routes::default();
            for (id, (pattern, _)) in patterns.iter().enumerate() {
                routes.insert(pattern, id as u64, id);
            }
            for (id, (pattern, stays)) in patterns.iter().enumerate() {
                if !stays {
                    prop_assert_eq!(routes.remove(pattern, id as u64), Some(id));
                    prop_assert_eq!(routes.remove(pattern, id as u64), None);
                }
            }
            for topic in topics {
                let mut found = routes.matching(&topic);
                found.sort_unstable();
                let each = patterns.iter().enumerate();
                let expected: Vec<usize> = each
                    .filter(|(_, (pattern, stays))| *stays && pattern.matches(&topic))
                    .map(|(id, _)| id)
                    .collect();
                prop_assert_eq!(found, expected, "{}", topic);
            }
            for (id, (pattern, _)) in patterns.iter().enumerate() {
                routes.remove(pattern, id as u64);
            }
            prop_assert!(routes.is_empty(), "nothing is left behind");
        }
    }

    #[test]
    fn no_pattern_makes_it_slow() {
        let mut routes = Routes::default();
        let many = Pattern::new(["#", "a"].repeat(30).join(".")).unwrap();
        routes.insert(&BusPattern::Words(many), 1, ());
        let topic = Topic::new(vec!["a"; 60].join(".")).unwrap();
        assert_eq!(routes.matching(&topic).len(), 1);
    }
}
