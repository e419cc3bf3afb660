//! What the broker keeps of a group.
//!
//! The broker stores a set of subscriptions with each subscription group, for its lag metrics, and
//! reads only those of topics it knows. A further entry there carries the spec as JSON: so a group
//! and its spec are made, kept, replicated and deleted together, and every process sees them.

use cheetah_string::CheetahString;
use serde::{Deserialize, Serialize};
use statehouse_contracts::{Error, GroupSpec, Result};

use crate::naming::{Topics, tag_filter};

/// The type of the entry that carries the spec.
const SPEC: &str = "STATEHOUSE";

/// The topic that the entry names: none of the broker's.
const SPEC_TOPIC: &str = "statehouse-spec";

/// What the broker keeps of a subscription group, as far as it matters here.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    pub(super) group_name: String,
    #[serde(default = "yes")]
    pub(super) consume_enable: bool,
    #[serde(default)]
    subscription_data_set: Option<Vec<Subscription>>,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subscription {
    topic: String,
    expression_type: String,
    expression: String,
    #[serde(default)]
    version: u64,
}

fn yes() -> bool {
    true
}

impl Kept {
    /// A group that holds nothing of ours, and so is not declared.
    pub(super) fn undeclared(native: &CheetahString) -> Self {
        Self::new(native, Vec::new())
    }

    /// A group with its spec.
    pub(super) fn declared(
        native: &CheetahString,
        topics: &Topics,
        spec: &GroupSpec,
    ) -> Result<Self> {
        Ok(Self::new(native, subscriptions(topics, spec)?))
    }

    /// The spec of the group and its incarnation, if it is one of ours and declared.
    pub(super) fn spec(&self) -> Option<(GroupSpec, u64)> {
        let entries = self.subscription_data_set.as_ref()?;
        let entry = entries.iter().find(|it| it.expression_type == SPEC)?;
        let spec = serde_json::from_str(&entry.expression);
        let spec = spec.inspect_err(|error| {
            let group = &self.group_name;
            tracing::warn!(%error, group, "the group's spec cannot be read");
        });
        Some((spec.ok()?, entry.version))
    }

    fn new(native: &CheetahString, subscriptions: Vec<Subscription>) -> Self {
        Self {
            group_name: native.to_string(),
            consume_enable: true,
            subscription_data_set: Some(subscriptions),
            rest: serde_json::Map::new(),
        }
    }
}

fn subscriptions(topics: &Topics, spec: &GroupSpec) -> Result<Vec<Subscription>> {
    let json = serde_json::to_string(spec)
        .map_err(|error| Error::internal(format!("a group's spec cannot be written: {error}")))?;
    let reads = |topic: &CheetahString| Subscription {
        topic: topic.to_string(),
        expression_type: "TAG".to_owned(),
        expression: tag_filter(&spec.pattern).to_string(),
        version: 0,
    };
    Ok(vec![
        reads(&topics.keyed),
        reads(&topics.priority),
        Subscription {
            topic: SPEC_TOPIC.to_owned(),
            expression_type: SPEC.to_owned(),
            expression: json,
            version: fastrand::u64(1..1 << 53),
        },
    ])
}
