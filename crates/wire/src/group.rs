//! Groups.

use serde::{Deserialize, Serialize};
use statehouse_contracts::{Backoff, Declared, Expired, GroupSpec, Overflow, Pattern, Start};
use utoipa::ToSchema;

use crate::Span;

/// How long a failed attempt waits before the next: `initial × factor^(attempt − 1)`, at most
/// `max`, spread at random with `jitter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BackoffDoc {
    /// The wait after the first attempt. Default 1 s.
    pub initial: Span,
    /// The growth from one attempt to the next. Default 2.
    pub factor: u32,
    /// The longest wait. Default 5 min.
    pub max: Span,
    /// Whether the wait is spread at random. Default true.
    pub jitter: bool,
}

/// The promise of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupSpecDoc {
    /// Which topics it hears: `*` is one word, `#` any number of words.
    #[schema(value_type = String, example = "state.task.#")]
    pub pattern: Pattern,
    /// Where it begins: `"now"` (default) or `"earliest"`.
    #[serde(default)]
    #[schema(value_type = String)]
    pub start: Start,
    /// Whether ordering keys are kept. Default true.
    #[serde(default = "yes")]
    pub ordering: bool,
    /// Whether priorities count. Default true.
    #[serde(default = "yes")]
    pub priorities: bool,
    /// How many deliveries a message gets before it is a dead letter. Default 4.
    #[serde(default = "four")]
    pub max_deliveries: u32,
    /// The lease of a delivery when a receive names none. Default 30 s.
    #[serde(default = "half_a_minute")]
    pub lease: Span,
    /// The wait after a nack that names no delay.
    #[serde(default)]
    pub backoff: BackoffDoc,
    /// The most messages it holds; not given: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u64>,
    /// What happens when it is full: `"reject"` (default) or `"drop_oldest"`.
    #[serde(default)]
    #[schema(value_type = String)]
    pub overflow: Overflow,
    /// What happens to messages that expire: `"drop"` (default) or `"dead_letter"`.
    #[serde(default)]
    #[schema(value_type = String)]
    pub expired: Expired,
}

/// The answer to a declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclaredDoc {
    /// Whether the group is new; false when it was there with the same promise.
    pub created: bool,
}

fn plain() -> GroupSpec {
    GroupSpec::new(Pattern::ALL)
}

fn yes() -> bool {
    true
}

fn four() -> u32 {
    plain().max_deliveries
}

fn half_a_minute() -> Span {
    Span(plain().lease)
}

impl Default for BackoffDoc {
    fn default() -> Self {
        Backoff::default().into()
    }
}

impl From<Backoff> for BackoffDoc {
    fn from(backoff: Backoff) -> Self {
        Self {
            initial: Span(backoff.initial),
            factor: backoff.factor,
            max: Span(backoff.max),
            jitter: backoff.jitter,
        }
    }
}

impl From<BackoffDoc> for Backoff {
    fn from(doc: BackoffDoc) -> Self {
        Self {
            initial: doc.initial.into(),
            factor: doc.factor,
            max: doc.max.into(),
            jitter: doc.jitter,
        }
    }
}

impl From<GroupSpec> for GroupSpecDoc {
    fn from(spec: GroupSpec) -> Self {
        Self {
            pattern: spec.pattern,
            start: spec.start,
            ordering: spec.ordering,
            priorities: spec.priorities,
            max_deliveries: spec.max_deliveries,
            lease: Span(spec.lease),
            backoff: spec.backoff.into(),
            max_length: spec.max_length,
            overflow: spec.overflow,
            expired: spec.expired,
        }
    }
}

impl From<GroupSpecDoc> for GroupSpec {
    fn from(doc: GroupSpecDoc) -> Self {
        Self {
            pattern: doc.pattern,
            start: doc.start,
            ordering: doc.ordering,
            priorities: doc.priorities,
            max_deliveries: doc.max_deliveries,
            lease: doc.lease.into(),
            backoff: doc.backoff.into(),
            max_length: doc.max_length,
            overflow: doc.overflow,
            expired: doc.expired,
        }
    }
}

impl From<Declared> for DeclaredDoc {
    fn from(declared: Declared) -> Self {
        let Declared { created } = declared;
        Self { created }
    }
}

impl From<DeclaredDoc> for Declared {
    fn from(doc: DeclaredDoc) -> Self {
        let DeclaredDoc { created } = doc;
        Self { created }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_promise_is_the_default_one() {
        let doc: GroupSpecDoc = serde_json::from_str(r#"{"pattern":"a.#"}"#).unwrap();
        let spec = GroupSpec::new(Pattern::new("a.#").unwrap());
        assert_eq!(GroupSpec::from(doc), spec);
        let doc = GroupSpecDoc::from(spec.clone());
        assert_eq!(GroupSpec::from(doc), spec);
    }
}
