use std::fmt;

use statehouse_contracts::{Glob, Pattern, Topic};

/// Which topics a subscription hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusPattern {
    /// AMQP's patterns, as for groups: `*` is one word, `#` any number of words.
    Words(Pattern),
    /// Loom's patterns: `*` is any run of characters, also over dots; `?` is one character,
    /// `[a-z]` one of a set. A malformed one is refused when the glob is made.
    Glob(Glob),
}

impl BusPattern {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        match self {
            BusPattern::Words(pattern) => pattern.as_str(),
            BusPattern::Glob(glob) => glob.as_str(),
        }
    }

    /// Whether `topic` matches.
    pub fn matches(&self, topic: &Topic) -> bool {
        match self {
            BusPattern::Words(pattern) => pattern.matches(topic),
            BusPattern::Glob(glob) => glob.matches(topic.as_str()),
        }
    }
}

impl From<Pattern> for BusPattern {
    fn from(pattern: Pattern) -> Self {
        BusPattern::Words(pattern)
    }
}

impl From<Topic> for BusPattern {
    fn from(topic: Topic) -> Self {
        BusPattern::Words(topic.into())
    }
}

impl From<Glob> for BusPattern {
    fn from(glob: Glob) -> Self {
        BusPattern::Glob(glob)
    }
}

impl fmt::Display for BusPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
