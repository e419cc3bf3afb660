//! Names on the broker: topics of a namespace, consumer groups, tags.
//!
//! RocketMQ allows `% | - _` and alphanumerics. A topic has at most 127 characters, and a group and
//! a topic together at most 247: beyond, what is popped is never redelivered, and nothing says so.

use cheetah_string::CheetahString;
use statehouse_contracts::{GroupName, Namespace, Pattern, Topic};

/// The longest configured prefix, in bytes: with it every name stays within the limits.
pub(crate) const MAX_PREFIX: usize = 32;

/// What marks the topic of the messages without an ordering key.
const PRIORITY: &str = "%priority";

/// What marks a group's dead letters, RocketMQ's own convention.
const DEAD: &str = "%DLQ%";

/// What marks what is to be delivered again, RocketMQ's own convention.
const RETRY: &str = "%RETRY%";

/// What marks a group's messages that come again.
const AGAIN: &str = "%again%";

/// The longest name of a topic.
const MAX_TOPIC: usize = 127;

/// Makes names on the broker, and reads them back.
#[derive(Clone, Debug)]
pub(crate) struct Naming {
    /// The first part of each topic.
    topic: String,
    /// The first part of each consumer group.
    group: String,
}

/// The topics of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topics {
    /// Messages with an ordering key, in queues by the key's hash.
    pub(crate) keyed: CheetahString,
    /// Messages without one, in queues by priority.
    pub(crate) priority: CheetahString,
}

impl Naming {
    pub(crate) fn new(topic: &str, group: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            group: group.to_owned(),
        }
    }

    /// The topics of `namespace`: the default namespace has the bare name.
    pub(crate) fn topics(&self, namespace: &Namespace) -> Topics {
        let keyed = if *namespace == Namespace::DEFAULT {
            self.topic.clone()
        } else {
            format!("{}_{namespace}", self.topic)
        };
        Topics {
            priority: format!("{keyed}{PRIORITY}").into(),
            keyed: keyed.into(),
        }
    }

    /// The consumer group of `group`; a dot becomes `%`.
    pub(crate) fn group(&self, namespace: &Namespace, group: &GroupName) -> CheetahString {
        let group = group.as_str().replace('.', "%");
        format!("{}_{namespace}_{group}", self.group).into()
    }

    /// What consumer group `native` stands for, if it is one of ours.
    pub(crate) fn read_group(&self, native: &str) -> Option<(Namespace, GroupName)> {
        let rest = native.strip_prefix(&self.group)?.strip_prefix('_')?;
        let (namespace, group) = rest.split_once('_')?;
        Some((
            Namespace::new(namespace).ok()?,
            GroupName::new(group.replace('%', ".")).ok()?,
        ))
    }

    /// Where the broker may put what the group `native` has to get again from `topic`: by the
    /// setting `enableRetryTopicV2` the one or the other.
    pub(crate) fn retry_topics(topic: &str, native: &str) -> [CheetahString; 2] {
        [
            format!("{RETRY}{native}_{topic}").into(),
            format!("{RETRY}{native}+{topic}").into(),
        ]
    }

    /// Where the dead letters of the consumer group `native` lie.
    pub(crate) fn dead_letters(native: &str) -> CheetahString {
        own(DEAD, native)
    }

    /// Where what failed in the consumer group `native` lies until it comes again.
    pub(crate) fn again(native: &str) -> CheetahString {
        own(AGAIN, native)
    }
}

/// The name of a topic that belongs to one group; of a long one only the hash.
fn own(mark: &str, native: &str) -> CheetahString {
    if mark.len() + native.len() <= MAX_TOPIC {
        return format!("{mark}{native}").into();
    }
    // FNV-1a, 128 bits.
    let offset = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    let hash = native.bytes().fold(offset, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b)
    });
    format!("{mark}{hash:032x}").into()
}

/// The tag of a message: its whole topic.
pub(crate) fn tag(topic: &Topic) -> CheetahString {
    topic.as_str().into()
}

/// The tag expression that lets through at least what `pattern` matches.
pub(crate) fn tag_filter(pattern: &Pattern) -> CheetahString {
    if pattern.is_exact() {
        pattern.as_str().into()
    } else {
        "*".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming() -> Naming {
        Naming::new("agent_state_updates", "agent_runtime_consumer_group")
    }

    #[test]
    fn names_are_read_back() {
        let naming = naming();
        for (namespace, group) in [
            ("default", "workers"),
            ("a-b", "mailbox.my_5Fagent"),
            ("x", "_._"),
        ] {
            let namespace = Namespace::new(namespace).unwrap();
            let group = GroupName::new(group).unwrap();
            let native = naming.group(&namespace, &group);
            assert_eq!(
                naming.read_group(&native),
                Some((namespace, group)),
                "{native}"
            );
        }
        for foreign in ["other_x_g", "agent_runtime_consumer_group", "SELF_TEST"] {
            assert_eq!(naming.read_group(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn the_default_namespace_has_the_bare_topic() {
        let topics = naming().topics(&Namespace::DEFAULT);
        assert_eq!(topics.keyed, "agent_state_updates");
        assert_eq!(topics.priority, "agent_state_updates%priority");
        let other = naming().topics(&Namespace::new("a-b").unwrap());
        assert_eq!(other.keyed, "agent_state_updates_a-b");
    }

    #[test]
    fn the_longest_names_fit() {
        let long = "x".repeat(MAX_PREFIX);
        let naming = Naming::new(&long, &long);
        let namespace = Namespace::new("n".repeat(Namespace::MAX_BYTES)).unwrap();
        let group = GroupName::new("g".repeat(GroupName::MAX_BYTES)).unwrap();
        let topics = naming.topics(&namespace);
        let native = naming.group(&namespace, &group);
        assert!(topics.priority.len() <= 127);
        assert!(topics.priority.len() + native.len() <= 247);
    }

    #[test]
    fn only_an_exact_pattern_is_filtered_by_the_broker() {
        assert_eq!(tag_filter(&Pattern::new("a.b").unwrap()), "a.b");
        assert_eq!(tag_filter(&Pattern::new("a.*").unwrap()), "*");
    }
}
