//! AMQP's topic patterns.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::Text;
use crate::{Error, Result, Topic};

/// Which topics a group hears: words joined by dots, where `*` stands for exactly one word and
/// `#` for zero or more (AMQP 0-9-1, topic exchange). Up to 180 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Text);

impl Pattern {
    /// Every topic: `#`.
    pub const ALL: Pattern = Pattern(Text::Static("#"));

    /// Checks and takes `text`.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) when it is empty, too long, or has a
    /// word that is neither `*`, nor `#`, nor made of `A-Z a-z 0-9 - _`.
    pub fn new(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        if text.len() > Topic::MAX_BYTES {
            return Err(Error::invalid(format!(
                "pattern has {} bytes, at most {} are allowed",
                text.len(),
                Topic::MAX_BYTES
            )));
        }
        match text.split('.').find(|word| !is_word(word)) {
            None => Ok(Self(Text::Shared(text.into()))),
            Some(word) => Err(Error::invalid(format!(
                "pattern {text:?} has the word {word:?}; a word is *, # or made of A-Z a-z 0-9 - _"
            ))),
        }
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it has no wildcard, and so matches one topic only.
    pub fn is_exact(&self) -> bool {
        !self
            .as_str()
            .split('.')
            .any(|word| word == "*" || word == "#")
    }

    /// Whether `topic` matches.
    pub fn matches(&self, topic: &Topic) -> bool {
        let pattern: Vec<&str> = self.as_str().split('.').collect();
        let words: Vec<&str> = topic.words().collect();
        matches(&pattern, &words)
    }
}

fn is_word(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    word == "*" || word == "#" || (!word.is_empty() && word.chars().all(plain))
}

/// Greedy with one step back, as for `*` in file globs: linear in practice, quadratic at worst.
fn matches(pattern: &[&str], words: &[&str]) -> bool {
    let (mut p, mut w) = (0, 0);
    let mut resume: Option<(usize, usize)> = None;
    while w < words.len() {
        match pattern.get(p) {
            Some(&"#") => {
                resume = Some((p, w));
                p += 1;
            }
            Some(&word) if word == "*" || word == words[w] => {
                p += 1;
                w += 1;
            }
            _ => match &mut resume {
                Some((hash, from)) => {
                    *from += 1;
                    (p, w) = (*hash + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&word| word == "#")
}

impl From<Topic> for Pattern {
    fn from(topic: Topic) -> Self {
        Self(Text::Shared(topic.as_str().into()))
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Pattern {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl TryFrom<String> for Pattern {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::new(text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn star_is_one_word_and_hash_any_number() {
        let table = [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("a.#", "a", true),
            ("a.#", "a.b.c", true),
            ("#", "a.b", true),
            ("#.c", "a.b.c", true),
            ("#.c", "c", true),
            ("a.#.c", "a.c", true),
            ("a.#.c.*", "a.c.b.c.d", true),
            ("*.#.*", "a", false),
            ("a.b", "a.c", false),
        ];
        for (pattern, topic, expected) in table {
            let (pattern, topic) = (Pattern::new(pattern).unwrap(), Topic::new(topic).unwrap());
            assert_eq!(pattern.matches(&topic), expected, "{pattern} ~ {topic}");
        }
        for bad in ["", "a..b", "a.b*", "a#", "a b", "."] {
            assert!(Pattern::new(bad).is_err(), "{bad:?}");
        }
    }

    /// The definition itself, exponential.
    fn model(pattern: &[&str], words: &[&str]) -> bool {
        match pattern.split_first() {
            None => words.is_empty(),
            Some((&"#", rest)) => (0..=words.len()).any(|n| model(rest, &words[n..])),
            Some((&word, rest)) => words
                .split_first()
                .is_some_and(|(first, w)| (word == "*" || word == *first) && model(rest, w)),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            pattern in prop::collection::vec(prop::sample::select(vec!["a", "b", "*", "#"]), 1..7),
            words in prop::collection::vec(prop::sample::select(vec!["a", "b"]), 1..7),
        ) {
            prop_assert_eq!(matches(&pattern, &words), model(&pattern, &words));
        }
    }
}
