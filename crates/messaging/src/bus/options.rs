use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use statehouse_contracts::{Message, Payload};

use super::BusPattern;

/// What happens to a message for a subscription whose buffer is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BusOverflow {
    /// It is dropped; the default.
    #[default]
    DropNewest,
    /// The oldest message of the buffer makes room for it.
    DropOldest,
}

/// How a bus behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusOptions {
    /// The messages that a subscription holds, unless it says otherwise. Default 100.
    pub buffer: usize,
    /// What happens when it is full, unless the subscription says otherwise. Default
    /// [`BusOverflow::DropNewest`].
    pub overflow: BusOverflow,
    /// How long the statistics of a topic are kept at least after its last message; they go when the
    /// bus next looks at them. Default 5 min.
    pub topic_idle: Duration,
    /// Of how many topics statistics are kept at most; those longest without a message go first.
    /// Default 10,000.
    pub max_topics: usize,
}

impl BusOptions {
    /// The largest buffer.
    pub const MAX_BUFFER: usize = 1 << 20;
}

impl Default for BusOptions {
    fn default() -> Self {
        Self {
            buffer: 100,
            overflow: BusOverflow::DropNewest,
            topic_idle: Duration::from_secs(300),
            max_topics: 10_000,
        }
    }
}

/// What to hear.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// Who listens; an agent may have many subscriptions, and each gets its own copy.
    pub agent: String,
    /// Which topics.
    pub pattern: BusPattern,
    /// Which of their messages.
    pub filter: BusFilter,
    /// How many messages it holds; 0: as many as the bus says. At most
    /// [`BusOptions::MAX_BUFFER`].
    pub buffer: usize,
    /// What happens when it is full; `None`: what the bus says.
    pub overflow: Option<BusOverflow>,
}

impl Subscribe {
    /// Everything on the topics that match.
    pub fn new(agent: impl Into<String>, pattern: impl Into<BusPattern>) -> Self {
        Self {
            agent: agent.into(),
            pattern: pattern.into(),
            filter: BusFilter::default(),
            buffer: 0,
            overflow: None,
        }
    }
}

/// Which messages to hear: those for which everything that is given holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BusFilter {
    /// The sender is one of these; empty: anybody.
    pub from_agents: Vec<String>,
    /// The message has each of these headers, with this value.
    pub metadata: BTreeMap<String, String>,
    /// The payload has at least so many bytes; of a reference its content counts.
    pub min_size: Option<u64>,
    /// The payload has at most so many bytes.
    pub max_size: Option<u64>,
}

impl BusFilter {
    /// Whether `message` is let through.
    pub fn matches(&self, message: &Message) -> bool {
        self.sender_matches(message) && self.metadata_matches(message) && self.size_matches(message)
    }

    fn sender_matches(&self, message: &Message) -> bool {
        let sender = message.sender.as_deref();
        self.from_agents.is_empty()
            || self
                .from_agents
                .iter()
                .any(|agent| Some(agent.as_str()) == sender)
    }

    fn metadata_matches(&self, message: &Message) -> bool {
        self.metadata
            .iter()
            .all(|(name, value)| message.headers.get(name) == Some(value))
    }

    fn size_matches(&self, message: &Message) -> bool {
        let size = match &message.payload {
            Payload::Inline { bytes, .. } => bytes.len() as u64,
            Payload::Reference(reference) => reference.size,
        };
        self.min_size.is_none_or(|min| size >= min) && self.max_size.is_none_or(|max| size <= max)
    }
}
