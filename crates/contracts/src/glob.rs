//! Globs over record ids.

use std::fmt;

use crate::{Error, Result};

/// A pattern over ids: `*` stands for any run of characters, `?` for one, `[a-z]` for one of a
/// set and `[^a-z]` for one outside it; `\` takes the next character as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Glob {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    One(char),
    AnyOne,
    Run,
    Set {
        not: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Part {
    fn matches(&self, c: char) -> bool {
        match self {
            Part::One(one) => *one == c,
            Part::AnyOne => true,
            Part::Run => false,
            Part::Set { not, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *not
            }
        }
    }
}

impl Glob {
    /// The longest glob in bytes.
    pub const MAX_BYTES: usize = 1024;

    /// Parses `text`.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for a set that is not closed or is
    /// empty, a `\` at the end, or more than 1,024 bytes.
    pub fn new(text: &str) -> Result<Self> {
        if text.len() > Self::MAX_BYTES {
            return Err(Error::invalid(format!(
                "glob has {} bytes, at most 1024 are allowed",
                text.len()
            )));
        }
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' => Part::Run,
                '?' => Part::AnyOne,
                '[' => parse_set(&mut chars).ok_or_else(|| {
                    Error::invalid(format!(
                        "glob {text:?} has a set that is empty or not closed by ]"
                    ))
                })?,
                '\\' => Part::One(chars.next().ok_or_else(|| {
                    Error::invalid(format!(
                        "glob {text:?} ends with \\; it takes the next character as it is"
                    ))
                })?),
                other => Part::One(other),
            });
        }
        parts.dedup_by(|a, b| *a == Part::Run && *b == Part::Run);
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }

    /// The glob as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The characters that every match begins with: where an index scan starts.
    pub fn prefix(&self) -> String {
        let literal = |part: &Part| {
            if let Part::One(c) = part {
                Some(*c)
            } else {
                None
            }
        };
        self.parts.iter().map_while(literal).collect()
    }

    /// Whether `id` matches as a whole.
    pub fn matches(&self, id: &str) -> bool {
        let id: Vec<char> = id.chars().collect();
        let (mut p, mut i) = (0, 0);
        let mut resume: Option<(usize, usize)> = None;
        while i < id.len() {
            match self.parts.get(p) {
                Some(Part::Run) => {
                    resume = Some((p, i));
                    p += 1;
                }
                Some(part) if part.matches(id[i]) => {
                    p += 1;
                    i += 1;
                }
                _ => match &mut resume {
                    Some((run, from)) => {
                        *from += 1;
                        (p, i) = (*run + 1, *from);
                    }
                    None => return false,
                },
            }
        }
        self.parts[p..].iter().all(|part| *part == Part::Run)
    }
}

fn parse_set(chars: &mut std::str::Chars<'_>) -> Option<Part> {
    let mut ranges = Vec::new();
    let mut not = false;
    let mut first = true;
    loop {
        match chars.next()? {
            ']' if !ranges.is_empty() => return Some(Part::Set { not, ranges }),
            ']' => return None,
            '^' if first => not = true,
            c => {
                let low = if c == '\\' { chars.next()? } else { c };
                let mut ahead = chars.clone();
                let is_range = ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']');
                let high = if is_range {
                    chars.next();
                    match chars.next()? {
                        '\\' => chars.next()?,
                        c => c,
                    }
                } else {
                    low
                };
                ranges.push((low, high));
            }
        }
        first = false;
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_form() {
        let table = [
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c*e", "abcde", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[a-]x", "-x", true),
            (r"\*", "*", true),
            (r"\*", "a", false),
            (r"[\]]", "]", true),
            ("", "", true),
            ("", "a", false),
            ("*", "with/slash.and.dots", true),
        ];
        for (glob, id, expected) in table {
            assert_eq!(
                Glob::new(glob).unwrap().matches(id),
                expected,
                "{glob} ~ {id}"
            );
        }
        for bad in ["[", "[]", "[a", r"a\", "[^]"] {
            assert!(Glob::new(bad).is_err(), "{bad}");
        }
        assert_eq!(Glob::new(r"ab\*c?d").unwrap().prefix(), "ab*c");
    }

    proptest! {
        #[test]
        fn a_literal_matches_itself_only(id in "[a-z]{1,8}", other in "[a-z]{1,8}") {
            let glob = Glob::new(&id).unwrap();
            prop_assert!(glob.matches(&id));
            prop_assert_eq!(glob.matches(&other), id == other);
        }

        #[test]
        fn anything_parses_or_refuses(text in ".{0,40}", id in ".{0,40}") {
            if let Ok(glob) = Glob::new(&text) {
                let matched = glob.matches(&id);
                prop_assert!(!matched || id.starts_with(&glob.prefix()));
            }
        }
    }
}
