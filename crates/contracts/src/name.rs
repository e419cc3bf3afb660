//! Names, validated when they are made, so that no adapter has to check one again.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::text::Text;
use crate::{Error, ErrorKind, Result};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal bytes, $rule:expr, $says:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Text);

        impl $name {
            /// The most bytes such a name may have.
            pub const MAX_BYTES: usize = $max;

            /// Checks and takes `text`.
            ///
            /// # Errors
            /// [`ErrorKind::InvalidArgument`] when it is empty, too long or has a character that
            /// is not allowed; the message says which.
            pub fn new(text: impl AsRef<str>) -> Result<Self> {
                let text = text.as_ref();
                check($what, text, $max, $rule, $says)?;
                Ok(Self(Text::Shared(text.into())))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = Error;
            fn try_from(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.as_str().to_owned()
            }
        }
    };
}

name!(
    /// The unit of authority: 1–40 of `a-z 0-9 -`.
    Namespace, "namespace", 40 bytes, |c| matches!(c, 'a'..='z' | '0'..='9' | '-'), "a-z 0-9 -"
);
name!(
    /// Who acts: up to 200 bytes of UTF-8 without control characters.
    Principal, "principal", 200 bytes, |c| !c.is_control(), "no control characters"
);
name!(
    /// What sort of thing a state record or a message is: up to 80 of `A-Z a-z 0-9 - _ .`.
    Kind, "kind", 80 bytes, dotted, "A-Z a-z 0-9 - _ ."
);
name!(
    /// A group of consumers: up to 80 of `A-Z a-z 0-9 - _ .`.
    GroupName, "group", 80 bytes, dotted, "A-Z a-z 0-9 - _ ."
);
name!(
    /// A task stack: up to 80 of `A-Z a-z 0-9 - _ .`.
    StackName, "stack", 80 bytes, dotted, "A-Z a-z 0-9 - _ ."
);
name!(
    /// A follower of the change log: up to 80 of `A-Z a-z 0-9 - _ .`.
    FollowerName, "follower", 80 bytes, dotted, "A-Z a-z 0-9 - _ ."
);
name!(
    /// The id of a state record: 1–512 bytes of UTF-8 without control characters.
    Id, "id", 512 bytes, |c| !c.is_control(), "no control characters"
);
name!(
    /// The id of a task, unique in its namespace: 1–512 bytes of UTF-8 without control characters.
    TaskId, "task id", 512 bytes, |c| !c.is_control(), "no control characters"
);
name!(
    /// Who claims tasks: up to 200 bytes of UTF-8 without control characters.
    WorkerName, "worker", 200 bytes, |c| !c.is_control(), "no control characters"
);
name!(
    /// Who keeps content alive: up to 700 bytes of UTF-8 without control characters.
    Holder, "holder", 700 bytes, |c| !c.is_control(), "no control characters"
);
name!(
    /// The identity of one mutation, for repeats: up to 200 bytes without control characters.
    OpId, "op_id", 200 bytes, |c| !c.is_control(), "no control characters"
);
name!(
    /// The media type of some bytes, as in HTTP: up to 255 printable ASCII characters.
    ContentType, "content type", 255 bytes, |c: char| c.is_ascii_graphic() || c == ' ', "printable ASCII"
);

