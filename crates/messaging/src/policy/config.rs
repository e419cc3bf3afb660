use serde::{Deserialize, Serialize};
use statehouse_contracts::Kind;

use super::Policy;

/// The rules that a [`PolicyManager`](super::PolicyManager) starts with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// The default policy.
    pub auto_promote: AutoPromote,
    /// The kinds that are forced.
    pub policies: KindLists,
}

/// Whether large payloads are promoted, and from where on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AutoPromote {
    /// Default true; false: kinds without a rule travel inline, whatever their size.
    pub enabled: bool,
    /// The most bytes that travel inline; larger payloads are promoted. Default 10,240.
    pub threshold: u64,
}

impl AutoPromote {
    pub(super) fn policy(self) -> Policy {
        match self {
            AutoPromote { enabled: false, .. } => Policy::AlwaysValue,
            AutoPromote { threshold, .. } => Policy::AutoPromote { threshold },
        }
    }
}

impl Default for AutoPromote {
    fn default() -> Self {
        Self {
            enabled: true,
            threshold: Policy::THRESHOLD,
        }
    }
}

/// The kinds whose placement is forced. One that stands in both lists travels inline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KindLists {
    /// Always by reference. Default `session_state`, `workflow_context`, `collaboration_state`.
    pub always_reference: Vec<Kind>,
    /// Always inline. Default `control`, `pattern_ref`.
    pub always_value: Vec<Kind>,
}

impl Default for KindLists {
    fn default() -> Self {
        let kinds = |names: &[&str]| {
            let known = names.iter().filter_map(|name| Kind::new(name).ok());
            known.collect()
        };
        Self {
            always_reference: kinds(&["session_state", "workflow_context", "collaboration_state"]),
            always_value: kinds(&["control", "pattern_ref"]),
        }
    }
}