fn dotted(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn check(
    what: &str,
    text: &str,
    max: usize,
    allowed: impl Fn(char) -> bool,
    says: &str,
) -> Result<()> {
    let problem = if text.is_empty() {
        "is empty".to_owned()
    } else if text.len() > max {
        format!("has {} bytes, at most {max} are allowed", text.len())
    } else if let Some((at, bad)) = text.char_indices().find(|(_, c)| !allowed(*c)) {
        format!("has {bad:?} at byte {at}; allowed: {says}")
    } else {
        return Ok(());
    };
    Err(Error::new(
        ErrorKind::InvalidArgument,
        format!("{what} {problem}"),
    ))
}

impl Namespace {
    /// The namespace of those who name none: `default`.
    pub const DEFAULT: Namespace = Namespace(Text::Static("default"));
}

impl Default for Namespace {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl ContentType {
    /// `application/octet-stream`.
    pub const BYTES: ContentType = ContentType(Text::Static("application/octet-stream"));
    /// `application/json`.
    pub const JSON: ContentType = ContentType(Text::Static("application/json"));
    /// `text/plain; charset=utf-8`.
    pub const TEXT: ContentType = ContentType(Text::Static("text/plain; charset=utf-8"));
}

impl Default for ContentType {
    fn default() -> Self {
        Self::BYTES
    }
}

impl OpId {
    /// A new id that nobody used before.
    pub fn random() -> Self {
        OpId(Text::Shared(uuid::Uuid::now_v7().to_string().into()))
    }
}

impl TaskId {
    /// A new id that nobody used before; later ids sort later.
    pub fn random() -> Self {
        TaskId(Text::Shared(uuid::Uuid::now_v7().to_string().into()))
    }
}

impl Holder {
    /// A new holder that nobody used before.
    pub fn random() -> Self {
        Holder(Text::Shared(uuid::Uuid::now_v7().to_string().into()))
    }
}

impl GroupName {
    /// The mailbox of `agent`: `mailbox.` and the agent's name as one word, see [`escape_word`].
    pub fn mailbox(agent: &str) -> Self {
        GroupName(Text::Shared(
            format!("mailbox.{}", escape_word(agent)).into(),
        ))
    }

    /// Whether this group is a mailbox.
    pub fn is_mailbox(&self) -> bool {
        Topic::new(self.as_str()).is_ok_and(|topic| topic.is_mailbox())
    }
}

/// Where a message goes: up to 180 bytes, words of `A-Z a-z 0-9 - _` joined by dots.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Topic(Text);

impl Topic {
    /// The most bytes a topic may have.
    pub const MAX_BYTES: usize = 180;

    /// Checks and takes `text`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] when it is empty, too long, has an empty word or a character
    /// that is not allowed.
    pub fn new(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        check(
            "topic",
            text,
            Self::MAX_BYTES,
            dotted,
            "words of A-Z a-z 0-9 - _ joined by dots",
        )?;
        if text.split('.').any(str::is_empty) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("topic {text:?} has an empty word; words are joined by single dots"),
            ));
        }
        Ok(Self(Text::Shared(text.into())))
    }

    /// The mailbox of `agent`: the topic of the same name as [`GroupName::mailbox`].
    pub fn mailbox(agent: &str) -> Self {
        Topic(Text::Shared(
            format!("mailbox.{}", escape_word(agent)).into(),
        ))
    }

    /// The topic of the events of one state record: `state.<kind>.<id>`, both as one word each.
    pub fn state(kind: &Kind, id: &Id) -> Self {
        let text = format!(
            "state.{}.{}",
            escape_word(kind.as_str()),
            escape_word(id.as_str())
        );
        Topic(Text::Shared(text.into()))
    }

    /// The topic as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The words between the dots.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.as_str().split('.')
    }

    /// Whether this is a mailbox: `mailbox.` and exactly one word.
    pub fn is_mailbox(&self) -> bool {
        self.as_str()
            .strip_prefix("mailbox.")
            .is_some_and(|rest| !rest.contains('.'))
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Topic {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl TryFrom<String> for Topic {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Topic {
    type Error = Error;
    fn try_from(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl From<Topic> for String {
    fn from(topic: Topic) -> String {
        topic.as_str().to_owned()
    }
}

/// The longest word that [`escape_word`] makes.
const WORD_MAX: usize = 72;

/// Any text as one topic word: `A-Z a-z 0-9 -` stay, every other byte (also `_`) becomes `_` and
/// two hex digits. A text that would be longer than 72 bytes becomes `__` and 32 hex digits of its
/// SHA-256 instead; who needs the whole text then puts it into a header. Different texts give
/// different words.
pub fn escape_word(text: &str) -> String {
    let mut word = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            word.push(byte as char);
        } else {
            word.push_str(&format!("_{byte:02X}"));
        }
        if word.len() > WORD_MAX {
            return hashed_word(text);
        }
    }
    // An empty text has no word of its own otherwise; `_` alone is never made from another.
    if word.is_empty() {
        "_".to_owned()
    } else {
        word
    }
}

fn hashed_word(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let hex: String = digest
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("__{hex}")
}

/// The text that [`escape_word`] made `word` from; `None` for a hashed word or one that it never
/// makes.
pub fn unescape_word(word: &str) -> Option<String> {
    if word == "_" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'_' {
            bytes.push(byte);
            continue;
        }
        let (high, low) = (char::from(rest.next()?), char::from(rest.next()?));
        bytes.push((high.to_digit(16)? * 16 + low.to_digit(16)?) as u8);
    }
    let text = String::from_utf8(bytes).ok()?;
    (escape_word(&text) == word).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_refused_name_says_why() {
        let table = [
            ("", "namespace is empty"),
            ("Upper", "namespace has 'U' at byte 0; allowed: a-z 0-9 -"),
        ];
        for (text, says) in table {
            assert_eq!(Namespace::new(text).unwrap_err().message(), says);
        }
        let long = Namespace::new("a".repeat(41)).unwrap_err();
        assert_eq!(
            long.message(),
            "namespace has 41 bytes, at most 40 are allowed"
        );
        assert!(Id::new("with/slash and 🦀").is_ok());
        assert!(Id::new("nul\0").is_err());
    }

    #[test]
    fn topics_have_no_empty_word() {
        assert!(Topic::new("a.b-c.d_e").is_ok());
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "a/b"] {
            assert!(Topic::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn any_agent_has_a_mailbox() {
        for agent in ["my-agent", "a_b", "", "ünï/cödé", &"x".repeat(500)] {
            let (topic, group) = (Topic::mailbox(agent), GroupName::mailbox(agent));
            assert!(Topic::new(topic.as_str()).is_ok(), "{topic}");
            assert!(GroupName::new(group.as_str()).is_ok(), "{group}");
            assert!(topic.is_mailbox() && group.is_mailbox());
        }
    }

    proptest! {
        #[test]
        fn words_are_reversible_and_valid(text in "\\PC{0,60}") {
            let word = escape_word(&text);
            prop_assert!(Topic::new(&word).is_ok());
            prop_assert!(word.starts_with("__") || unescape_word(&word) == Some(text));
        }

        #[test]
        fn unescape_takes_anything(word in ".*") {
            if let Some(text) = unescape_word(&word) {
                prop_assert_eq!(escape_word(&text), word);
            }
        }
    }
}
